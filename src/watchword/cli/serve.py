"""`watchword serve` and `watchword dev`: the server itself, in as many processes as wanted."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from pathlib import Path
from typing import Any

import click
import uvicorn

from watchword.auth import Auth
from watchword.cli import logs, standalone
from watchword.cli.apps import auth_of, is_factory, loaded
from watchword.cli.banner import first_calls, greeting
from watchword.cli.bounded import BoundedHttp
from watchword.cli.command import Command, environment, named_app
from watchword.cli.disk import network_file_system
from watchword.cli.output import Failure, Output
from watchword.errors import ConfigError
from watchword.settings import is_loopback

_MAKE = "watchword.cli.standalone:make"
_DEVELOPED = "watchword.cli.standalone:developed"
_MOST_CONNECTIONS = 1000  # of one worker; beyond it clients are told to come back
_HTTP: dict[str, Any] = {
    "http": BoundedHttp,
    "server_header": False,
    "proxy_headers": False,  # TRUSTED_PROXIES says whose word is taken, and nobody else does
    "access_log": False,  # URLs hold secrets that clients put there by mistake
    "limit_concurrency": _MOST_CONNECTIONS,
    "timeout_keep_alive": 5,
    "timeout_graceful_shutdown": 10,
}

_host = click.option("--host", default="127.0.0.1", show_default=True)
_port = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="PORT",
    default=8000,
    show_default="the variable PORT, or 8000",
)
_reload = click.option("--reload", is_flag=True, help="Start again when a source file changes.")


@click.command(cls=Command)
@_host
@_port
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True)
@_reload
@click.pass_obj
def serve(out: Output, *, host: str, port: int, workers: int, reload: bool) -> None:
    """Run the server; without an app one that is Watchword and nothing else."""
    if reload and workers > 1:
        raise click.UsageError("--reload and --workers exclude each other.")
    target = named_app()
    app = loaded(target) if target else standalone.make()
    auth = auth_of(app)
    if auth is not None:
        _must_be_servable(auth, host, workers)
        _must_be_free(host, port)
        facts = asyncio.run(_rehearsed(auth))
        greeting(out, {**facts, "address": f"http://{host}:{port}", "workers": workers})
    _run(
        out,
        target or _MAKE,
        factory=target is None or is_factory(target),
        host=host,
        port=port,
        workers=workers,
        reload=reload,
    )


@click.command(cls=Command)
@_host
@_port
@_reload
@click.pass_obj
def dev(out: Output, *, host: str, port: int, reload: bool) -> None:
    """Run the server on this machine, with two users to try it with.

    They are johndoe, whose password is "secret", and alice ("secret2"), who is disabled.
    """
    target = named_app()
    with environment(**_development(port, target)):
        app = loaded(target) if target else standalone.make()
        auth = auth_of(app)
        if auth is not None:
            standalone.must_be_development(auth)
            _must_be_servable(auth, host, 1)
            _must_be_free(host, port)
            facts = asyncio.run(_rehearsed(auth))
            base = f"http://{'localhost' if host == '127.0.0.1' else host}:{port}"
            greeting(out, {**facts, "address": base})
            if not out.json and standalone.has_known_users(auth):
                out.note("Paste this into another terminal:\n")
                click.echo(first_calls(base, auth.settings))
        _run(
            out,
            _DEVELOPED,
            log_level="INFO",
            factory=True,
            host=host,
            port=port,
            workers=1,
            reload=reload,
        )


def _development(port: int, target: str | None) -> dict[str, str]:
    """The variables of a development server; what is set already stays."""
    variables = {"WATCHWORD_ENV": "development"}
    if "WATCHWORD_ISSUER" not in os.environ:
        variables["WATCHWORD_ISSUER"] = f"http://localhost:{port}"
    if target is not None:
        variables[standalone.TARGET] = target
    return variables


async def _rehearsed(auth: Auth) -> dict[str, Any]:
    """Start and stop once, so that what cannot work is said here and not by every worker."""
    logging.disable(logging.WARNING)  # the workers say it again
    try:
        await auth.start()
        now = auth.now()
        keys = [key for key in await auth.store.keys() if key.verifies(now)]
        states = {key.kid: auth.signing.ring.state(key, now) for key in keys}
        return {
            "issuer": auth.settings.issuer,
            "database": auth.settings.database_shown,
            "keys": [f"{key.alg}" for key in keys if states[key.kid] == "active"],
            "mode": auth.settings.env,
        }
    finally:
        await auth.stop()
        logging.disable(logging.NOTSET)


def _must_be_servable(auth: Auth, host: str, workers: int) -> None:
    """Refuse what would serve, and not as promised.

    Raises:
        ConfigError: says which of them it is.
    """
    settings = auth.settings
    if settings.is_development and not is_loopback(f"http://{_bracketed(host)}"):
        raise ConfigError(
            f"Development mode is for this machine only, and {host} is an address for others.",
            why="it hints at causes and knows users whose passwords are published",
            fix="leave --host out, or set WATCHWORD_ENV=production",
        )
    if workers > 1 and auth.driver.in_memory:
        raise ConfigError(
            "Several workers cannot share a database in memory.",
            why="each would have users, keys and revocations of its own",
            fix="set WATCHWORD_DATABASE_URL=sqlite:///./watchword.db",
        )
    if workers > 1 and settings.limit_backend == "memory":
        raise ConfigError(
            "Several workers cannot share limits in memory.",
            why="each would count for itself, so an attacker gets as many tries as workers",
            fix="set WATCHWORD_LIMIT_BACKEND=db",
        )
    on_file = auth.driver.is_local and not auth.driver.in_memory
    kind = network_file_system(Path(settings.database_path)) if on_file else None
    if kind is not None:
        raise ConfigError(
            f"The database is on a network file system ({kind}).",
            why="SQLite's write-ahead log is shared memory, which that does not share",
            fix="put it on a disk of this machine",
        )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _must_be_free(host: str, port: int) -> None:
    """Refuse before anything is said: a server that greets and then fails is hard to read.

    Raises:
        Failure: another program has the port, or the address is not one of this machine.
    """
    try:
        with socket.create_server((host, port), family=_family(host)):
            return
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Failure(
                f"Port {port} of {host} is taken.",
                why="another program listens on it",
                fix=f"end that program, or take another port: --port {port + 1}",
            ) from None
        raise Failure(
            f"{host} cannot be listened on.", why=str(error.strerror), fix="leave --host out"
        ) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _run(out: Output, app: str, *, log_level: str = "WARNING", **options: Any) -> None:
    quiet = out.quiet or out.json
    config = logs.config("WARNING" if quiet else log_level)
    more: dict[str, Any] = {"log_config": config, "log_level": "warning" if quiet else None}
    uvicorn.run(app, **_HTTP, **more, app_dir=".", **options)

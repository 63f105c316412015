"""`watchword info`: what a bug report needs, and nothing a stranger could use."""

from __future__ import annotations

import platform
import re
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from watchword.cli import accelerator
from watchword.cli.apps import settings_in_force
from watchword.cli.command import Command
from watchword.cli.output import Output, facts
from watchword.errors import ConfigError
from watchword.settings import Settings
from watchword.settings.kinds import without_passwords

_PACKAGES = (
    "watchword", "fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools",
    "sqlalchemy", "alembic", "cryptography", "argon2-cffi", "redis", "hiredis",
)  # fmt: skip
_IN_URL = re.compile(r"://[^/@\s]*@")
_SECRETS = ("secret", "secret_previous")


@click.command(cls=Command)
@click.pass_obj
def info(out: Output) -> None:
    """Show versions and settings, without secrets."""
    versions = _versions()
    found: dict[str, dict[str, Any]] = {"versions": versions}
    try:
        settings = settings_in_force()
        found["settings"] = redacted(settings)
        if settings.redis_url:
            found["redis"] = _redis(settings)
    except ConfigError as error:
        found["settings"] = {"error": error.what}
    parts = [[*facts(part), ""] for part in found.values()]
    out.result(found, [line for part in parts for line in part][:-1])


def redacted(settings: Settings) -> dict[str, Any]:
    """Every setting; of secrets only whether they are set."""
    found: dict[str, Any] = {}
    for name, value in settings.model_dump().items():
        if name in _SECRETS:
            found[name] = "set" if value else "not set"
        elif name == "redis_url":  # which may hold a password behind its question mark too
            found[name] = accelerator.place(settings) if value else ""
        elif isinstance(value, str):
            found[name] = _IN_URL.sub("://***@", without_passwords(value))
        else:
            found[name] = value
    return found


def _redis(settings: Settings) -> dict[str, Any]:
    try:
        look = accelerator.look(settings)
    except ConfigError as error:
        return {"answers": False, "why": error.what}
    if look.fault:
        return {"answers": False, "why": look.fault}
    return {"answers": True, "server": look.server, "milliseconds": round(look.took * 1000, 1)}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    found |= {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    found["system"] = f"{platform.system()} {platform.machine()}"
    return found

"""`watchword init`: a configuration to begin with, and a secret nobody else has."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import click

from watchword.cli.command import Command, given_app
from watchword.cli.output import Output, Refused, facts
from watchword.settings import is_loopback

_DEVELOPMENT = "http://localhost:8000"
_DATABASE = "sqlite:///./watchword.db"


@click.command(cls=Command)
@click.option("--issuer", metavar="URL", help="The server's public https address.")
@click.option("--db", metavar="URL", help=f"Where everything is kept. Default: {_DATABASE}")
@click.option("--embedded", is_flag=True, help="For an app of your own: no [scopes] in the file.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.pass_obj
def init(out: Output, *, issuer: str | None, db: str | None, embedded: bool, yes: bool) -> None:
    """Write watchword.toml and .env with a fresh secret; never over what is there.

    With --app the file also says whose keywords of Auth(...) the commands obey.
    """
    toml, env = Path(os.environ.get("WATCHWORD_CONFIG", "watchword.toml")), Path(".env")
    for path in (toml, env):
        if path.exists():
            raise _there(path)
    ask = not yes and sys.stdin.isatty()
    if issuer is None and ask:
        issuer = click.prompt("Public https address (empty: this machine only)", "", err=True)
    if db is None and ask:
        db = click.prompt("Database", _DATABASE, err=True)
    app = given_app()
    if ask and not embedded and app is None:
        embedded = click.confirm("Is it for an app of your own?", default=False, err=True)
    issuer = (issuer or _DEVELOPMENT).rstrip("/")
    _write(toml, _toml(issuer, db or _DATABASE, app, embedded=embedded), 0o644)
    _write(env, f"WATCHWORD_SECRET={secrets.token_urlsafe(32)}\n", 0o600)
    mode = "development" if is_loopback(issuer) else "production"
    value = {"issuer": issuer, "mode": mode, "written": [str(toml), str(env)]}
    out.result(value, facts(value))
    then = "watchword dev" if mode == "development" else "watchword doctor, then: watchword serve"
    out.note(f"Keep .env out of version control. Next: {then}")


def _toml(issuer: str, db: str, app: str | None, *, embedded: bool) -> str:
    lines = [
        "# Every setting and its reason: docs/settings.md",
        f"issuer = {_quoted(issuer)}",
        f"database_url = {_quoted(db)}",
    ]
    if is_loopback(issuer):
        lines.append('env = "development"  # leave it out when others can reach the server')
    if app is not None:
        lines.append(f"app = {_quoted(app)}  # its keywords of Auth(...) come before this file")
    elif not embedded:
        lines += ["", "[scopes]", '"me" = "See who you are"', '"items" = "See your items"']
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    if any(not c.isprintable() for c in text):
        raise click.BadParameter("it has characters that cannot be printed")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write(path: Path, text: str, mode: int) -> None:
    try:
        # The mode is given at the birth of the file: a secret is never readable for a moment.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise _there(path) from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _there(path: Path) -> Refused:
    return Refused(
        f"{path} is there already; nothing was written.",
        fix=f"move it away: mv {path} {path}.before",
    )

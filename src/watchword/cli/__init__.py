"""The command line. A command's module is imported when the command is run, not before.

`watchword --help` is asked by people in a hurry and by completion on every key press.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import cast

import click

from watchword import __version__

_COMMANDS = {
    "serve": "Run the server.",
    "dev": "Run the server on this machine, with two users to try it with.",
    "init": "Write watchword.toml and .env with a fresh secret.",
    "migrate": "Bring the database to the schema of this version.",
    "copy": "Copy a database into another one, of either kind.",
    "restored": "Say that the database was restored from a backup.",
    "user": "Create, show, disable, sign out users.",
    "client": "Register clients and rotate their secrets.",
    "key": "List, rotate and retire the signing keys.",
    "token": "Look into a token.",
    "explain": "Say whether a token is good, and why not.",
    "routes": "List an app's routes and what guards them.",
    "doctor": "Check that everything is as it should be.",
    "info": "Show versions and settings, without secrets.",
}
_MODULES = {"dev": "serve", "explain": "token"}  # where it is not a module of its own name
_ALIASES = {"users": "user", "clients": "client", "keys": "key", "tokens": "token"}


class _Root(click.Group):
    """Commands by name, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        module = import_module(f"watchword.cli.{_MODULES.get(name, name)}")
        return cast("click.Command", getattr(module, name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and name not in _ALIASES and not name.startswith("-"):
            near = difflib.get_close_matches(name, _COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"There is no command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="watchword")
def cli() -> None:
    """OAuth 2.1 and OpenID Connect for FastAPI.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 4 not found, 5 refused or already
    there, 78 a setting cannot be served with.
    """


def main() -> None:
    """Run the command line of this process."""
    cli(prog_name="watchword")

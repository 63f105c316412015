"""What a server says when it starts: what it is, and how to call it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from watchword import __version__
from watchword.cli.output import Output, facts
from watchword.settings import Settings

_LOUD = "DEVELOPMENT MODE: known passwords, plain http. Never put this server on a network."


def greeting(out: Output, told: Mapping[str, Any]) -> None:
    """Print the facts; as one line of JSON, or for people with a box for the mode."""
    if out.json:
        click.echo(json.dumps({"version": __version__, **told}))
        return
    if out.quiet:
        return
    click.echo(f"Watchword {__version__}")
    for line in facts(told):
        click.echo(f"  {line}")
    if told["mode"] == "development":
        Console(stderr=True, highlight=False).print(
            Panel(Text(_LOUD), border_style="bold red", style="bold", expand=False)
        )


def first_calls(base: str, settings: Settings) -> str:
    """Commands for a POSIX shell: log in, read, refresh, log out, try again.

    They need `curl` and `sed`, and end by showing that the token has died. Nothing in them
    is a comment: to a zsh that people type into, `#` is a word like any other.
    """
    own = settings.first_party_paths
    prefix = "" if own else settings.prefix
    refresh = (
        '"$BASE/refresh-token" -d "refresh_token=$(field refresh_token)"'
        if own
        else f'"$BASE{prefix}/token" -d grant_type=refresh_token '
        '-d "refresh_token=$(field refresh_token)"'
    )
    revoke = (
        '-X POST "$BASE/revoke-token" -H "Authorization: Bearer $(field access_token)"'
        if own
        else f'"$BASE{prefix}/revoke" -d "token=$(field access_token)"'
    )
    lines = [
        # so that other commands in that terminal are about this server
        f"export WATCHWORD_ENV={settings.env} WATCHWORD_ISSUER={settings.issuer}",
        f"BASE={base}",
        r"""field() { printf %s "$TOKENS" | sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }""",
        f'TOKENS=$(curl -s "$BASE{prefix}/token" -d username=johndoe -d password=secret)',
    ]
    if own:
        lines.append(
            'curl -s "$BASE/users/me" -H "Authorization: Bearer $(field access_token)"; echo'
        )
    lines += [f"TOKENS=$(curl -s {refresh})", f"curl -s {revoke}; echo"]
    if own:
        lines.append(
            "curl -s -o /dev/null -w '%{http_code}: the token is dead\\n' \"$BASE/users/me\" "
            '-H "Authorization: Bearer $(field access_token)"'
        )
    return "\n".join(lines)

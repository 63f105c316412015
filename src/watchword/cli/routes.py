"""`watchword routes`: every route of an app and what guards it."""

from __future__ import annotations

from typing import Any

import click

from watchword.cli.apps import loaded
from watchword.cli.command import Command, named_app
from watchword.cli.output import Exit, Output, counted, table
from watchword.guard import audit
from watchword.guard.audit import Audited

_ADVICE = "add auth.require() or auth.public"


@click.command(cls=Command)
@click.option("--unprotected", is_flag=True, help="Only those that nobody decided about.")
@click.pass_context
def routes(ctx: click.Context, *, unprotected: bool) -> None:
    """List the routes of an app, main:app if none is named; exit with 1 when one is neither
    guarded nor public."""  # noqa: D205, D209
    out: Output = ctx.obj
    found = audit.routes(loaded(named_app() or "main:app"))
    open_ones = [route for route in found if route.flags]
    listed = open_ones if unprotected else found
    rows = [
        (route.method, route.path, route.guard, route.scopes, _notes(route)) for route in listed
    ]
    lines = table(("METHOD", "PATH", "GUARD", "SCOPES", "NOTES"), rows)
    # An empty note is no note; `table` writes a dash for what is missing.
    lines = [line.removesuffix("  -").rstrip() for line in lines]
    value = {
        "routes": [described(route) for route in listed],
        "total": len(found),
        "unprotected": len(open_ones),
    }
    out.result(value, [*lines, f"{counted(len(found), 'route')}, {len(open_ones)} unprotected"])
    if open_ones:
        ctx.exit(Exit.FAILED)


def described(route: Audited) -> dict[str, Any]:
    """A route as JSON."""
    return {
        "method": route.method,
        "path": route.path,
        "guard": route.guard,
        "scopes": list(route.scopes),
        "flags": list(route.flags),
        "policies": list(route.policies),
        "source": route.source,
    }


def _notes(route: Audited) -> str:
    if route.flags:
        return "; ".join(f"{f}  {_ADVICE}" if f == "UNPROTECTED" else f for f in route.flags)
    return "auth.public" if route.guard == "public" else "; ".join(route.policies)

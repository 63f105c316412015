"""`watchword token inspect` and `watchword explain`: what a token says, and whether it is good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from watchword.cli.command import Command, Group, opened
from watchword.cli.hidden import sourced
from watchword.cli.output import Exit, Output, facts

if TYPE_CHECKING:
    from watchword.cli.verdicts import Verdict

_argument = click.argument("text", metavar="TOKEN|-")


@click.group(cls=Group)
def token() -> None:
    """Look into a token."""


@token.command()
@_argument
@click.pass_context
async def inspect(ctx: click.Context, *, text: str) -> None:
    """Show what TOKEN says. It is read from stdin with `-`, or from @FILE or env:NAME."""
    verdict = await _judged(ctx.obj, text)
    _tell(ctx.obj, verdict, claims=True)


@click.command(cls=Command)
@_argument
@click.pass_context
async def explain(ctx: click.Context, *, text: str) -> None:
    """Say whether TOKEN is good here and now, and every reason why not; then exit with 5."""
    verdict = await _judged(ctx.obj, text)
    _tell(ctx.obj, verdict, claims=False)
    if not verdict.good:
        ctx.exit(Exit.REFUSED)


async def _judged(out: Output, text: str) -> Verdict:
    if text == "-" or text.startswith(("@", "env:")):
        clear = sourced(text, "token").strip()
    else:
        clear = text
        out.note("note: it is in the history of your shell now; `-` reads it from stdin")
    async with opened() as at:
        from watchword.cli.verdicts import judged  # noqa: PLC0415 - help needs none of it

        return await judged(clear, at)


def _tell(out: Output, verdict: Verdict, *, claims: bool) -> None:
    good = "good" if verdict.good else "REFUSED"
    lines = [f"{good}: {verdict.kind}"]
    if claims:
        lines += facts(verdict.facts)
    for check in verdict.checks:
        lines.append(f"  {'ok' if check.good else 'NO':<4}{check.sentence}")
    checks = [{"good": check.good, "sentence": check.sentence} for check in verdict.checks]
    value = {"good": verdict.good, "kind": verdict.kind, "checks": checks}
    out.result({**value, "content": verdict.content} if claims else value, lines)

"""`watchword doctor`: looks at everything a server stands on, and says what to run."""

from __future__ import annotations

import click

from watchword import settings as settings_module
from watchword.cli import checkups
from watchword.cli.apps import settings_in_force
from watchword.cli.checkups import Finding, Level
from watchword.cli.command import Command
from watchword.cli.output import Exit, Output
from watchword.errors import ConfigError

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
_FAILED = 2


@click.command(cls=Command)
@click.option("--fix", is_flag=True, help="Close files that other users can read.")
@click.option("--strict", is_flag=True, help="Exit with 1 when there is a warning.")
@click.pass_context
def doctor(ctx: click.Context, *, fix: bool, strict: bool) -> None:
    """Check that everything is as it should be; exit with 2 when something is not."""
    out: Output = ctx.obj
    found = _examined(fix=fix)
    levels = [finding.level for finding in found]
    summary = {level.value: levels.count(level) for level in Level}
    findings = [
        {"level": one.level.value, "code": one.code, "message": one.message, "run": one.run}
        for one in found
    ]
    shown = [one for one in found if one.level is not Level.OK] if out.quiet else found
    out.result({"findings": findings, "summary": summary}, map(_line, shown))
    if Level.FAIL in levels:
        ctx.exit(_FAILED)
    if strict and Level.WARN in levels:
        ctx.exit(Exit.FAILED)


def _examined(*, fix: bool) -> list[Finding]:
    try:
        settings_module.tables()
        settings = settings_in_force()
    except ConfigError as error:
        # Nothing else can be looked at without them.
        message = f"{error.what} {error.why}".strip()
        return [Finding(Level.FAIL, "config", message, error.fix)]
    return checkups.all_of(settings, fix=fix)


def _line(finding: Finding) -> str:
    word = click.style(f"{finding.level.value:<4}", fg=_COLOURS[finding.level])
    run = f" -> {finding.run}" if finding.run else ""
    return f"{word}  {finding.code:<12}  {finding.message}{run}"

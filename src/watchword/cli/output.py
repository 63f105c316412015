"""What commands print and how they end: text for people, JSON and exit codes for scripts."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

import click


class Exit(enum.IntEnum):
    """How a command ended. 78 is EX_CONFIG of sysexits.h, which supervisors know."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 4
    REFUSED = 5
    CONFIG = 78


class Failure(click.ClickException):
    """A command that ends without having done what it was asked to.

    Args:
        what: one sentence.
        why: the reason, where it is not in the sentence.
        fix: what to run or to set.
    """

    exit_code = int(Exit.FAILED)
    as_json = False

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.why = why
        self.fix = fix

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on stderr: one screen, or one JSON object."""
        told = {"error": self.message, "why": self.why, "fix": self.fix, "exit": self.exit_code}
        if self.as_json:
            click.echo(json.dumps(told), file=file, err=True)
            return
        click.echo(f"{click.style('error', fg='red', bold=True)}: {self.message}", file, err=True)
        for name in ("why", "fix"):
            if told[name]:
                click.echo(f"  {name}: {told[name]}", file, err=True)


class NotFound(Failure):
    """There is nothing by that name."""

    exit_code = int(Exit.NOT_FOUND)


class Refused(Failure):
    """It exists already, or it is not allowed."""

    exit_code = int(Exit.REFUSED)


class Misconfigured(Failure):
    """The settings cannot be worked with."""

    exit_code = int(Exit.CONFIG)


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command's results and remarks go."""

    json: bool = False
    quiet: bool = False

    def result(self, value: object, lines: Iterable[str]) -> None:
        """Print the one result: `value` for scripts, `lines` for people."""
        if self.json:
            click.echo(json.dumps(value, indent=2, ensure_ascii=False))
            return
        for line in lines:
            click.echo(line)

    def note(self, text: str) -> None:
        """Print a remark for people, apart from the result."""
        if not self.json and not self.quiet:
            click.echo(text, err=True)


def shown(value: object) -> str:
    """A value as one plain cell: names that people chose cannot move the cursor."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return " ".join(shown(item) for item in value) or "-"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def facts(pairs: Mapping[str, object]) -> list[str]:
    """`name  value` lines in two columns."""
    width = max(map(len, pairs), default=0)
    return [f"{name:<{width}}  {shown(value)}" for name, value in pairs.items()]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Aligned columns under a head; never cut, so that what is copied is whole."""
    cells = [[*head], *([shown(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def when(seconds: float | None) -> str | None:
    """Unix seconds as people write them, in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def counted(number: int, noun: str) -> str:
    """`1 session`, `2 sessions`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def confirm(change: str, *, yes: bool) -> None:
    """Say what will change; go on only with `--yes` or a yes on a terminal.

    Raises:
        UsageError: there is no terminal to ask on.
        Abort: the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{change}\nWithout a terminal this needs --yes.")
    click.confirm(f"{change}\nGo on?", abort=True, err=True)

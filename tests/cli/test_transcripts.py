"""The transcripts are sessions as a person would see them; here they are typed again.

A line that begins with `$ ` is typed, what follows is what must appear. `…` stands
for anything within a line. `[exit 4]` is how a command that failed ended.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from watchword.cli import cli

TRANSCRIPTS = sorted((Path(__file__).parent.parent / "transcripts").glob("*.txt"))


def steps(text: str) -> Iterator[tuple[str, str]]:
    for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = block.partition("\n")
        yield command, expected.strip("\n")


def said(command: str) -> str:
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, check=True, text=True, timeout=60
    ).stdout


def typed(command: str) -> str:
    """What appears when a command is typed, its standard error included."""
    before, pipe, after = command.rpartition(" | ")
    words = shlex.split(after)
    env = {}
    while "=" in words[0]:
        name, _, env[name] = words.pop(0).partition("=")
    if words[0] != "watchword":
        return said(command).strip("\n")
    stdin = said(before) if pipe else ""
    result = CliRunner().invoke(cli, words[1:], input=stdin, env=env, prog_name="watchword")
    ended = f"\n[exit {result.exit_code}]" if result.exit_code else ""
    return result.output.strip("\n") + ended


def matches(expected: str, seen: str) -> bool:
    pattern = ".*".join(map(re.escape, expected.split("…")))
    return re.fullmatch(pattern, seen) is not None


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_is_still_true(path: Path, empty) -> None:
    for command, expected in steps(path.read_text(encoding="utf-8")):
        seen = typed(command)
        assert matches(expected, seen), f"$ {command}\n{seen}\n--- expected\n{expected}"


def test_there_are_some() -> None:
    assert len(TRANSCRIPTS) >= 4

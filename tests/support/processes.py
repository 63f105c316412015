"""A Python of its own, told one line at a time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def process(script: str, told: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """It never outlives the block."""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            say(started, json.dumps(told))
            yield started
        finally:
            started.kill()


def say(to: subprocess.Popen[str], line: str) -> None:
    assert to.stdin is not None
    to.stdin.write(line + "\n")
    to.stdin.flush()


async def hear(of: subprocess.Popen[str]) -> str:
    assert of.stdout is not None
    return (await asyncio.to_thread(of.stdout.readline)).strip()


def set_off(script: str, *words: str, count: int = 4) -> list[subprocess.Popen[str]]:
    """So many of them, each ready before any is told to go."""
    command = [sys.executable, "-W", "error", "-c", script, *words]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        say(racer, "go")
    return racers


def raced(script: str, *words: str) -> list[int]:
    """The number that each of four processes, set off together, prints in the end."""
    racers = set_off(script, *words)
    told = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * len(racers)
    return told

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

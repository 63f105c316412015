"""The app's functions under `after`: what each is told of, how it is called, when again."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from watchword.errors import ConfigError
from watchword.events import Event, kinds

PATIENCE = 30.0  # seconds that one function has for one event
LONGEST_PAUSE = 3600.0  # seconds between two tries
AT_ONCE = 16  # events in the hands of one process

Function = Callable[[Event], Any]


class Hooks:
    """The app's functions, by the kinds of events that they are told of."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self._functions: dict[str, tuple[frozenset[str], Function]] = {}
        # Their own: one that hangs must not keep others from files, names and keys.
        self.threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="watchword-hook")

    def add(self, wanted: tuple[str, ...], function: Function) -> None:
        """Tell a function of these kinds.

        Raises:
            ConfigError: no event is called so.
        """
        known = kinds()
        unknown = [kind for kind in wanted if kind not in known]
        if unknown or not wanted:
            raise ConfigError(
                f"There is no after({unknown[0]!r})." if unknown else "after() of what?",
                why="no such event is ever told",
                fix=f"one of: {', '.join(sorted(known))}",
            )
        # By its name it is known after a restart. What changes its name is told anew.
        name = first = _name(function)
        count = 1
        while name in self._functions:
            count += 1
            name = f"{first}#{count}"
        self._functions[name] = frozenset(wanted), function
        self.kinds |= set(wanted)

    def of(self, kind: str) -> dict[str, Function]:
        """The functions for one kind, by name."""
        return {name: told for name, (wanted, told) in self._functions.items() if kind in wanted}


def pause(tries: int, chance: float) -> float:
    """Seconds until the next try: doubled each time, and spread so that not all come at once."""
    return min(LONGEST_PAUSE, 2.0 ** (tries - 1)) * (1 + chance) / 2


def _name(function: Function) -> str:
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


async def called(told: Function, event: Event, threads: Executor) -> BaseException | None:
    """Call a function, on a thread unless it is async; returns what it raised."""
    try:
        async with asyncio.timeout(PATIENCE):
            if inspect.iscoroutinefunction(told):
                await told(event)
            else:
                answer = await asyncio.get_running_loop().run_in_executor(threads, told, event)
                if inspect.isawaitable(answer):
                    await answer
    except Exception as fault:  # noqa: BLE001 - whatever it is, the function is called again
        return fault
    except asyncio.CancelledError as fault:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return fault  # the function's own
    return None

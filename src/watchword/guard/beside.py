"""Work that goes on beside decisions, on one event loop of the process at a time.

Event loops end and stand still while others go on: test clients have one for each
session, and a test may hold its own for as long as it talks to one. So the work moves to
whoever needs it done, where the loop that did it does not run any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from weakref import WeakKeyDictionary

_FAREWELL = 1.0  # seconds that work has to end, once it was told to

Work = Callable[[], Coroutine[Any, Any, None]]


class Beside:
    """The tasks that do the work, and the event loop that they are on."""

    __slots__ = ("_changing", "_loop", "_tasks", "_turns")

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    @property
    def is_here(self) -> bool:
        """Whether it is this event loop that does the work."""
        return self._loop is asyncio.get_running_loop()

    def goes_on(self) -> bool:
        """Whether the task that asks is still one that should work.

        A cancellation is lost where it meets a connection that was closed at the same time:
        what is raised then is the connection's error.
        """
        return asyncio.current_task() in self._tasks

    def begin(self, work: Sequence[Work], prepare: Callable[[], None]) -> None:
        """Work on this event loop, unless another one that runs does."""
        with self._changing:
            runs = self._loop is not None and self._loop.is_running()
            if runs and self._tasks and not self._tasks[0].done():
                return
            _cancel(self._tasks, self._loop)
            prepare()
            self._loop = asyncio.get_running_loop()
            self._tasks = [self._loop.create_task(one()) for one in work]

    def end(self) -> None:
        """Work no more; from any thread."""
        with self._changing:
            tasks, self._tasks = self._tasks, []
            _cancel(tasks, self._loop)

    async def ended(self) -> None:
        """Work no more; what was done on this event loop has ended then."""
        tasks, here = self._tasks, self.is_here
        self.end()
        if tasks and here:
            await asyncio.wait(tasks, timeout=_FAREWELL)

    def tell(self, callback: Callable[..., object], *words: object) -> None:
        """Call something on the event loop that does the work; from any thread."""
        with contextlib.suppress(RuntimeError):  # it is closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback, *words)

    def turn(self) -> asyncio.Lock:
        """Turns at what this event loop does for itself, because another does the work."""
        return self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def _cancel(tasks: Sequence[asyncio.Task[None]], loop: asyncio.AbstractEventLoop | None) -> None:
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:  # a thread that has none
        here = None
    for task in tasks:
        if loop is here:  # at once, before its connection is closed
            task.cancel()
        elif loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(task.cancel)

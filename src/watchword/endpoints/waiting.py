"""Requests that are answered when there is news of the revocation log, or after a while."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import Request

from watchword.errors import Busy, TooManyRequests

LOOK_EVERY = 0.005  # seconds between two looks, while somebody waits
MOST = 400  # who wait at once in one process, below what it takes of connections
MOST_EACH = 200  # of one client: it may guard in many processes
_COME_BACK = 5.0  # seconds


class Room:
    """Who waits, and for how many there is room."""

    def __init__(self) -> None:
        self._there: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._there.total()

    @contextmanager
    def place(self, client_id: str) -> Iterator[None]:
        """Be among those who wait.

        Raises:
            TooManyRequests: this client has all the places that it may have.
            Busy: there is no room for anybody.
        """
        if self._there[client_id] >= MOST_EACH:
            raise TooManyRequests(
                "This client waits in too many places.",
                retry_after=_COME_BACK,
                limit=MOST_EACH,
                reset=_COME_BACK,
            )
        if len(self) >= MOST:
            raise Busy("Too many wait already.", retry_after=_COME_BACK)
        self._there[client_id] += 1
        try:
            yield
        finally:
            self._there[client_id] -= 1
            if not self._there[client_id]:
                del self._there[client_id]


class Watch:
    """Looks whether something has changed, once for all who wait on an event loop.

    Commits of other processes tell nobody; looking costs a fraction of a microsecond.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.AbstractEventLoop, set[asyncio.Event]] = {}
        self._looking: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    async def until(self, come: Callable[[], bool], changes: Callable[[], int]) -> None:
        """Return when `come` is true.

        Args:
            come: what is waited for; asked again after each change.
            changes: a number that is another after each change.
        """
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        self._forget_ended()
        mine = self._waiting.setdefault(loop, set())
        mine.add(woken)
        if loop not in self._looking or self._looking[loop].done():
            self._looking[loop] = loop.create_task(self._look(mine, changes, changes()))
        try:
            while not come():  # asked after the first look: what comes between is another change
                await woken.wait()
                woken.clear()
        finally:
            mine.discard(woken)

    async def _look(
        self, waiting: set[asyncio.Event], changes: Callable[[], int], seen: int
    ) -> None:
        while waiting:
            await asyncio.sleep(LOOK_EVERY)
            if (now := changes()) != seen:
                seen = now
                for woken in waiting:
                    woken.set()

    def _forget_ended(self) -> None:
        for loop in [loop for loop in self._waiting if loop.is_closed()]:
            del self._waiting[loop], self._looking[loop]


async def until_first(request: Request, news: asyncio.Task[None], seconds: float) -> None:
    """Return when there is news, after so many seconds, or when nobody waits any more."""
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((news, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        news.cancel()
        gone.cancel()
        await asyncio.gather(news, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""Whether this process should be sent requests, and how it stops being sent them.

A balancer needs a moment to notice that a process is about to end. So a process that
is told to end says "not ready" first, goes on serving for `drain` seconds, and only then
stops as it would have.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from watchword.seams import Unavailable

if TYPE_CHECKING:
    from watchword.auth import Auth

log = logging.getLogger("watchword")

_KEPT = 0.5  # seconds that an answer of the database is believed: strangers may ask at will


class Readiness:
    """What must hold for requests to be welcome."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self.draining = False
        self._asked_at = -_KEPT
        self._answered = False
        self._asking = asyncio.Lock()

    async def __call__(self) -> dict[str, bool]:
        """The checks, by name."""
        database = await self._database_answers()
        return {
            "serving": not self.draining,
            "database": database,
            "revocations": database and self._knows_revocations(),
        }

    async def _database_answers(self) -> bool:
        async with self._asking:
            if time.monotonic() - self._asked_at >= _KEPT:
                try:
                    await self._auth.ready()
                    await self._auth.store.position()
                except Unavailable as fault:
                    log.warning("not ready: %s", fault)
                    self._answered = False
                else:
                    self._answered = True
                self._asked_at = time.monotonic()
            return self._answered

    def _knows_revocations(self) -> bool:
        try:
            self._auth.revocations.catch_up(self._auth.now())
        except Unavailable:
            return False
        return True

    def drain_when_told(self, seconds: float) -> Callable[[], None]:
        """From now on SIGTERM ends this process `seconds` later; returns what undoes that.

        Whoever handles the signal now handles it then. Only where signals arrive: in the
        main thread, and not under a server that does not handle it.
        """
        before = signal.getsignal(signal.SIGTERM)
        main = threading.current_thread() is threading.main_thread()
        if seconds <= 0 or not main or not callable(before):
            return lambda: None
        loop = asyncio.get_running_loop()

        def told(number: int, frame: FrameType | None) -> None:
            if self.draining:  # told twice: somebody is in a hurry
                before(number, frame)
                return
            self.draining = True
            log.info("draining for %g s", seconds)
            loop.call_soon_threadsafe(loop.call_later, seconds, before, number, None)

        signal.signal(signal.SIGTERM, told)

        def undo() -> None:
            if signal.getsignal(signal.SIGTERM) is told:
                signal.signal(signal.SIGTERM, before)

        return undo

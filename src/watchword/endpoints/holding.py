"""Holding back the refusals of a full hash queue, so that retries do not fill the core.

Whoever is told to come back later and does so at once costs a request each time. A hundred
of them keep the event loop busy, and the niced threads that hash, so that anybody gets in
at all, wait for a core. Held for a moment, a client asks once where it would have asked a
hundred times. The more are held, the longer, so that answers leave at a bounded rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

from starlette.types import Receive

_MOST = 512  # held at a time: each is a connection and its request in memory
_SHORTEST = 0.05  # seconds
_FOR_EACH = 0.002  # seconds longer for everybody who is held already


class Holding:
    """Those who wait for their refusal.

    Attributes:
        held: how many they are.
    """

    def __init__(self) -> None:
        self.held = 0

    async def back(self, receive: Receive) -> None:
        """Wait a moment; not at all where too many do, and no longer than the client does.

        Args:
            receive: where the client's going away is heard; its request has been read.
        """
        if self.held >= _MOST:
            return
        seconds = _SHORTEST + _FOR_EACH * self.held
        seconds *= 1 + secrets.randbelow(1000) / 1000  # or they would come back together
        self.held += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await _gone(receive)
        finally:
            self.held -= 1


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

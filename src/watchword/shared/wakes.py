"""Wake-ups over Redis: that there is news, never what it is.

Whoever is woken reads the revocation log; whoever is not, reads it at its next poll. So
a message that is lost costs time, and a forged one costs a look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from watchword.shared.link import Fault, Shared

_log = logging.getLogger("watchword.shared")

_CHANNEL = "watchword:wakes"
_QUIET = 10.0  # seconds without a message after which the connection must prove it is alive
_PROOF = 5.0  # seconds for that
_SHORTEST, _LONGEST = 0.2, 30.0  # seconds between two tries to connect


class Wakes(Protocol):
    """How processes tell each other that there is news; nothing depends on it."""

    async def publish(self) -> None:
        """Wake everybody who listens, this process too; never raises."""
        ...

    async def listen(self, callback: Callable[[], object]) -> None:
        """Call `callback` at every wake-up, and whenever one may have been missed; forever."""
        ...


class RedisWakes:
    """Tells other processes of news, and hears of theirs."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def publish(self) -> None:
        """Wake everybody who listens; never raises, and waits no longer than the deadline."""
        with suppress(Fault):  # the log has told of it
            await self._shared.run(lambda client: client.execute_command("PUBLISH", _CHANNEL, ""))

    async def listen(self, callback: Callable[[], object]) -> None:
        """Call `callback` at every wake-up, and whenever one may have been missed; forever."""
        wait = _SHORTEST
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._hear(callback)
            except Exception as fault:  # noqa: BLE001 - without wake-ups there are still polls
                self._shared.tell(self._shared.fault(fault), "wake-ups wait for the next poll")
            held = asyncio.get_running_loop().time() - began
            wait = _SHORTEST if held > _QUIET else min(wait * 2, _LONGEST)
            await asyncio.sleep(wait)

    async def _hear(self, callback: Callable[[], object]) -> None:
        made = self._shared.plain()
        heard = made.redis.pubsub()
        try:
            await heard.subscribe(_CHANNEL)
            while True:
                message = await _next(heard)
                if message["type"] in ("subscribe", "message"):
                    # A subscription is news too: what was published before it is missed.
                    _call(callback)
        finally:
            with suppress(Exception):
                await heard.aclose()
            with suppress(Exception):
                await made.close()


async def _next(heard: Any) -> Any:
    """The next message; the answer to a PING is one."""
    message = await heard.get_message(timeout=_QUIET)
    if message is None:
        await heard.ping()
        message = await heard.get_message(timeout=_PROOF)
        if message is None:
            raise TimeoutError(f"no sign of life for {_QUIET + _PROOF:.0f} s")
    return message


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:  # noqa: BLE001 - it must not end the listening
        _log.exception("a wake-up was not heeded")

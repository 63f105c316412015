"""Asking the issuer about one token, where nobody can tell what was revoked of late.

It is the slow way, so it is bounded: few at once, none for long, none at all while the
issuer does not answer, and an answer counts for as long as knowledge would. That a token
is not good is remembered apart, so that nobody pushes out what is known of good ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from watchword.guard.freshness import Stale
from watchword.rules.access import AccessToken

MOST_AT_ONCE = 32
PATIENCE = 0.2  # seconds for one answer
_FAULTS = 5  # in a row, after which nobody asks for a while
_REST = 1.0  # seconds; then one asks, and if that is answered all may
_MOST_CACHED = 10_000
_BRIEFLY = 1.0  # seconds that a refusal counts at most

A = TypeVar("A")
# The token as it came, and as it was verified if that could be done: whether it is still good.
# Raises Unavailable, or anything else, when that cannot be told.
Introspect = Callable[[str, AccessToken], Awaitable[bool]]


class Introspection(Generic[A]):
    """Direct checks of one issuer's tokens.

    Args:
        ask: the check itself; what it answers is true for a token that is good.
        max_age: seconds that an answer counts.
        monotonic: a clock that never goes back.
    """

    def __init__(
        self,
        ask: Callable[[str, Any], Awaitable[A]],
        *,
        max_age: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._max_age = max_age
        self._clock = monotonic
        self._running = 0
        self._faults = 0
        self._rests_until = 0.0
        self._answers: dict[bytes, tuple[float, A]] = {}
        self._refused: dict[bytes, tuple[float, A]] = {}

    async def __call__(
        self, text: str, token: AccessToken | None = None, within: float | None = None
    ) -> A:
        """Whether the token is still good.

        Args:
            text: as it came.
            token: as it was verified; None for one that says nothing itself.
            within: seconds that the answer may be old, where that is less than `max_age`.

        Raises:
            Stale: the issuer cannot tell now.
        """
        at = self._clock()
        name = hashlib.blake2b(text.encode(), digest_size=32).digest()
        for answers, counts in ((self._answers, self._max_age), (self._refused, _BRIEFLY)):
            known = answers.get(name)
            most = min(counts, self._max_age if within is None else within)
            if known is not None and at - known[0] <= most and within != 0:
                return known[1]
        if at < self._rests_until:
            raise Stale("the issuer did not answer of late")
        if self._running >= MOST_AT_ONCE:
            raise Stale("too many ask the issuer already")
        answer = await self._asked(text, token)
        for answers in (self._answers, self._refused):
            answers.pop(name, None)
        kept = self._answers if answer else self._refused
        if len(kept) >= _MOST_CACHED:
            del kept[next(iter(kept))]  # the oldest: dicts keep their order
        kept[name] = at, answer  # from when it was asked: it may have changed since
        return answer

    async def _asked(self, text: str, token: AccessToken | None) -> A:
        self._running += 1
        if self._faults >= _FAULTS:
            self._rests_until = self._clock() + _REST  # this one is the trial
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._ask(text, token)
        except Exception as error:
            self._faults += 1
            if self._faults >= _FAULTS:
                self._rests_until = self._clock() + _REST
            raise Stale(f"the issuer cannot be asked: {error or type(error).__name__}") from error
        finally:
            self._running -= 1
        self._faults, self._rests_until = 0, 0.0
        return answer

"""What a guard does when it cannot prove that it knows what was revoked of late.

It refuses, with 503 because the token may be good; or asks the issuer about that one
token; or, on a route that says so, lets it pass for a while by what was known before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from watchword.errors import InvalidToken
from watchword.guard.freshness import AS_USUAL, HOWEVER_OLD, Asked, Freshness, Stale, Untold
from watchword.rules.access import AccessToken

log = logging.getLogger("watchword.guard")

_TELL_EVERY = 60.0  # seconds

# The token as it came and as it was verified, and how old an answer may be: whether it is good.
Ask = Callable[[str, AccessToken, float | None], Awaitable[object]]


class Verify(Protocol):
    """Token, time, and what is asked of the knowledge of revocations -> verified token."""

    def __call__(self, text: str, now: float, asked: Asked = AS_USUAL, /) -> Awaitable[AccessToken]:
        """Verify it."""
        ...


class WhenStale:
    """The policy of a guard, and the means it has.

    Args:
        usual: for routes that say nothing.
        ask: asks the issuer about one token; None where nobody can be asked.
    """

    def __init__(self, usual: Freshness, ask: Ask | None = None) -> None:
        self.usual = usual
        self.ask = ask
        self.let_in = 0  # how many passed by knowledge that was too old
        self._told_at = -_TELL_EVERY

    async def decide(
        self,
        policy: Freshness,
        text: str,
        verify: Verify,
        now: float,
        fault: Stale,
        *,
        asked: Asked = AS_USUAL,
    ) -> AccessToken:
        """The verified token, where the policy lets it pass all the same.

        Where each token has to be asked about, that is no exception that a policy makes.

        Raises:
            InvalidToken: it is not good.
            Stale: it may be good, and nobody can tell.
        """
        asks = policy.when_stale == "introspect" or isinstance(fault, Untold)
        if asks and self.ask is not None:
            token = await verify(text, now, HOWEVER_OLD)
            within = asked.within if asked.position is None else 0.0
            if not await self.ask(text, token, within):
                raise InvalidToken("The access token is not valid.", detail="revoked")
            return token
        if policy.when_stale == "open":
            token = await verify(text, now, Asked(tolerated=policy.open_for))
            self._tell(fault)
            return token
        raise fault

    def _tell(self, fault: Stale) -> None:
        self.let_in += 1
        at = time.monotonic()
        if at - self._told_at >= _TELL_EVERY:
            self._told_at = at
            log.warning("let in by old knowledge, %d so far: %s", self.let_in, fault)

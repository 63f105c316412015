"""An issuer that is elsewhere: its log is followed, or it is asked about each token.

Whether it has a log is published in its metadata, which is read before the first decision.
What was promised in code is kept or nobody is let in: an issuer that cannot be reached, that
has no log although one is required, or that does not let this client follow it, is answered
for with 503 until that has changed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from watchword import fetch
from watchword.errors import ConfigError
from watchword.guard.contact import Contact
from watchword.guard.discovery import INTROSPECTION, REVOCATIONS, discovered, endpoint
from watchword.guard.feed import HttpFeed
from watchword.guard.following import Follower
from watchword.guard.freshness import AS_USUAL, Asked, Untold
from watchword.guard.introspection import Introspection
from watchword.guard.jwks import RemoteKeys
from watchword.guard.opaque import Endpoint, Opaque
from watchword.guard.revocations import Revocations
from watchword.guard.verifier import Verifier
from watchword.rules import claims
from watchword.seams import Unavailable

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger("watchword.guard")

MOST = 1_000_000  # revocations that a guard keeps in memory; where there are more it refuses
_REST = 1.0  # seconds between two tries to find out what an issuer publishes


class Unpublished(Unavailable):
    """The issuer does not have what this guard was told to rely on."""


class Unread(Revocations):
    """A log that cannot be read here: whatever is asked, nothing is known.

    Args:
        bound: seconds that an answer about one token counts instead.
    """

    __slots__ = ()

    def __init__(self, bound: float) -> None:
        super().__init__(None)
        self.bound = bound

    def catch_up(self, now: float, asked: Asked = AS_USUAL) -> None:  # noqa: ARG002
        """Nothing is known.

        Raises:
            Untold: the token has to be asked about.
        """
        if not math.isinf(asked.tolerated):
            raise Untold("no log tells what was revoked")

    def lasts(self) -> float:
        """An answer lasts for a while."""
        return self.bound

    def age(self) -> float:
        """Nothing was ever known."""
        return math.inf

    async def settled(self) -> None:
        """Return when no answer of before counts any more."""
        await asyncio.sleep(self.bound)


class Elsewhere:
    """What a guard knows of its issuer, and how it came to know it.

    Args:
        verifier: of the issuer's tokens; it gets the log when there is one.
        contact: how the issuer may be asked.
        max_stale: seconds after which a revocation is noticed or nobody is let in.
        now: the clock, Unix seconds.
    """

    def __init__(
        self, verifier: Verifier, contact: Contact, *, max_stale: float, now: Callable[[], float]
    ) -> None:
        self._verifier = verifier
        self._contact = contact
        self._bound = max_stale
        self._now = now
        self._introspection_url = contact.introspection_url
        self.ask = self._introspection()
        self._follower: Follower | None = None
        self._feed: HttpFeed | None = None
        self._settling: asyncio.Task[None] | None = None
        self._failure: tuple[float, Unavailable] = (-math.inf, Unavailable())
        self._silent = False
        if contact.feed is not None:
            self._follow(Follower(contact.feed, max_stale=max_stale, now=now, most=MOST))
        elif contact.requires_log or self.ask is not None:
            verifier.revocations = Unread(max_stale)
        self._settled = not contact.needs_metadata

    @property
    def follows(self) -> bool:
        """Whether a log is followed, or may be."""
        return self._contact.feed is not None or self._contact.wants_log

    @property
    def opaque(self) -> Opaque | None:
        """Verifies tokens that only the issuer can read, if it can be asked what they say."""
        if self._silent or not self._contact.tells_claims or self.ask is None:
            return None
        return Opaque(self.ask, replace(self._verifier.expected, strict=False))

    # --- the life of it ---

    async def ready(self) -> None:
        """Return when it is known how this issuer's revocations are learnt of.

        Raises:
            Unavailable: it cannot be found out now.
        """
        if self._settled or self._silent:
            return
        running, here = self._settling, asyncio.get_running_loop()
        if running is None or running.done() or running.get_loop() is not here:
            failed_at, fault = self._failure
            if time.monotonic() - failed_at < _REST:
                raise fault
            running = self._settling = here.create_task(self._settle())
            running.add_done_callback(_seen)
        await asyncio.shield(running)

    async def start(self) -> None:
        """Begin with the app: whatever can be said about it now is said now.

        Raises:
            ConfigError: the issuer does not have what is required, or does not know this client.
        """
        if self._silent:
            return
        try:
            await self.ready()
            if self._follower is not None:
                await self._follower.start(self._now())
        except Unavailable as fault:
            refused = self._feed.refused if self._feed is not None else ""
            if isinstance(fault, Unpublished) or refused:
                raise ConfigError(
                    f"{self._issuer} {refused}." if refused else f"{fault}.",
                    why="a guard that was told to notice revocations would notice none",
                    fix="watchword client create NAME --introspect RESOURCE, at the issuer, and "
                    "its client_id and client_secret here"
                    if refused
                    else 'revocations="off", or introspection=True where the issuer has that',
                ) from fault
            log.warning("%s cannot be asked yet, so nobody is let in: %s", self._issuer, fault)

    async def stop(self) -> None:
        """End with the app; a later decision begins anew."""
        if self._follower is not None:
            await self._follower.stop()
        for line in self._contact.lines:
            await line.aclose()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Ask nobody, and believe what is signed; for tests."""
        verifier = self._verifier
        before = verifier.revocations, verifier.expected, verifier.types
        verifier.revocations = None
        verifier.expected = replace(verifier.expected, strict=False)
        self._silent = True
        try:
            yield
        finally:
            self._silent = False
            verifier.revocations, verifier.expected, verifier.types = before

    # --- finding out ---

    async def _settle(self) -> None:
        try:
            found = await discovered(self._issuer, fetch.document)
        except fetch.FetchError as error:
            raise self._failed(Unavailable(f"what {self._issuer} publishes: {error}")) from error
        if self._contact.looks_for_introspection:
            self._introspection_url = endpoint(found, INTROSPECTION, self._issuer)
            if self._introspection_url is None:
                raise self._failed(Unpublished(f"{self._issuer} publishes no introspection"))
        url = endpoint(found, REVOCATIONS, self._issuer) if self._contact.wants_log else None
        if url is not None:
            self._follow_at(url)
        elif self._contact.requires_log:
            raise self._failed(Unpublished(f"{self._issuer} publishes no revocation log"))
        elif self.ask is None:
            log.warning("%s has no revocation log: tokens live until they end", self._issuer)
        self._settled = True

    def _follow_at(self, url: str) -> None:
        assert self._contact.line is not None  # noqa: S101 - without one no log is wanted
        feed = self._feed = HttpFeed(self._contact.line, url, within=self._bound / 4)
        known = Follower(
            feed, max_stale=self._bound, hints=(feed.listen,), now=self._now, most=MOST
        )
        feed.urgent = lambda: known.urgent
        self._verifier.types = claims.TYPES  # RFC 9068 section 4: who has such a log writes them
        self._follow(known, strict=True)

    def _follow(self, known: Follower, *, strict: bool = False) -> None:
        verifier, keys = self._verifier, self._verifier.keys
        verifier.expected = replace(verifier.expected, positioned=True, strict=strict)
        if isinstance(keys, RemoteKeys):
            keys.log = known
        self._follower = verifier.revocations = known

    def _introspection(self) -> Introspection[Any] | None:
        ask = self._contact.ask
        if self._contact.inquiry is not None:
            ask = Endpoint(self._contact.inquiry, lambda: self._introspection_url)
        return None if ask is None else Introspection(ask, max_age=self._bound)

    def _failed(self, fault: Unavailable) -> Unavailable:
        self._failure = time.monotonic(), fault
        return fault

    @property
    def _issuer(self) -> str:
        return self._verifier.expected.issuer


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waits hears of it; nobody may wait any more


def live_with(app: FastAPI, known: Sequence[Elsewhere]) -> None:
    """Begin and end with an app, whatever lifespan it has; without one at the first decision."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(of: Any) -> AsyncIterator[Any]:
        for one in known:
            await one.start()
        try:
            async with inner(of) as state:
                yield state
        finally:
            for one in known:
                await one.stop()

    app.router.lifespan_context = lifespan

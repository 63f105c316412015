"""The keys of another issuer, over its published key set.

Fresh keys are used as they are; stale ones are used while newer ones are fetched;
very old ones are not used at all. A token with an unknown key makes us look again,
at most once in 30 s however many such tokens come (attack row J-39). Where the issuer's
log is followed, an entry that says that keys have changed is obeyed by the very next
decision. Keys of another server's development mode count on this very machine only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from watchword import fetch
from watchword.crypto.jose import KeySet
from watchword.errors import Busy
from watchword.guard.contact import loopback
from watchword.guard.discovery import Documents, discovered
from watchword.guard.freshness import MIN_SEQ
from watchword.guard.revocations import Revocations
from watchword.rules.claims import DEV_KID

log = logging.getLogger("watchword.guard")

FRESH = 300.0  # seconds that a fetched set is used without a thought
HARD_LIMIT = 86_400.0  # seconds after which a set that cannot be renewed is useless
COOL_DOWN = 30.0  # seconds between fetches that unknown keys cause


class RemoteKeys:
    """`verifier.Keys` of a remote issuer; fetched when first needed.

    Args:
        issuer: its discovery document names the key set, and must name this issuer.
        algorithms: what the issuer may sign with; never taken from a token.
        jwks_uri: the key set itself, for issuers without discovery.
    """

    def __init__(
        self, issuer: str, algorithms: frozenset[str], jwks_uri: str | None = None
    ) -> None:
        self._issuer = issuer
        self.algorithms = algorithms
        self.log: Revocations | None = None  # tells when the keys have changed
        self._seen = 0  # how often they had, when the set at hand was asked for
        self._document: Documents = self._from_issuer
        self._configured = jwks_uri
        self._found: str | None = None
        self._latest: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._tried_at = float("-inf")
        self._fetching: asyncio.Task[KeySet] | None = None

    def current(self, now: float) -> KeySet | None:
        """The set at hand, unless it is too old to trust, or the issuer has another by now."""
        age = now - self._fetched_at
        if self._keys is None or age > HARD_LIMIT or self._seen < self._changes:
            return None
        if age > FRESH and now - self._tried_at > COOL_DOWN:
            self._start(now)
        return self._keys

    async def load(self, now: float) -> KeySet:
        """Fetch the set; everybody who waits shares one fetch.

        Raises:
            Busy: it cannot be had. Not 401: the token may be good.
        """
        failed_lately = self._fetching is None and self._fetched_at < self._tried_at
        if failed_lately and now - self._tried_at < 1:
            raise Busy("The issuer's keys cannot be had right now.", retry_after=5)
        wanted = self._changes
        try:
            keys = await asyncio.shield(self._start(now))
            if self._seen < wanted:  # that fetch had begun before the change was heard of
                keys = await asyncio.shield(self._start(now))
        except fetch.FetchError as error:
            raise Busy(
                "The issuer's keys cannot be had right now.", detail=str(error), retry_after=5
            ) from error
        return keys

    async def missed(self, now: float) -> KeySet:
        """Look again for an unknown key, unless that was done just now."""
        keys = self._keys
        if keys is None:
            return await self.load(now)
        if self._fetching is None and now - self._tried_at < COOL_DOWN:
            return keys
        try:
            return await asyncio.shield(self._start(now))
        except fetch.FetchError:
            return keys

    @contextlib.contextmanager
    def answered_by(self, documents: Documents) -> Iterator[None]:
        """Ask `documents` instead of the network, from an empty cache; for tests."""
        before = dict(vars(self))
        self._document, self._keys, self._fetching = documents, None, None
        self.log, self._seen = None, 0
        self._fetched_at, self._tried_at = 0.0, float("-inf")
        try:
            yield
        finally:
            vars(self).update(before)

    @property
    def _changes(self) -> int:
        return 0 if self.log is None else self.log.config_changes

    async def _from_issuer(self, url: str) -> dict[str, Any]:
        # One of many servers of the issuer answers, and must have heard of the change as well.
        known = self.log
        named = None if known is None else {MIN_SEQ.decode(): f"{known.epoch}.{known.position}"}
        return await fetch.document(url, headers=named)

    def _start(self, now: float) -> asyncio.Task[KeySet]:
        if self._fetching is None or self._fetching.done():
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch(now))
            self._fetching.add_done_callback(_note_failure)
        return self._fetching

    async def _fetch(self, now: float) -> KeySet:
        seen = self._changes
        try:
            uri = self._configured or self._found or await self._discovered()
            self._found = None  # until it has answered again: the key set may have moved
            keys = self._set_of(self._usable(await self._document(uri)))
            if len(keys) == 0:
                raise fetch.FetchError(f"{uri} holds no key we may use")
            self._keys, self._fetched_at, self._found, self._seen = keys, now, uri, seen
            return keys
        finally:
            self._fetching = None

    def _set_of(self, document: dict[str, Any]) -> KeySet:
        """The same document is the same set: what was verified with it stays verified."""
        if self._keys is None or document != self._latest:
            self._latest = document
            return KeySet.from_jwks(document, algorithms=self.algorithms)
        return self._keys

    def _usable(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document without keys of development's, unless the issuer is on this machine."""
        listed = document.get("keys")
        if loopback(self._issuer) or not isinstance(listed, list):
            return document
        kept = [jwk for jwk in listed if not _of_development(jwk)]
        if len(kept) < len(listed):
            log.warning("%s publishes keys of development mode; they are not used", self._issuer)
        return {**document, "keys": kept}

    async def _discovered(self) -> str:
        found = await discovered(self._issuer, self._document)
        return str(found["jwks_uri"])


def _of_development(jwk: object) -> bool:
    return isinstance(jwk, dict) and str(jwk.get("kid", "")).startswith(DEV_KID)


def _note_failure(task: asyncio.Task[KeySet]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("the keys could not be renewed: %s", error)

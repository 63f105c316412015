"""The keys of another issuer, over its published key set.

Fresh keys are used as they are; stale ones are used while newer ones are fetched;
very old ones are not used at all. A token with an unknown key makes us look again,
at most once in 30 s however many such tokens come (attack row J-39).
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

from watchword import fetch
from watchword.crypto.jose import KeySet
from watchword.errors import Busy

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
        self._algorithms = algorithms
        self._jwks_uri = jwks_uri
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._tried_at = float("-inf")
        self._fetching: asyncio.Task[KeySet] | None = None

    def current(self, now: float) -> KeySet | None:
        """The set at hand, unless it is too old to trust."""
        age = now - self._fetched_at
        if self._keys is None or age > HARD_LIMIT:
            return None
        if age > FRESH and now - self._tried_at > COOL_DOWN:
            self._start(now).add_done_callback(_note_failure)
        return self._keys

    async def load(self, now: float) -> KeySet:
        """Fetch the set; everybody who waits shares one fetch.

        Raises:
            Busy: it cannot be had. Not 401: the token may be good.
        """
        failed_lately = self._fetching is None and now - self._tried_at < 1
        if failed_lately:
            raise Busy("The issuer's keys cannot be had right now.", retry_after=5)
        try:
            return await asyncio.shield(self._start(now))
        except fetch.FetchError as error:
            raise Busy(
                "The issuer's keys cannot be had right now.", detail=str(error), retry_after=5
            ) from error

    async def missed(self, now: float) -> KeySet:
        """Look again for an unknown key, unless that was done just now."""
        keys = self._keys
        if keys is None:
            return await self.load(now)
        if self._fetching is None and now - self._tried_at < COOL_DOWN:
            return keys
        try:
            return await asyncio.shield(self._start(now))
        except fetch.FetchError as error:
            log.warning("the keys of %s could not be renewed: %s", self._issuer, error)
            return keys

    def _start(self, now: float) -> asyncio.Task[KeySet]:
        if self._fetching is None or self._fetching.done():
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch(now))
        return self._fetching

    async def _fetch(self, now: float) -> KeySet:
        try:
            if self._jwks_uri is None:
                self._jwks_uri = await self._discovered()
            document = await fetch.document(self._jwks_uri)
            keys = KeySet.from_jwks(document, algorithms=self._algorithms)
            if len(keys) == 0:
                raise fetch.FetchError(f"{self._jwks_uri} holds no key we may use")
            self._keys, self._fetched_at = keys, now
            return keys
        finally:
            self._fetching = None

    async def _discovered(self) -> str:
        """OpenID Discovery appends the well-known path, RFC 8414 inserts it: try both."""
        parts = urlsplit(self._issuer)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        trouble = fetch.FetchError("no discovery document")
        for url in (
            f"{origin}{path}/.well-known/openid-configuration",
            f"{origin}/.well-known/oauth-authorization-server{path}",
        ):
            try:
                document = await fetch.document(url)
            except fetch.FetchError as error:
                trouble = error
                continue
            jwks_uri = document.get("jwks_uri")
            # RFC 8414 section 3.3: the document must name the issuer we started from
            if document.get("issuer") == self._issuer and isinstance(jwks_uri, str):
                return jwks_uri
            trouble = fetch.FetchError(f"{url} is not the document of {self._issuer}")
        raise trouble


def _note_failure(task: asyncio.Task[KeySet]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("the keys could not be renewed: %s", error)

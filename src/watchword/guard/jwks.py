"""The keys of another issuer, over its published key set.

Fresh keys are used as they are; stale ones are used while newer ones are fetched;
very old ones are not used at all. A token with an unknown key makes us look again,
at most once in 30 s however many such tokens come (attack row J-39). Keys of another
server's development mode count on this very machine only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from watchword import fetch
from watchword.crypto.jose import KeySet
from watchword.errors import Busy
from watchword.rules.claims import DEV_KID

log = logging.getLogger("watchword.guard")

FRESH = 300.0  # seconds that a fetched set is used without a thought
HARD_LIMIT = 86_400.0  # seconds after which a set that cannot be renewed is useless
COOL_DOWN = 30.0  # seconds between fetches that unknown keys cause


Documents = Callable[[str], Awaitable[dict[str, Any]]]


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
        self._document: Documents = fetch.document
        self._configured = jwks_uri
        self._found: str | None = None
        self._latest: dict[str, Any] = {}
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
            self._start(now)
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
        except fetch.FetchError:
            return keys

    @contextlib.contextmanager
    def answered_by(self, documents: Documents) -> Iterator[None]:
        """Ask `documents` instead of the network, from an empty cache; for tests."""
        before = dict(vars(self))
        self._document, self._keys, self._fetching = documents, None, None
        self._fetched_at, self._tried_at = 0.0, float("-inf")
        try:
            yield
        finally:
            vars(self).update(before)

    def _start(self, now: float) -> asyncio.Task[KeySet]:
        if self._fetching is None or self._fetching.done():
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch(now))
            self._fetching.add_done_callback(_note_failure)
        return self._fetching

    async def _fetch(self, now: float) -> KeySet:
        try:
            uri = self._configured or self._found or await self._discovered()
            self._found = None  # until it has answered again: the key set may have moved
            keys = self._set_of(self._usable(await self._document(uri)))
            if len(keys) == 0:
                raise fetch.FetchError(f"{uri} holds no key we may use")
            self._keys, self._fetched_at, self._found = keys, now, uri
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
        if _loopback(self._issuer) or not isinstance(listed, list):
            return document
        kept = [jwk for jwk in listed if not _of_development(jwk)]
        if len(kept) < len(listed):
            log.warning("%s publishes keys of development mode; they are not used", self._issuer)
        return {**document, "keys": kept}

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
                document = await self._document(url)
            except fetch.FetchError as error:
                trouble = error
                continue
            jwks_uri = document.get("jwks_uri")
            # RFC 8414 section 3.3: the document must name the issuer we started from
            if document.get("issuer") != self._issuer or not isinstance(jwks_uri, str):
                trouble = fetch.FetchError(f"{url} is not the document of {self._issuer}")
            elif parts.scheme == "https" and not jwks_uri.startswith("https://"):
                trouble = fetch.FetchError(f"{url} names a key set without TLS")
            else:
                return jwks_uri
        raise trouble


def _of_development(jwk: object) -> bool:
    return isinstance(jwk, dict) and str(jwk.get("kid", "")).startswith(DEV_KID)


def _loopback(issuer: str) -> bool:
    host = urlsplit(issuer).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _note_failure(task: asyncio.Task[KeySet]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("the keys could not be renewed: %s", error)

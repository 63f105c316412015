"""Token -> AccessToken: signature, claims, revocation; with a cache of verified tokens.

A hit costs a hash and three comparisons, and is still judged: by the clock, by the
keys in force, by every revocation since. Refusals are never cached, so nobody can
fill the cache with tokens of their own making.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NoReturn, Protocol

from watchword.crypto import jose
from watchword.crypto.jose import KeySet, UnknownKey
from watchword.errors import InvalidToken
from watchword.guard.freshness import AS_USUAL, HOWEVER_OLD, Asked
from watchword.guard.revocations import Revocations
from watchword.rules.access import LEEWAY, AccessToken, Expectation, judged

MOST_CACHED = 10_000


class Keys(Protocol):
    """Where the verifying keys come from."""

    def current(self, now: float) -> KeySet | None:
        """The keys in force, or None when they must be loaded first."""
        ...

    async def load(self, now: float) -> KeySet:
        """Load them.

        Raises:
            Busy: they cannot be had; nobody is let in.
        """
        ...

    async def missed(self, now: float) -> KeySet:
        """A token named an unknown key: look again, but not for everyone who asks."""
        ...


def _name(token: bytes) -> bytes:
    """What a token is remembered by: a digest, so that the cache holds none that works.

    BLAKE2b, because on a busy server it costs half of what OpenSSL's SHA-256 does.
    """
    return hashlib.blake2b(token, digest_size=32).digest()


@dataclass(slots=True)
class _Verified:
    token: AccessToken
    keys: KeySet
    changes: int  # those of the log that it has been held against


class Verifier:
    """Verifies the access tokens of one issuer.

    Args:
        keys: what may have signed them.
        expected: issuer, audience, claims.
        types: the `typ` values accepted (RFC 9068 section 4).
        revocations: the log to obey; None for issuers that have none.
    """

    def __init__(
        self,
        keys: Keys,
        expected: Expectation,
        *,
        types: frozenset[str],
        revocations: Revocations | None = None,
    ) -> None:
        self.keys = keys
        self.expected = expected
        self.types = types
        self.revocations = revocations
        self._cache: dict[bytes, _Verified] = {}

    async def __call__(self, token: str, now: float, asked: Asked = AS_USUAL) -> AccessToken:
        """Verify a token.

        Args:
            token: as it came.
            now: Unix seconds.
            asked: what this decision asks of the knowledge of revocations.

        Raises:
            InvalidToken: it is not good; the reason is for the log.
            Busy: the keys cannot be had.
            Stale: nobody can tell what was revoked of late.
            Unavailable: the revocation log cannot be read.
        """
        log = self.revocations
        if log is not None:
            log.catch_up(now, HOWEVER_OLD)
        verified = await self._verified(token, now)
        if log is not None:
            # Only for who shows a token of ours is the log asked anew; and whatever was
            # awaited, the decision is made by what is known after it.
            changes = log.config_changes
            await log.meet(asked)
            if log.config_changes != changes:
                verified = await self._verified(token, now)
            log.catch_up(now, asked)
        if not self._still_stands(verified):
            raise InvalidToken("The access token is not valid.", detail="revoked")
        return verified.token

    def recall(self, token: bytes, now: float) -> AccessToken | None:
        """A token that was verified before and is still good; None leaves it to a full look.

        Raises:
            InvalidToken: it was good, and has expired.
            Unavailable: the revocation log cannot be read.
        """
        if self.revocations is not None:
            self.revocations.catch_up(now)
        name = _name(token)
        hit = self._cache.get(name)
        if hit is None or hit.keys is not self.keys.current(now):
            return None
        if now >= hit.token.expires_at + LEEWAY:
            self._expire(name)
        return hit.token if self._still_stands(hit) else None

    def _still_stands(self, verified: _Verified) -> bool:
        """Whether no revocation seen so far ends it; looks only when there is a new one."""
        log = self.revocations
        if log is None or verified.changes == (changes := log.changes):
            return True
        if log.refuse(verified.token):
            return False
        verified.changes = changes  # as it was before the look: there may be more by now
        return True

    async def _verified(self, token: str, now: float) -> _Verified:
        """By the keys in force; remembered, if only this is so."""
        keys = self.keys.current(now) or await self.keys.load(now)
        name = _name(token.encode())
        hit = self._cache.get(name)
        if hit is not None and hit.keys is keys:
            if now >= hit.token.expires_at + LEEWAY:
                self._expire(name)
            return hit
        verified = await self._checked(token, keys, now)
        self._remember(name, verified)
        return verified

    async def _checked(self, token: str, keys: KeySet, now: float) -> _Verified:
        try:
            jws = jose.verify(token, keys, typ=self.types)
        except UnknownKey:
            newer = await self.keys.missed(now)
            if newer is keys:
                raise
            keys = newer
            jws = jose.verify(token, keys, typ=self.types)
        return _Verified(judged(jws.claims, self.expected, now), keys, -1)

    def _expire(self, name: bytes) -> NoReturn:
        del self._cache[name]
        raise InvalidToken("The access token is not valid.", detail="expired")

    def _remember(self, name: bytes, verified: _Verified) -> None:
        if len(self._cache) >= MOST_CACHED:
            del self._cache[next(iter(self._cache))]  # the oldest: dicts keep their order
        self._cache[name] = verified

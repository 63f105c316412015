"""Which keys sign now: loads them, makes the first ones, brings on their successors.

A successor is published well before it signs, longer than anybody may cache the key
set, and a replaced key verifies for longer than any token lives. So a rotation
refuses no good token and no token is signed by a key nobody has seen.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from watchword.crypto import jose
from watchword.crypto.jose import KeySet
from watchword.crypto.keys import NEVER, Keyring, StoredKey, generate, resealed
from watchword.errors import ConfigError
from watchword.rules import claims
from watchword.seams import Store, Unavailable
from watchword.settings import Settings

JWKS_MAX_AGE = 300  # seconds that the published key set may be cached
LEAD = JWKS_MAX_AGE + 60.0  # seconds between publishing a key and signing with it


def ours(keys: Iterable[StoredKey], settings: Settings) -> list[StoredKey]:
    """The keys of the mode that is served in: development and production share none, even
    where they share a database."""  # noqa: D205, D209
    return [key for key in keys if key.kid.startswith(claims.DEV_KID) == settings.is_development]


class Signing:
    """The keys of one server."""

    def __init__(self, store: Store, settings: Settings, now: Callable[[], float]) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._kept: list[StoredKey] = []
        self.ring = Keyring.of((), ())

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What this server keeps keys for: access tokens, and RS256 for those who know no other."""
        return tuple(dict.fromkeys((self._settings.access_token_alg, "RS256")))

    async def load(self) -> None:
        """Read this mode's keys from the store."""
        # Sealed as this process can open them: one with a newer secret may have sealed them anew.
        sealed = {key.kid: key.sealed for key in self._kept}
        keys = [
            replace(key, sealed=sealed.get(key.kid, key.sealed))
            for key in ours(await self._store.keys(), self._settings)
        ]
        if keys != self._kept:  # guards remember what they verified for as long as a ring lives
            self.ring, self._kept = Keyring.of(keys, self._settings.secrets), keys

    async def prepare(self) -> None:
        """Load the keys; make what is missing or too old, seal anew what an earlier secret sealed.

        Raises:
            ConfigError: a key cannot be opened with the secret given.
        """
        await self._seal_anew()
        await self.load()
        for alg in self.algorithms:
            if self.ring.due(alg, self._now(), self._settings.key_rotate):
                await self.rotate(alg)
            self.ring.signer(alg, self._now())  # a key that cannot be opened stops the start

    async def _seal_anew(self) -> None:
        """After this the earlier secret opens nothing that the one in use does not."""
        for key in ours(await self._store.keys(), self._settings):
            new = resealed(key, self._settings.secrets)
            if new is not None:  # of processes that start together one is first
                await self._store.reseal_key(key.kid, new, self._now(), instead_of=key.sealed)

    async def rotate(
        self, alg: str, *, at_once: bool = False, even_if_young: bool = False
    ) -> StoredKey | None:
        """Publish a successor; None when another process just did.

        Args:
            alg: a JWS algorithm name.
            at_once: sign with it now, for a leaked key, and in place of a successor that
                waits; guards that cache the key set refetch it on the unknown `kid`.
            even_if_young: though the key in use is not due, because a person asked.
        """
        now = self._now()
        kept = ours(await self._store.keys(), self._settings)
        first = not any(key.alg == alg for key in kept)
        signs_from = now if first or at_once else now + LEAD
        newest = now if even_if_young else now - self._settings.key_rotate
        key = await asyncio.to_thread(  # RSA keys take a while to find
            generate,
            alg,
            self._settings.secret,
            signs_from=signs_from,
            kid_prefix=claims.DEV_KID if self._settings.is_development else "",
        )
        added = await self._store.add_key(
            key,
            unless_newer_than=math.inf if at_once else newest,
            retire_at=signs_from + self._settings.key_overlap,
            now=now,
        )
        await self.load()
        return key if added else None

    async def retire(self, key: StoredKey, *, at_once: bool = False) -> bool:
        """Take a key out of use, with a successor that signs now where nobody else does.

        Args:
            key: one of ours.
            at_once: it verifies nothing any more, as after a leak; otherwise what it
                signed lives out its life.

        Returns:
            Whether anything changed.
        """
        even_last = key.alg not in self.algorithms
        made = None
        if not even_last and not self._others_sign(key, await self._store.keys()):
            made = await self.rotate(key.alg, at_once=True)
        now = self._now()
        signed_nothing = key.signs_from > now
        until = NEVER if at_once or signed_nothing else now + self._settings.key_overlap
        changed = await self._store.retire_key(key.kid, now, until=until, even_last=even_last)
        await self.load()
        return changed or made is not None

    def _others_sign(self, key: StoredKey, keys: Iterable[StoredKey]) -> bool:
        now = self._now()
        return any(
            one.kid != key.kid
            and one.alg == key.alg
            and one.signs_from <= now
            and one.verifies_until is None  # one that was replaced is no successor
            for one in ours(keys, self._settings)
        )

    def access_token(self, content: Mapping[str, object], now: float) -> str:
        """Sign an access token.

        Raises:
            Unavailable: there is no key to sign with, or none that can be opened; nothing steps in.
        """
        try:
            key = self.ring.signer(self._settings.access_token_alg, now)
        except ConfigError as error:
            raise Unavailable(f"nothing can be signed: {error}") from error
        return jose.sign(content, key, claims.TYP)

    def key_set(self, now: float) -> KeySet:
        """What verifies our own tokens now."""
        return self.ring.verifiers(now)

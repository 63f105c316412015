"""Our own signing keys: made, sealed for the store, opened to sign, published, retired.

A key is *next* (published, not yet signing), then *active*, then *retiring* (tokens it
signed are still alive), then *gone*. Only instants are stored and the state follows from
them, so no two processes can disagree and no job has to move a key along.

A private key is sealed with a key derived from the server secret, bound to its `kid`: a
copy of the database signs nothing, and one row's key cannot be moved into another row.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from watchword.crypto.jose import KeySet
from watchword.crypto.jwk import (
    ALGORITHMS,
    PrivateKey,
    SigningKey,
    VerifyingKey,
    new_private_key,
    thumbprint,
)
from watchword.crypto.secrets import derive
from watchword.errors import ConfigError

__all__ = [
    "NEVER",
    "Keyring",
    "SigningKey",
    "StoredKey",
    "VerifyingKey",
    "generate",
    "opened",
    "resealed",
]

# The `verifies_until` of a key that was taken out of use at once: before any instant, so that
# no clock that runs behind or is set back brings it to life.
NEVER = 0.0

_PURPOSE = "signing keys"
_NONCE = 12  # bytes; what AES-GCM is made for


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A signing key as the store keeps it.

    Attributes:
        kid: its name, ending in its thumbprint.
        alg: the one algorithm it signs with.
        signs_from: Unix seconds since when it may sign.
        verifies_until: Unix seconds after which it verifies nothing; None while in use.
        sealed: the encrypted private key.
        public: the public JWK, as JSON.
    """

    kid: str
    alg: str
    signs_from: float
    verifies_until: float | None
    sealed: bytes = field(repr=False)
    public: str = field(repr=False)

    def verifies(self, now: float) -> bool:
        """Whether tokens that it signed still count."""
        return self.verifies_until is None or now <= self.verifies_until


def generate(alg: str, secret: str, *, signs_from: float, kid_prefix: str = "") -> StoredKey:
    """A new key, sealed.

    Args:
        alg: a member of `ALGORITHMS`; RSA keys get 2048 bits.
        secret: the server secret.
        signs_from: Unix seconds; later than now publishes the key before its first use.
        kid_prefix: goes before the thumbprint in its name.

    Raises:
        ConfigError: no such algorithm, or an empty secret.
    """
    if alg not in ALGORITHMS:
        raise ConfigError(
            "unknown signing algorithm", fix=f"choose one of {', '.join(sorted(ALGORITHMS))}"
        )
    private, kid = _new(alg, kid_prefix)
    clear = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = json.dumps(VerifyingKey(kid, alg, private.public_key()).jwk)
    return StoredKey(kid, alg, signs_from, None, _sealed(kid, clear, secret), public)


def _new(alg: str, prefix: str) -> tuple[PrivateKey, str]:
    """A private key and its name, which is typed into commands: it never looks like an option."""
    while True:
        private = new_private_key(alg)
        kid = prefix + thumbprint(private.public_key())
        if not kid.startswith("-"):
            return private, kid


def opened(key: StoredKey, secrets: Sequence[str]) -> SigningKey:
    """The key, ready to sign.

    Args:
        key: as the store keeps it.
        secrets: the server secret and those it replaced; tried in turn.

    Raises:
        ConfigError: none of the secrets opens it, or what it holds is another key.
    """
    for secret in secrets:
        clear = _unsealed(key, secret)
        if clear is not None:
            # Sealed by `generate`, so of a kind that it makes. Its primes are not tested once
            # more: that takes an event loop's time, and nobody without the secret made it.
            private = cast(
                "PrivateKey",
                load_der_private_key(clear, password=None, unsafe_skip_rsa_key_validation=True),
            )
            published = _public(key)
            signer = SigningKey(key.kid, key.alg, private)
            # the columns outside the seal must be those of the key inside it
            if signer.public().jwk != published.jwk:
                raise _unusable(key, "its private and public halves differ")
            return signer
    raise ConfigError(
        f"the signing key {key.kid} cannot be opened",
        why="no server secret given is the one that it was sealed with",
        fix="give the secret in use when the key was made as the previous secret",
    )


def resealed(key: StoredKey, secrets: Sequence[str]) -> bytes | None:
    """The private key sealed with the secret in use, where only an earlier one opens it.

    None when it is sealed so already, or with a secret that is not given: then it is
    `opened` that complains, should the key have to sign.
    """
    if _unsealed(key, secrets[0]) is not None:
        return None
    for earlier in secrets[1:]:
        clear = _unsealed(key, earlier)
        if clear is not None:
            return _sealed(key.kid, clear, secrets[0])
    return None


class Keyring:
    """The stored keys as one value; a change in the store makes another ring.

    Args:
        keys: every stored key.
        secrets: the server secret and those it replaced.

    Raises:
        ConfigError: the public half of a key is not readable.
    """

    __slots__ = ("_keys", "_latest", "_public", "_secrets", "_sets", "_signers")

    def __init__(self, keys: Iterable[StoredKey], secrets: Sequence[str]) -> None:
        self._keys = tuple(sorted(keys, key=_age))
        self._secrets = tuple(secrets)
        self._public = {key.kid: _public(key) for key in self._keys}
        self._signers: dict[str, SigningKey] = {}
        self._sets: dict[tuple[str, ...], KeySet] = {}
        self._latest: tuple[float, float, KeySet] = (math.inf, math.inf, KeySet(()))

    @classmethod
    def of(cls, keys: Iterable[StoredKey], secrets: Sequence[str]) -> Keyring:
        """A ring of these keys; a private half is opened when it first signs."""
        return cls(keys, secrets)

    def signer(self, alg: str, now: float) -> SigningKey:
        """The key that signs at `now`: the newest of `alg` whose time has come.

        Raises:
            ConfigError: there is none, or its private half cannot be opened.
        """
        key = self._active(alg, now)
        if key is None:
            raise ConfigError(f"no signing key for {alg}", fix="make one: watchword key rotate")
        if key.kid not in self._signers:
            self._signers[key.kid] = opened(key, self._secrets)
        return self._signers[key.kid]

    def verifiers(self, now: float) -> KeySet:
        """Every key whose tokens count at `now`, and those that will sign next.

        The same set as long as no key falls out, so what it remembers is kept.
        """
        after, until, keys = self._latest
        if not after < now <= until:
            self._latest = after, until, keys = self._verifying(now)
        return keys

    def _verifying(self, now: float) -> tuple[float, float, KeySet]:
        """The set at `now`, and the times between which it stays as it is."""
        ends = [key.verifies_until for key in self._keys if key.verifies_until is not None]
        kids = tuple(key.kid for key in self._keys if key.verifies(now))
        if kids not in self._sets:
            self._sets[kids] = KeySet(self._public[kid] for kid in kids)
        after = max((end for end in ends if end < now), default=-math.inf)
        until = min((end for end in ends if end >= now), default=math.inf)
        return after, until, self._sets[kids]

    def jwks(self, now: float) -> dict[str, object]:
        """The document to publish (RFC 7517 section 5); public members only."""
        keys = [dict(self._public[key.kid].jwk) for key in self._keys if key.verifies(now)]
        return {"keys": keys}

    def state(self, key: StoredKey, now: float) -> str:
        """`next`, `active`, `retiring` or `gone`."""
        if not key.verifies(now):
            return "gone"
        if key.signs_from > now:
            return "next"
        active = self._active(key.alg, now)
        return "active" if active is not None and active.kid == key.kid else "retiring"

    def due(self, alg: str, now: float, max_age: float) -> bool:
        """Whether a successor should be made: the newest key of `alg` is too old, or missing.

        Args:
            alg: the algorithm.
            now: Unix seconds.
            max_age: seconds that a key may sign.
        """
        starts = [key.signs_from for key in self._keys if key.alg == alg and key.verifies(now)]
        return not starts or now - max(starts) > max_age

    def _active(self, alg: str, now: float) -> StoredKey | None:
        """Newest first; a key that verifies nothing any more, as after a leak, signs nothing.

        Where no key's time has come, the oldest one signs: it has been published, and
        only a clock that runs behind another node's, or went back, can say otherwise.
        """
        able = [key for key in self._keys if key.alg == alg and key.verifies(now)]
        come = [key for key in able if key.signs_from <= now]
        return come[-1] if come else next(iter(able), None)


def _age(key: StoredKey) -> tuple[float, bool, str]:
    """Oldest first; of two of one instant the one that was replaced."""
    return key.signs_from, key.verifies_until is None, key.kid


def _sealed(kid: str, clear: bytes, secret: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(derive(secret, _PURPOSE)).encrypt(nonce, clear, kid.encode())


def _unsealed(key: StoredKey, secret: str) -> bytes | None:
    nonce, sealed = key.sealed[:_NONCE], key.sealed[_NONCE:]
    try:
        return AESGCM(derive(secret, _PURPOSE)).decrypt(nonce, sealed, key.kid.encode())
    except (InvalidTag, ValueError):
        return None


def _public(key: StoredKey) -> VerifyingKey:
    try:
        jwk = json.loads(key.public)
    except ValueError:
        jwk = None
    public = VerifyingKey.from_jwk(jwk, algorithms=frozenset({key.alg}))
    if public is None or public.kid != key.kid:
        raise _unusable(key, "its public half is not readable")
    return public


def _unusable(key: StoredKey, why: str) -> ConfigError:
    return ConfigError(
        f"the signing key {key.kid} is damaged",
        why=why,
        fix="restore the row from a backup, or make a new key: watchword key rotate --now",
    )

"""Clear secrets that cannot be printed, and the few things one does with a secret.

Everything here rests on the operating system's generator and on SHA-256. Stores see
digests only: a random secret of 256 bits needs no salt and no slow hash, and a digest
is found by an index where a salted one is not.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import string

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from watchword.errors import ConfigError

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BASE = len(_ALPHABET)


class Secret:
    """A clear secret: a token, a code, a password of a client.

    Not a dataclass: JSON encoders write the fields of those without being asked.

    Args:
        clear: the secret as its owner presents it.
    """

    __slots__ = ("clear",)
    clear: str

    def __init__(self, clear: str) -> None:
        object.__setattr__(self, "clear", clear)

    @property
    def digest(self) -> str:
        """What a store may see: SHA-256 of the clear text, 64 hex digits."""
        return digest(self.clear)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Secret does not change: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Secret does not change: {name}")

    def __repr__(self) -> str:
        return f"Secret({self.digest[:8]}…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and same(self.clear, other.clear)

    def __hash__(self) -> int:
        return hash(self.clear)


def digest(clear: str) -> str:
    """SHA-256 of `clear` in UTF-8, as 64 hex digits; takes any text a caller may send."""
    return hashlib.sha256(_bytes(clear)).hexdigest()


def fresh(prefix: str, bits: int = 256) -> Secret:
    """A new secret `prefix_…` of letters and digits only, so that a double click selects it.

    Args:
        prefix: says what leaked when a scanner finds it; adds no entropy.
        bits: the entropy wanted, at least; rounded up to whole characters.
    """
    length = math.ceil(bits / math.log2(_BASE))
    # one draw for all characters: uniform over the whole range, and one system call
    number = secrets.randbelow(_BASE**length)
    characters = []
    for _ in range(length):
        number, rest = divmod(number, _BASE)
        characters.append(_ALPHABET[rest])
    return Secret(f"{prefix}_{''.join(characters)}")


def same(a: str | bytes, b: str | bytes) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(_bytes(a), _bytes(b))


def derive(secret: str, purpose: str, length: int = 32) -> bytes:
    """A key for one purpose out of the server secret: HKDF-SHA256 (RFC 5869).

    Args:
        secret: the server secret; it must hold the entropy itself, nothing is stretched.
        purpose: names the use, so that no two uses ever share a key.
        length: bytes wanted, at most 8160.

    Raises:
        ConfigError: the secret is empty, so everybody could derive the key.
    """
    if not secret:
        raise ConfigError(
            "the server secret is empty",
            why=f"the key for {purpose} is derived from it",
            fix="set a long random secret",
        )
    info = f"watchword {purpose}".encode()
    return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(_bytes(secret))


def _bytes(text: str | bytes) -> bytes:
    # surrogatepass: text off the wire may hold lone surrogates, and must not raise here
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")

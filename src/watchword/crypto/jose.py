"""JSON Web Signatures, compact form only: the one reader and writer of signed tokens.

A token chooses nothing: neither its algorithm, which is the key's, nor its key beyond a
name in a table we hold, nor any address to fetch from (RFC 7515, RFC 8725). There is no
JWE, no JSON form, no unsecured form and no symmetric key, so none can be confused.

What a caller hears is always the same sentence. `detail` names the rule that was broken
and holds nothing out of the token: an unverified text must not reach a log line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from watchword.crypto.jwk import ALGORITHMS, SigningKey, VerifyingKey, current_name
from watchword.crypto.strict import Malformed, decode64, encode64, json_object
from watchword.errors import ConfigError, InvalidToken

__all__ = ["MAX_SIZE", "Jws", "KeySet", "UnknownKey", "sign", "verify"]

MAX_SIZE = 16 * 1024
"""Characters of the longest token that is read, or written."""

_WHY = "the token is not valid"

_MAX_HEADS = 64  # protected headers remembered; an issuer has a handful

# Each asks for another reading of the token or brings its own key; RFC 7515 section 4.1.11
# obliges us to refuse `crit` for we know no extension.
_REFUSED_HEADERS = frozenset({"crit", "b64", "jku", "x5u", "jwk", "x5c", "zip", "enc"})


class UnknownKey(InvalidToken):
    """The token names a key that is not in the set; a remote set may be stale."""


@dataclass(frozen=True, slots=True)
class Jws:
    """A token whose signature was verified; what its claims mean is for the rules.

    Attributes:
        header: the protected header, read-only.
        claims: the payload, the caller's own to keep.
    """

    header: Mapping[str, Any]
    claims: dict[str, Any]


class _Head(NamedTuple):
    header: Mapping[str, Any]
    key: VerifyingKey
    typ: str


class KeySet:
    """What may verify: our own public keys, or those of a remote JWKS.

    A name that two keys share names neither. The set never changes; it only remembers
    protected headers that it has already read, since an issuer writes few of them.

    Args:
        keys: the public keys.
        remote: whether they are somebody else's. Then a token may go without `kid` if
            only one key fits its `alg`, and may call Ed25519 by its old name.
    """

    __slots__ = ("_heads", "_keys", "_named", "_remote")

    def __init__(self, keys: Iterable[VerifyingKey], *, remote: bool = False) -> None:
        every = tuple(keys)
        uses = Counter(key.kid for key in every)
        self._keys = tuple(key for key in every if uses[key.kid] == 1 or not key.kid)
        self._named = {key.kid: key for key in self._keys if key.kid}
        self._remote = remote
        self._heads: dict[bytes, _Head] = {}

    @classmethod
    def from_jwks(cls, document: object, *, algorithms: frozenset[str] = ALGORITHMS) -> KeySet:
        """A remote set; keys that cannot verify one of `algorithms` are left out.

        Args:
            document: the parsed JSON of a JWKS (RFC 7517 section 5), of whatever form.
            algorithms: what this issuer may sign with.
        """
        listed = document.get("keys") if isinstance(document, dict) else None
        jwks = listed if isinstance(listed, list) else []
        keys = (VerifyingKey.from_jwk(jwk, algorithms=algorithms) for jwk in jwks)
        return cls((key for key in keys if key is not None), remote=True)

    def knows(self, kid: str) -> bool:
        """Whether a key of that name is here."""
        return kid in self._named

    def __len__(self) -> int:
        return len(self._keys)

    def head(self, protected: bytes) -> _Head:
        """The key and the kind that a protected header names.

        Raises:
            InvalidToken: the header is malformed, or asks for what is refused.
            UnknownKey: it names a key that is not here.
        """
        known = self._heads.get(protected)
        if known is not None:
            return known
        header = _header(protected)
        if not _REFUSED_HEADERS.isdisjoint(header):
            raise _refusal("header parameter refused")
        typ, alg = header.get("typ", ""), header.get("alg")
        if not isinstance(typ, str) or not isinstance(alg, str) or not typ.isascii():
            raise _refusal("header parameter of the wrong type")
        return _Head(MappingProxyType(header), self._key(header, alg), _kind(typ))

    def remember(self, protected: bytes, head: _Head) -> None:
        """Spare the next token the reading; only for a header whose signature was good."""
        if len(self._heads) < _MAX_HEADS:
            self._heads.setdefault(protected, head)

    def _key(self, header: Mapping[str, Any], alg: str) -> VerifyingKey:
        if self._remote:
            alg = current_name(alg)
        if "kid" not in header:
            fitting = [key for key in self._keys if key.alg == alg] if self._remote else []
            if len(fitting) != 1:
                raise _refusal("no kid")
            return fitting[0]
        kid = header["kid"]
        if not isinstance(kid, str):
            raise _refusal("header parameter of the wrong type")
        key = self._named.get(kid)
        if key is None:
            raise UnknownKey(_WHY, detail="unknown kid")
        if key.alg != alg:
            raise _refusal("not the algorithm of the key")  # RFC 8725 section 3.1
        return key


def sign(claims: Mapping[str, object], key: SigningKey, typ: str) -> str:
    """A compact JWS over `claims` (RFC 7515 section 3.1).

    Args:
        claims: JSON values; times as whole seconds.
        key: signs, and names itself and its algorithm in the header.
        typ: the kind of token, such as `at+jwt` (RFC 8725 section 3.11).

    Raises:
        ConfigError: the token would be longer than any verifier reads.
    """
    payload = encode64(_ENCODER.encode(claims if isinstance(claims, dict) else dict(claims)))
    message = _protected(key.alg, key.kid, typ) + b"." + payload
    token = message + b"." + encode64(key.sign(message))
    if len(token) > MAX_SIZE:
        raise ConfigError(
            "a token would be longer than 16 KiB",
            why="servers refuse request headers of that length, and so does the guard",
            fix="put fewer or shorter claims into tokens",
        )
    return token.decode("ascii")


def verify(token: str, keys: KeySet, *, typ: frozenset[str]) -> Jws:
    """The header and claims of a token, once its signature is proven.

    Args:
        token: the compact form; nothing else is read.
        keys: what may verify it.
        typ: the kinds admitted, compared without case and `application/` (RFC 9068
            section 4); a token without `typ` is of the kind "".

    Raises:
        InvalidToken: for every fault; nothing else is ever raised.
        UnknownKey: it names a key that is not in `keys`.
    """
    message, protected, payload, signature = _parts(token)
    head = keys.head(protected)
    if head.typ not in _kinds(typ):
        raise _refusal("not the kind of token expected")
    try:
        if not head.key.verify(decode64(signature), message):
            raise _refusal("bad signature")
        claims = json_object(decode64(payload))  # after the signature, never before
    except Malformed as fault:
        raise _refusal(str(fault)) from None
    keys.remember(protected, head)
    return Jws(head.header, claims)


def _parts(token: str) -> tuple[bytes, bytes, bytes, bytes]:
    """The signed message, protected header, payload and signature, each still encoded."""
    if len(token) > MAX_SIZE:
        raise _refusal("too long")
    if not token.isascii() or token.startswith("{"):
        raise _refusal("not a compact JWS")
    message, _, signature = token.encode("ascii").rpartition(b".")
    protected, dot, payload = message.partition(b".")
    if not dot or b"." in payload:
        raise _refusal("not three parts")
    return message, protected, payload, signature


def _header(protected: bytes) -> dict[str, Any]:
    try:
        return json_object(decode64(protected))
    except Malformed as fault:
        raise _refusal(str(fault)) from None


def _refusal(detail: str) -> InvalidToken:
    return InvalidToken(_WHY, detail=detail)


def _kind(typ: str) -> str:
    """RFC 7515 section 4.1.9: `application/` may be left out, and case means nothing."""
    return typ.lower().removeprefix("application/")


@lru_cache(maxsize=64)
def _kinds(typ: frozenset[str]) -> frozenset[str]:
    return frozenset(map(_kind, typ))


@lru_cache(maxsize=64)
def _protected(alg: str, kid: str, typ: str) -> bytes:
    return encode64(_ENCODER.encode({"typ": typ, "alg": alg, "kid": kid}))


_ENCODER = msgspec.json.Encoder()

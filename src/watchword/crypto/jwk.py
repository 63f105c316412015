"""Asymmetric keys: one key, one algorithm, known from the key and never from a token.

RFC 7517 (JWK), RFC 7518 (ES256, RS256, PS256), RFC 8037 and RFC 9864 (Ed25519). There
are no symmetric keys here, so no public key can ever be taken for one (RFC 8725 2.1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from watchword.crypto.strict import decode64, encode64

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_HALF = 32  # bytes of r, of s and of a P-256 coordinate (RFC 7518 section 3.4)
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # n of P-256
_RSA_BITS = range(2048, 8192 + 1)  # RFC 7518 section 3.3; beyond, one verify is an attack
_RSA_EXPONENTS = range(2**16 + 1, 2**32)  # 3 invites forgeries of lax padding checks

_SHA256 = hashes.SHA256()
_ECDSA = ec.ECDSA(_SHA256)
_PKCS1 = padding.PKCS1v15()
_PSS = padding.PSS(padding.MGF1(_SHA256), salt_length=_SHA256.digest_size)  # RFC 7518 section 3.5

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def _sign_es256(private: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    r, s = decode_dss_signature(private.sign(message, _ECDSA))
    return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")


def _check_es256(public: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> None:
    if len(signature) != 2 * _HALF:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
    # The twin (r, n - s) of a signature passes as well: what is revoked is the token's
    # id, never its spelling, so the twin buys nothing.
    if not (0 < r < _ORDER and 0 < s < _ORDER):
        raise InvalidSignature
    public.verify(encode_dss_signature(r, s), message, _ECDSA)


@dataclass(frozen=True, slots=True)
class _Algorithm:
    family: tuple[str, str]  # kty and crv of its keys
    generate: Callable[[], PrivateKey]
    sign: Callable[[Any, bytes], bytes]
    check: Callable[[Any, bytes, bytes], None]


def _rsa_2048() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


# in this order: the first algorithm of a family is what a JWK without `alg` means
_ALGORITHMS = {
    "ES256": _Algorithm(
        ("EC", "P-256"),
        lambda: ec.generate_private_key(ec.SECP256R1()),
        _sign_es256,
        _check_es256,
    ),
    "RS256": _Algorithm(
        ("RSA", ""),
        _rsa_2048,
        lambda private, message: private.sign(message, _PKCS1, _SHA256),
        lambda public, signature, message: public.verify(signature, message, _PKCS1, _SHA256),
    ),
    "PS256": _Algorithm(
        ("RSA", ""),
        _rsa_2048,
        lambda private, message: private.sign(message, _PSS, _SHA256),
        lambda public, signature, message: public.verify(signature, message, _PSS, _SHA256),
    ),
    "Ed25519": _Algorithm(
        ("OKP", "Ed25519"),
        ed25519.Ed25519PrivateKey.generate,
        lambda private, message: private.sign(message),
        lambda public, signature, message: public.verify(signature, message),
    ),
}

ALGORITHMS = frozenset(_ALGORITHMS)
"""The algorithms that Watchword signs with and verifies."""

_ALIASES = {"EdDSA": "Ed25519"}


def current_name(alg: str) -> str:
    """`Ed25519` for the deprecated name `EdDSA` (RFC 9864); any other name as it is."""
    return _ALIASES.get(alg, alg)


class VerifyingKey:
    """A public key and the one algorithm it serves.

    Args:
        kid: its name in a JWKS; empty if the document gives none.
        alg: a member of `ALGORITHMS`.
        public: the key itself, of the algorithm's family.

    Attributes:
        jwk: its JWK for a JWKS: required public members, `use`, `alg` and `kid`.
    """

    __slots__ = ("_check", "_public", "alg", "jwk", "kid")

    def __init__(self, kid: str, alg: str, public: PublicKey) -> None:
        self.kid = kid
        self.alg = alg
        self.jwk: dict[str, str] = {"kid": kid, "use": "sig", "alg": alg, **_members(public)}
        self._public = public
        self._check = _ALGORITHMS[alg].check

    @classmethod
    def from_jwk(
        cls, jwk: object, *, algorithms: frozenset[str] = ALGORITHMS
    ) -> VerifyingKey | None:
        """The key that a JWK describes, or None if it cannot verify any of `algorithms`.

        Refused: symmetric and private keys, keys for encryption, weak or oversized RSA,
        points off the curve, anything malformed.
        """
        try:
            return _imported(jwk, algorithms)
        except (ValueError, UnsupportedAlgorithm):
            return None

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` over `message` is this key's; never raises."""
        try:
            self._check(self._public, signature, message)
        except InvalidSignature:
            return False
        except Exception:  # noqa: BLE001 -- whatever the backend says, nothing is proven
            return False
        return True

    def __repr__(self) -> str:
        return f"VerifyingKey({self.alg} {self.kid})"


class SigningKey:
    """A private key, its name and its one algorithm.

    Args:
        kid: the name that tokens carry.
        alg: a member of `ALGORITHMS`.
        private: the key itself, of the algorithm's family.
    """

    __slots__ = ("_private", "_sign", "alg", "kid")

    def __init__(self, kid: str, alg: str, private: PrivateKey) -> None:
        self.kid = kid
        self.alg = alg
        self._private = private
        self._sign = _ALGORITHMS[alg].sign

    def sign(self, message: bytes) -> bytes:
        """The signature as JWS wants it: for ES256 the 64 bytes r and s (RFC 7518 3.4)."""
        return self._sign(self._private, message)

    def public(self) -> VerifyingKey:
        """The half that may be published."""
        return VerifyingKey(self.kid, self.alg, self._private.public_key())

    def __repr__(self) -> str:
        return f"SigningKey({self.alg} {self.kid})"


def new_private_key(alg: str) -> PrivateKey:
    """A new private key for a member of `ALGORITHMS`."""
    return _ALGORITHMS[alg].generate()


def thumbprint(public: PublicKey) -> str:
    """The JWK thumbprint of a key: SHA-256, base64url (RFC 7638 section 3)."""
    required = json.dumps(_members(public), sort_keys=True, separators=(",", ":"))
    return encode64(hashlib.sha256(required.encode()).digest()).decode()


def _members(public: PublicKey) -> dict[str, str]:
    """The required members only, which are what a thumbprint covers."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        x, y = (_text(number, _HALF) for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        e, n = (_text(number, (number.bit_length() + 7) // 8) for number in (numbers.e, numbers.n))
        return {"kty": "RSA", "n": n, "e": e}
    x = encode64(public.public_bytes_raw()).decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x}


def _text(number: int, length: int) -> str:
    return encode64(number.to_bytes(length, "big")).decode()


def _imported(jwk: object, algorithms: frozenset[str]) -> VerifyingKey:
    if not isinstance(jwk, dict) or not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise ValueError("not a public key")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("for encryption")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("not for verifying")
    kty = _member(jwk, "kty")
    family = (kty, "" if kty == "RSA" else _member(jwk, "crv"))
    implied = next((name for name, known in _ALGORITHMS.items() if known.family == family), "")
    alg = current_name(_member(jwk, "alg", implied))
    if alg not in {current_name(name) for name in algorithms}:
        raise ValueError("algorithm not allowed")
    known = _ALGORITHMS.get(alg)
    if known is None or known.family != family:
        raise ValueError("not a key of that algorithm")
    return VerifyingKey(_member(jwk, "kid", ""), alg, _public(kty, jwk))


def _public(kty: str, jwk: Mapping[str, object]) -> PublicKey:
    if kty == "RSA":
        n, e = (int.from_bytes(_octets(jwk, name), "big") for name in ("n", "e"))
        if n.bit_length() not in _RSA_BITS or e not in _RSA_EXPONENTS:
            raise ValueError("RSA key too weak or too large")
        return rsa.RSAPublicNumbers(e, n).public_key()
    if kty == "EC":
        x, y = (int.from_bytes(_octets(jwk, name, _HALF), "big") for name in ("x", "y"))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return ed25519.Ed25519PublicKey.from_public_bytes(_octets(jwk, "x", _HALF))


def _member(jwk: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = jwk.get(name, default)
    if not isinstance(value, str):
        raise ValueError("a member is missing or not text")  # noqa: TRY004 -- one refusal for all
    return value


def _octets(jwk: Mapping[str, object], name: str, length: int | None = None) -> bytes:
    raw = decode64(_member(jwk, name).encode())
    if length is not None and len(raw) != length:
        raise ValueError("a member is of the wrong length")
    return raw

"""Keys: one algorithm each, read from a JWK or not at all."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from watchword.crypto import jwk
from watchword.crypto.jwk import ALGORITHMS, SigningKey, VerifyingKey, new_private_key, thumbprint
from watchword.crypto.strict import decode64, encode64

KEYS = {alg: SigningKey(f"k-{alg}", alg, new_private_key(alg)) for alg in sorted(ALGORITHMS)}
EVERY = frozenset({*ALGORITHMS, "HS256", "none"})


def b64(number: int) -> str:
    return encode64(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_a_key_verifies_what_it_signed_and_nothing_else(alg: str) -> None:
    key, public = KEYS[alg], KEYS[alg].public()
    signature = key.sign(b"message")
    assert public.verify(signature, b"message")
    assert not public.verify(signature, b"massage")
    assert not public.verify(signature[:-1], b"message")
    assert not public.verify(signature + b"\0", b"message")
    assert not public.verify(b"", b"message")
    assert not public.verify(None, None)  # type: ignore[arg-type]
    assert len(signature) == {"RS256": 256, "PS256": 256}.get(alg, 64)


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_a_jwk_holds_public_members_only_and_reads_back(alg: str) -> None:
    public = KEYS[alg].public()
    assert set(public.jwk) in (
        {"kid", "use", "alg", "kty", *members}
        for members in (("crv", "x", "y"), ("n", "e"), ("crv", "x"))
    )
    again = VerifyingKey.from_jwk(public.jwk)
    assert again is not None and again.jwk == public.jwk
    assert again.verify(KEYS[alg].sign(b"m"), b"m")
    assert VerifyingKey.from_jwk(public.jwk, algorithms=ALGORITHMS - {alg}) is None
    assert (
        repr(public) == f"VerifyingKey({alg} k-{alg})"
        and repr(KEYS[alg]) == f"SigningKey({alg} k-{alg})"
    )


@pytest.mark.parametrize(
    ("kept", "implied"), [("ES256", "ES256"), ("PS256", "RS256"), ("Ed25519", "Ed25519")]
)
def test_a_jwk_without_alg_means_the_usual_one(kept: str, implied: str) -> None:
    plain = {
        name: value
        for name, value in KEYS[kept].public().jwk.items()
        if name not in {"alg", "use", "kid"}
    }
    key = VerifyingKey.from_jwk(plain)
    assert key is not None and (key.alg, key.kid) == (implied, "")
    assert VerifyingKey.from_jwk(plain, algorithms=ALGORITHMS - {implied}) is None


def test_the_old_name_of_ed25519_is_understood() -> None:
    old = {**KEYS["Ed25519"].public().jwk, "alg": "EdDSA"}
    for allowed in ({"EdDSA"}, {"Ed25519"}):
        key = VerifyingKey.from_jwk(old, algorithms=frozenset(allowed))
        assert key is not None and key.alg == "Ed25519"


@pytest.mark.attack("J-40", "J-04", "J-14", "J-16")
@pytest.mark.parametrize(
    "change",
    [
        {"d": "AQ"}, {"k": ""}, {"p": "AQ"}, {"oth": []},
        {"use": "enc"}, {"use": None}, {"use": 7},
        {"key_ops": ["sign"]}, {"key_ops": []}, {"key_ops": "verify"}, {"key_ops": None},
        {"kty": "oct", "k": ""}, {"kty": "oct", "k": "AAAA"}, {"kty": "oct"}, {"kty": "RSA"}, {"kty": "AKP"}, {"kty": None}, {"kty": ["EC"]}, {"kty": "ec"},
        {"crv": "P-384"}, {"crv": "P-521"}, {"crv": "secp256k1"}, {"crv": None}, {"crv": ["P-256"]}, {"crv": "Ed25519"},
        {"x": "AQ"}, {"x": None}, {"x": 7}, {"x": ""}, {"x": "ü"}, {"x": "=" * 43}, {"y": "A" * 43}, {"x": "A" * 43, "y": "A" * 43}, {"x": "_" * 42 + "8"},
        {"alg": "RS256"}, {"alg": "HS256"}, {"alg": "none"}, {"alg": "ES384"}, {"alg": "es256"}, {"alg": None}, {"alg": []}, {"alg": ""}, {"alg": "Ed25519"}, {"alg": "EdDSA"},
        {"kid": None}, {"kid": 7}, {"kid": ["a"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_key_that_cannot_verify_is_no_key(change: dict[str, object]) -> None:
    good = KEYS["ES256"].public().jwk
    assert VerifyingKey.from_jwk(good, algorithms=EVERY)
    assert VerifyingKey.from_jwk({**good, **change}, algorithms=EVERY) is None


@pytest.mark.attack("J-40")
@pytest.mark.parametrize(
    "jwk",
    [
        None,
        [],
        "text",
        7,
        {},
        {"kty": {}},
        {"kty": "EC"},
        {"kty": "RSA"},
        {"kty": "OKP", "crv": "Ed25519"},
    ],
)
def test_what_is_not_a_jwk_is_no_key(jwk: object) -> None:
    assert VerifyingKey.from_jwk(jwk) is None


@pytest.mark.attack("J-16", "J-33")
@pytest.mark.parametrize(
    ("n", "e"),
    [(2**1023 + 1, 65537), (2**2046 + 1, 65537), (2**8192 + 1, 65537), (2**100000 + 1, 65537), (2**2047 + 1, 3), (2**2047 + 1, 1), (2**2047 + 1, 65538), (2**2047 + 1, 2**32 + 1), (2**2047 + 1, 2**2046 + 1)],
    ids=["1024", "2047", "8193", "100001", "e=3", "e=1", "even e", "33-bit e", "2047-bit e"],
)  # fmt: skip
def test_weak_and_oversized_rsa_keys_are_dropped(n: int, e: int) -> None:
    assert VerifyingKey.from_jwk({"kty": "RSA", "n": b64(n), "e": b64(e)}) is None


def test_rsa_keys_up_to_the_limit_are_kept() -> None:
    for n in (2**2047 + 1, 2**8191 + 1):
        assert VerifyingKey.from_jwk({"kty": "RSA", "n": b64(n), "e": "AQAB"})


def test_a_leading_zero_octet_changes_nothing() -> None:
    numbers = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    padded = encode64(b"\0" + numbers.n.to_bytes(256, "big")).decode()
    key = VerifyingKey.from_jwk({"kty": "RSA", "n": padded, "e": "AQAB"})
    assert key is not None and key.jwk["n"] == b64(numbers.n)


def test_thumbprints_of_the_rfcs() -> None:
    n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    rsa_key = jwk._public("RSA", {"n": n, "e": "AQAB"})
    okp_key = jwk._public("OKP", {"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    assert thumbprint(rsa_key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"  # RFC 7638 3.1
    assert thumbprint(okp_key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"  # RFC 8037 A.3


def test_coordinates_keep_their_leading_zeros() -> None:
    scalar = next(
        d
        for d in range(1, 5000)
        if ec.derive_private_key(d, ec.SECP256R1()).public_key().public_numbers().x >> 248 == 0
    )
    key = SigningKey("k", "ES256", ec.derive_private_key(scalar, ec.SECP256R1()))
    assert len(decode64(key.public().jwk["x"].encode())) == 32
    assert VerifyingKey.from_jwk(key.public().jwk)


@pytest.mark.attack("J-14")
@pytest.mark.parametrize("name", ["x", "y"])
def test_a_coordinate_has_its_full_length_and_no_more(name: str) -> None:
    good = KEYS["ES256"].public().jwk
    raw = decode64(good[name].encode())
    assert VerifyingKey.from_jwk({**good, name: encode64(b"\0" + raw).decode()}) is None

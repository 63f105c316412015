"""Signing keys through their life: made, sealed, opened, published, retired."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from watchword.crypto import jose
from watchword.crypto.jwk import ALGORITHMS
from watchword.crypto.keys import Keyring, StoredKey, generate, opened, resealed
from watchword.errors import ConfigError

SECRET = "a long enough server secret, really"
AT = frozenset({"at+jwt"})


def made(signs_from: float = 0.0, alg: str = "ES256", **changes: object) -> StoredKey:
    return replace(generate(alg, SECRET, signs_from=signs_from), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_every_kind_is_made_sealed_and_opened(alg: str) -> None:
    key = generate(alg, SECRET, signs_from=5.0, kid_prefix="eu-")
    assert (key.alg, key.signs_from, key.verifies_until) == (alg, 5.0, None)
    assert key.kid.startswith("eu-") and len(key.kid) == 3 + 43
    public = json.loads(key.public)
    assert public["kid"] == key.kid and public["alg"] == alg and "d" not in public
    assert "sealed" not in repr(key) and "public" not in repr(key)
    ring = Keyring.of([key], [SECRET])
    token = jose.sign({"sub": "ada"}, ring.signer(alg, 5.0), "at+jwt")
    assert jose.verify(token, ring.verifiers(5.0), typ=AT).claims == {"sub": "ada"}


def test_two_seals_of_one_secret_differ() -> None:
    assert made().sealed[:12] != made().sealed[:12]


def test_an_unknown_algorithm_is_a_mistake_of_the_operator() -> None:
    for alg in ("HS256", "none", "EdDSA", "es256", ""):
        with pytest.raises(ConfigError, match="unknown signing algorithm"):
            generate(alg, SECRET, signs_from=0)


def test_a_rotated_server_secret_still_opens() -> None:
    key = made()
    assert opened(key, ["the new one", SECRET]).kid == key.kid
    for secrets in ([], ["the new one"]):
        with pytest.raises(ConfigError, match="cannot be opened") as caught:
            opened(key, secrets)
        assert SECRET not in str(caught.value)


def test_what_an_earlier_secret_sealed_is_sealed_anew() -> None:
    key = made()
    secrets = ["the new one", "one between", SECRET]
    sealed = resealed(key, secrets)
    assert sealed is not None
    anew = replace(key, sealed=sealed)
    assert opened(anew, ["the new one"]).public().jwk == opened(key, [SECRET]).public().jwk
    with pytest.raises(ConfigError, match="cannot be opened"):
        opened(anew, [SECRET])
    assert resealed(anew, secrets) is None, "it is sealed so already"
    assert resealed(key, ["the new one"]) is None, "nobody can"
    assert resealed(made(sealed=b"damaged"), secrets) is None


def test_of_two_keys_of_one_instant_the_one_not_replaced_signs() -> None:
    for _ in range(6):  # their names are chance
        one, two = made(5.0, verifies_until=99.0), made(5.0)
        for keys in ([one, two], [two, one]):
            assert Keyring.of(keys, [SECRET]).signer("ES256", 5.0).kid == two.kid


@pytest.mark.parametrize("sealed", [b"", b"short", b"\0" * 12, b"\0" * 200])
def test_a_damaged_seal_is_told(sealed: bytes) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        opened(made(sealed=sealed), [SECRET])


def test_a_seal_belongs_to_its_name() -> None:
    one, two = made(), made()
    with pytest.raises(ConfigError, match="cannot be opened"):
        opened(replace(two, sealed=one.sealed), [SECRET])


def test_the_public_half_must_be_the_sealed_one() -> None:
    one, two = made(), made()
    swapped = json.dumps({**json.loads(two.public), "kid": one.kid})
    with pytest.raises(ConfigError, match="differ"):
        opened(replace(one, public=swapped), [SECRET])


@pytest.mark.parametrize(
    "changes",
    [
        {"public": "{"},
        {"public": "null"},
        {"public": "{}"},
        {"alg": "RS256"},
        {"alg": "HS256"},
        {"kid": "x"},
    ],
)
def test_a_damaged_public_half_is_told_at_once(changes: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        Keyring.of([replace(made(), **changes)], [SECRET])


def test_private_halves_are_opened_on_the_first_signature() -> None:
    ring = Keyring.of([made()], ["wrong"])
    assert len(ring.verifiers(0)) == 1
    with pytest.raises(ConfigError):
        ring.signer("ES256", 0)
    good = Keyring.of([made()], [SECRET])
    assert good.signer("ES256", 0) is good.signer("ES256", 9)


def test_the_life_of_a_key() -> None:
    old, current, coming = made(0, verifies_until=300.0), made(100), made(200)
    rsa = made(0, "RS256")
    ring = Keyring.of([coming, old, rsa, current], [SECRET])
    assert [ring.state(old, now) for now in (-1, 0, 99, 100, 300, 301)] == [
        "next",
        "active",
        "active",
        "retiring",
        "retiring",
        "gone",
    ]
    assert [ring.state(current, now) for now in (99, 100, 199, 200, 9999)] == [
        "next",
        "active",
        "active",
        "retiring",
        "retiring",
    ]
    assert ring.signer("ES256", 99).kid == old.kid
    assert ring.signer("ES256", 100).kid == current.kid
    assert ring.signer("ES256", 200).kid == coming.kid
    assert ring.signer("RS256", 200).kid == rsa.kid and ring.state(rsa, 200) == "active"
    # a clock that went back finds the oldest key, which everybody has seen
    assert ring.signer("ES256", -1).kid == old.kid
    for alg, now in (("PS256", 0), ("none", 0)):
        with pytest.raises(ConfigError, match="no signing key"):
            ring.signer(alg, now)


def test_a_leaked_key_neither_verifies_nor_signs() -> None:
    older, leaked = made(0), made(100, verifies_until=150.0)
    ring = Keyring.of([older, leaked], [SECRET])
    assert ring.signer("ES256", 150).kid == leaked.kid
    assert ring.signer("ES256", 151).kid == older.kid
    assert not ring.verifiers(151).knows(leaked.kid)


def test_verifiers_are_the_living_and_the_coming() -> None:
    old, coming = made(0, verifies_until=300.0), made(200)
    ring = Keyring.of([old, coming], [SECRET])
    early, late = ring.verifiers(10), ring.verifiers(301)
    assert early.knows(old.kid) and early.knows(coming.kid)
    assert late.knows(coming.kid) and not late.knows(old.kid)
    assert ring.verifiers(300) is early and ring.verifiers(999) is late


@pytest.mark.attack("J-40")
def test_the_jwks_shows_public_members_only() -> None:
    keys = [made(0, alg) for alg in sorted(ALGORITHMS)]
    ring = Keyring.of([*keys, made(0, verifies_until=5.0)], [SECRET])
    listed = ring.jwks(6)["keys"]
    assert isinstance(listed, list) and {jwk["kid"] for jwk in listed} == {key.kid for key in keys}
    for jwk in listed:
        assert jwk["use"] == "sig" and jwk["alg"] in ALGORITHMS
        assert set(jwk) <= {"kid", "kty", "use", "alg", "crv", "x", "y", "n", "e"}
    assert len(jose.KeySet.from_jwks(ring.jwks(6))) == len(keys)
    listed[0].clear()
    assert ring.jwks(6)["keys"][0]  # type: ignore[index]


def test_a_successor_is_due_when_the_newest_is_too_old() -> None:
    ring = Keyring.of([made(0), made(100)], [SECRET])
    assert [ring.due("ES256", now, 50) for now in (0, 100, 150, 151)] == [False, False, False, True]
    assert ring.due("RS256", 0, 50)
    assert Keyring.of([made(0, verifies_until=10.0)], [SECRET]).due("ES256", 11, 50)


def test_a_name_is_never_taken_for_an_option(monkeypatch):
    """One thumbprint in sixty-four begins with a dash, and `key retire` would not take it."""
    made = iter(["-first", "second"])
    monkeypatch.setattr("watchword.crypto.keys.thumbprint", lambda _: next(made))
    assert generate("ES256", SECRET, signs_from=0).kid == "second"

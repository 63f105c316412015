"""Secrets stay secret, and what is made from them is what the RFCs say."""

from __future__ import annotations

import hashlib
import math
import pickle
import re

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from watchword.crypto.secrets import Secret, derive, digest, fresh, same
from watchword.errors import ConfigError

CLEAR = "rt_4uZpQ8fTq0Lr"


def test_a_secret_cannot_be_printed() -> None:
    secret = Secret(CLEAR)
    shown = f"Secret({hashlib.sha256(CLEAR.encode()).hexdigest()[:8]}…)"
    assert repr(secret) == str(secret) == f"{secret}" == shown
    assert CLEAR not in repr([secret]) and CLEAR not in repr({"secret": secret})


def test_an_encoder_does_not_write_it_unasked() -> None:
    with pytest.raises(TypeError):
        msgspec.json.encode({"secret": Secret(CLEAR)})


def test_it_does_not_change() -> None:
    secret = Secret(CLEAR)
    with pytest.raises(AttributeError):
        secret.clear = "other"
    with pytest.raises(AttributeError):
        del secret.clear
    assert not hasattr(secret, "__dict__")
    assert secret.clear == CLEAR


def test_equal_secrets_are_equal_and_nothing_else_is() -> None:
    assert Secret("a") == Secret("a") and hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_the_digest_is_sha256_in_hex() -> None:
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert Secret("abc").digest == digest("abc")
    assert len(digest("\ud800 lone, ü, \0")) == 64


@pytest.mark.parametrize(("bits", "length"), [(256, 43), (128, 22), (64, 11), (1, 1)])
def test_fresh_carries_the_entropy_asked_for(bits: int, length: int) -> None:
    secret = fresh("rt", bits).clear
    assert re.fullmatch(rf"rt_[0-9A-Za-z]{{{length}}}", secret)
    assert length * math.log2(62) >= bits


def test_fresh_is_uniform_at_every_place() -> None:
    drawn = [fresh("x", 64).clear.removeprefix("x_") for _ in range(3000)]
    assert len(set(drawn)) == 3000
    for place in range(11):
        counts = [sum(text[place] == letter for text in drawn) for letter in "0Zz"]
        assert all(10 <= count <= 110 for count in counts)  # 48 expected, sd 7


def test_same_never_raises() -> None:
    assert same("ü", "ü") and same("ü", "ü".encode()) and same(b"\xff", b"\xff")
    assert not same("ü", "u") and not same("", "a") and not same("\ud800", "?")


def test_derive_is_hkdf_with_the_purpose_as_info() -> None:
    expected = HKDF(hashes.SHA256(), 48, salt=None, info=b"watchword cookies").derive(b"s3cret")
    assert derive("s3cret", "cookies", 48) == expected
    assert len(derive("s3cret", "cookies")) == 32
    assert derive("s3cret", "a") != derive("s3cret", "b") != derive("other", "b")


def test_nothing_is_derived_from_an_empty_secret() -> None:
    with pytest.raises(ConfigError):
        derive("", "cookies")


def test_a_pickled_secret_does_not_come_back() -> None:
    with pytest.raises(AttributeError):
        pickle.loads(pickle.dumps(Secret(CLEAR)))

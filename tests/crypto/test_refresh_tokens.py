"""Refresh tokens on the wire: only this server writes them, and reading costs no statement."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.crypto.refresh_tokens import LAST_GENERATION, PREFIX, RefreshTokens
from watchword.crypto.secrets import derive

OLD, NEW = "o" * 32, "n" * 32
GRANT, SECRET = bytes(range(16)), bytes(range(16, 32))
TOKENS = RefreshTokens([NEW])
TOKEN, PROOF = TOKENS.first(GRANT, SECRET, "watchword")


def raw(text: str) -> bytearray:
    return bytearray(base64.urlsafe_b64decode(text.removeprefix(PREFIX) + "=="))


def written(content: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(content).decode().rstrip("=")


def test_the_layout():
    content = bytes(raw(TOKEN.clear))
    assert content[:36] == GRANT + bytes(4) + SECRET
    key = derive(NEW, "refresh tokens")
    assert content[36:] == hmac.digest(key, content[:36] + b"watchword", "sha256")[:16]
    assert len(TOKEN.clear) == 4 + 70
    assert TOKEN.clear not in repr(TOKEN)


@pytest.mark.attack("S-02")
def test_what_is_stored_is_half_of_a_digest():
    assert hashlib.sha256(SECRET).digest()[:16] == PROOF


def test_a_chain_shares_its_secret_part_and_is_reproducible():
    presented = TOKENS.read(TOKEN.clear, "watchword")
    assert (presented.grant_id, presented.generation, presented.proof) == (GRANT, 0, PROOF)
    assert presented.client_id == "watchword"
    assert presented.secret == SECRET
    assert "secret" not in repr(presented)
    one, again = (TOKENS.successor(presented, 1) for _ in range(2))
    assert one.clear == again.clear != TOKEN.clear
    following = TOKENS.read(one.clear, "watchword")
    assert (following.generation, following.proof) == (1, PROOF)
    assert TOKENS.successor(presented, 0).clear == TOKEN.clear


@given(
    st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.text(max_size=9)
)
def test_what_is_written_is_read(grant_id, secret, client_id):
    if not client_id.isprintable() or not client_id.isascii():
        client_id = "client"
    token, proof = TOKENS.first(grant_id, secret, client_id)
    presented = TOKENS.read(token.clear, client_id)
    assert (presented.grant_id, presented.proof) == (grant_id, proof)


@pytest.mark.attack("A-50", "T-39")
def test_one_bit_makes_it_nothing():
    for position in range(len(raw(TOKEN.clear))):
        for bit in range(8):
            changed = raw(TOKEN.clear)
            changed[position] ^= 1 << bit
            assert TOKENS.read(written(bytes(changed)), "watchword") is None


@pytest.mark.attack("T-15")
@pytest.mark.parametrize("other", ["", "Watchword", "watchword ", "thief", "\u00e9"])
def test_it_belongs_to_its_client(other):
    assert TOKENS.read(TOKEN.clear, other) is None


@pytest.mark.attack("A-50")
@pytest.mark.parametrize(
    "spelling",
    [
        TOKEN.clear + "=",
        TOKEN.clear + "==",
        TOKEN.clear + "A",
        TOKEN.clear[:-1],
        TOKEN.clear + "\n",
        " " + TOKEN.clear,
        TOKEN.clear.removeprefix(PREFIX),
        PREFIX.upper() + TOKEN.clear.removeprefix(PREFIX),
        PREFIX + TOKEN.clear,
        TOKEN.clear.replace("_", "/").replace("-", "+", 1) if "-" in TOKEN.clear else "x",
        TOKEN.clear[:20] + " " + TOKEN.clear[20:],
        "",
        PREFIX,
        PREFIX + "=",
        PREFIX + "\u00e9" * 70,
        PREFIX + "A" * 70,
        "a.b.c",
    ],
)
def test_it_has_one_spelling(spelling):
    assert TOKENS.read(spelling, "watchword") is None


@pytest.mark.attack("A-50")
def test_the_last_bits_of_base64_are_not_free():
    """70 characters hold 420 bits, 416 of them ours: the other four must be zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    readable = [sign for sign in alphabet if TOKENS.read(TOKEN.clear[:-1] + sign, "watchword")]
    assert readable == [TOKEN.clear[-1]]


@given(st.text(max_size=100))
def test_no_text_breaks_the_reader(text):
    assert TOKENS.read(text, "watchword") is None
    assert TOKENS.read(PREFIX + text, "watchword") is None


def test_a_changed_server_secret_reads_both_and_writes_the_new():
    old, _ = RefreshTokens([OLD]).first(GRANT, SECRET, "watchword")
    both = RefreshTokens([NEW, OLD])
    presented = both.read(old.clear, "watchword")
    successor = both.successor(presented, 1)
    assert TOKENS.read(successor.clear, "watchword") is not None
    assert TOKENS.read(old.clear, "watchword") is None
    assert RefreshTokens([OLD]).read(successor.clear, "watchword") is None


def test_generations_end():
    presented = TOKENS.read(TOKEN.clear, "watchword")
    last = TOKENS.successor(presented, LAST_GENERATION)
    assert TOKENS.read(last.clear, "watchword").generation == LAST_GENERATION
    beyond = TOKENS.successor(presented, LAST_GENERATION + 1)
    assert TOKENS.read(beyond.clear, "watchword") is None

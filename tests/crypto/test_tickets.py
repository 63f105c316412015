"""Tickets on the wire: only this server writes them, and reading costs no statement."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.crypto import tickets
from watchword.crypto.secrets import Secret, derive
from watchword.crypto.tickets import PREFIX, Tickets

OLD, NEW = "o" * 32, "n" * 32
RANDOM = bytes(range(24))
NOW = 1_800_000_000.0
TICKETS = Tickets([NEW])
TICKET = TICKETS.new(RANDOM, NOW + 30)
TOKEN = "eyJ0eXAi.eyJzdWIi.c2ln"


def raw(text: str) -> bytearray:
    return bytearray(base64.urlsafe_b64decode(text.removeprefix(PREFIX)))


def written(content: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(content).decode()


def test_the_layout():
    content = bytes(raw(TICKET.clear))
    assert content[:29] == int(NOW + 30).to_bytes(5, "big") + RANDOM
    key = derive(NEW, "tickets")
    assert content[29:] == hmac.digest(key, content[:29], "sha256")[:16]
    assert len(TICKET.clear) == 4 + 60
    assert TICKET.clear not in repr(TICKET)


def test_it_opens_until_its_end():
    assert TICKETS.may_open(TICKET.clear, NOW)
    assert TICKETS.may_open(TICKET.clear, NOW + 29.9)
    assert not TICKETS.may_open(TICKET.clear, NOW + 30)
    assert not Tickets([OLD]).may_open(TICKET.clear, NOW)
    assert Tickets([OLD, NEW]).may_open(TICKET.clear, NOW), "written before the secret changed"


@pytest.mark.attack("J-18")
def test_one_bit_makes_it_nothing():
    for position in range(len(raw(TICKET.clear))):
        for bit in range(8):
            changed = raw(TICKET.clear)
            changed[position] ^= 1 << bit
            assert not TICKETS.may_open(written(bytes(changed)), NOW)


@pytest.mark.attack("J-18")
@pytest.mark.parametrize(
    "text",
    [
        "", PREFIX, PREFIX + "A" * 60, PREFIX + "A" * 64, TICKET.clear[4:], TICKET.clear[:-1],
        TICKET.clear + "A", TICKET.clear + "=", TICKET.clear + "\n", " " + TICKET.clear,
        TICKET.clear.upper(), PREFIX + TICKET.clear, TICKET.clear.replace("_", "%5F"),
        TICKET.clear[:9] + "\u20ac" + TICKET.clear[10:], TICKET.clear[:9] + "+" + TICKET.clear[10:],
    ],
)  # fmt: skip
def test_no_other_spelling_and_no_rubbish(text):
    assert not TICKETS.may_open(text, NOW)


@given(st.text())
def test_whatever_is_sent(text):
    assert not TICKETS.may_open(text, NOW)
    assert not TICKETS.may_open(PREFIX + text, NOW)
    assert tickets.unsealed(text, TICKET) is None


@pytest.mark.attack("S-02")
def test_what_a_store_has_opens_nothing_without_the_ticket():
    kept = tickets.sealed(TOKEN, TICKET)
    assert tickets.unsealed(kept, TICKET) == Secret(TOKEN)
    assert tickets.unsealed(kept, TICKETS.new(RANDOM, NOW + 31)) is None
    assert TOKEN not in kept and "eyJ" not in kept
    assert tickets.sealed(TOKEN, TICKET) != kept
    assert tickets.name(TICKET) == hashlib.sha256(TICKET.clear.encode()).digest()

"""What a guard may be told about asking its issuer; everything else fails in the constructor."""

from __future__ import annotations

from typing import Any

import pytest

from watchword import Guard
from watchword.errors import ConfigError
from watchword.guard.contact import Contact, contact_with, loopback
from watchword.seams import Tail

ISSUER = "https://login.example.com"
CLIENT = {"client_id": "orders", "client_secret": "gs_secret"}


class Feed:
    async def tail(self, after: int, epoch: int) -> Tail:
        return Tail(1, 0, ())


async def good(text: str, token: Any) -> bool:
    return True


def contact(issuer: str = ISSUER, **told: Any) -> Contact:
    usual = {
        "revocations": "auto", "introspection": False, "client_id": "", "client_secret": "",
        "has_metadata": True, "max_stale": 2.0,
    }  # fmt: skip
    return contact_with(issuer, **{**usual, **told})


@pytest.mark.parametrize(
    ("told", "wanted", "required", "inquires"),
    [
        ({}, False, False, False),
        (CLIENT, True, False, False),
        ({**CLIENT, "has_metadata": False}, False, False, False),
        ({**CLIENT, "revocations": "required"}, True, True, False),
        ({**CLIENT, "revocations": "required", "has_metadata": False}, True, True, False),
        ({**CLIENT, "revocations": "off"}, False, False, False),
        ({**CLIENT, "introspection": True}, True, False, True),
        ({**CLIENT, "revocations": "off", "introspection": True}, False, False, True),
        ({"revocations": Feed()}, False, False, False),
        ({"introspection": good}, False, False, False),
    ],
)
def test_what_is_looked_for(told, wanted, required, inquires) -> None:
    made = contact(**told)
    assert (made.wants_log, made.requires_log) == (wanted, required)
    assert (made.inquiry is not None) is inquires is made.looks_for_introspection
    assert made.needs_metadata is (wanted or inquires)
    assert len(made.lines) == (made.line is not None) + inquires


def test_an_endpoint_that_is_given_is_not_looked_for() -> None:
    made = contact(**CLIENT, revocations="off", introspection=f"{ISSUER}/introspect")
    assert made.introspection_url == f"{ISSUER}/introspect"
    assert made.tells_claims and not made.needs_metadata
    assert contact(introspection=good).ask is good
    assert not contact(introspection=good).tells_claims


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"revocations": "required"}, "needs a client"),
        ({"introspection": True}, "needs a client"),
        ({"introspection": f"{ISSUER}/introspect"}, "needs a client"),
        ({"client_id": "orders"}, "belong together"),
        ({"client_secret": "gs_x"}, "belong together"),
        ({"revocations": "on"}, "no revocations='on'"),
        ({**CLIENT, "introspection": "http://login.example.com/introspect"}, "without TLS"),
        ({"max_stale": 0}, "out of range"),
        ({"max_stale": 0.01}, "out of range"),
        ({"max_stale": float("nan")}, "out of range"),
        ({"max_stale": float("inf")}, "out of range"),
    ],
)
def test_what_cannot_be_is_said_where_it_is_written(told, said) -> None:
    with pytest.raises(ConfigError, match=said):
        Guard(issuer=ISSUER, audience="api", **told)


def test_no_secret_goes_over_an_open_network() -> None:
    for issuer in ("http://login.example.com", "http://10.0.0.5:8000", "ftp://localhost"):
        with pytest.raises(ConfigError, match="without TLS") as told:
            contact(issuer, **CLIENT)
        assert "gs_secret" not in str(told.value)
        contact(issuer)  # without one there is nothing to lose
    for issuer in ("http://localhost:8000", "http://127.0.0.1", "http://[::1]:8000/x"):
        assert contact(issuer, **CLIENT).wants_log


@pytest.mark.attack("S-06")
def test_a_secret_is_shown_nowhere() -> None:
    made = contact(**CLIENT, introspection=True)
    assert "gs_secret" not in f"{made!r}{vars(made.line)}"


def test_this_machine_by_its_names() -> None:
    assert (
        loopback("http://localhost:1/x")
        and loopback("http://127.8.8.8")
        and loopback("http://[::1]")
    )
    assert not any(
        loopback(f"http://{host}") for host in ("localhost.evil.example", "10.0.0.1", "")
    )

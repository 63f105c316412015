"""What a route says of freshness, and what it may not say."""

from __future__ import annotations

import math

import pytest

from watchword.errors import ConfigError, InvalidRequest
from watchword.guard.freshness import (
    AS_USUAL,
    Asked,
    Freshness,
    declared,
    position_in,
)


def headers(*values: bytes) -> dict[str, object]:
    return {"headers": [(b"accept", b"*/*"), *((b"auth-min-seq", value) for value in values)]}


def test_what_says_nothing_is_nothing() -> None:
    assert declared(None, None, None, "introspect") is None


@pytest.mark.parametrize(
    ("given", "meant", "said"),
    [
        ((0, None, None), Freshness(0), "max_stale=0"),
        ((0.5, None, None), Freshness(0.5), "max_stale=0.5"),
        ((None, "closed", None), Freshness(), ""),
        ((None, "introspect", None), Freshness(None, "introspect"), "when_stale=introspect"),
        ((1, "open", 60), Freshness(1, "open", 60), "max_stale=1, when_stale=open for 60 s"),
    ],
)
def test_what_is_said(given, meant, said) -> None:
    found = declared(*given, "closed")
    assert found == meant and str(found) == said


def test_what_a_route_leaves_out_is_as_the_guard_does() -> None:
    assert declared(0, None, None, "introspect") == Freshness(0, "introspect")


@pytest.mark.parametrize(
    "given",
    [
        (-1, None, None), (math.nan, None, None), (math.inf, None, None), (None, "shut", None),
        (None, "open", None), (None, "open", 0), (None, "open", -1), (None, "open", math.inf),
        (None, "open", math.nan), (None, None, 60), (None, "closed", 60), (0, "introspect", 1),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_where_it_is_said(given) -> None:
    with pytest.raises(ConfigError):
        declared(*given, "closed")


def test_what_is_asked_of_one_decision() -> None:
    assert Freshness(None, "open", 60).asked(None) is AS_USUAL
    assert Freshness(0).asked((1, 2)) == Asked(0, (1, 2))
    assert Freshness(0, "open", 60).while_in_use == Freshness(None, "open", 60)


@pytest.mark.parametrize(
    ("value", "position"),
    [(b"1.42", (1, 42)), (b"0.0", (0, 0)), (b"9" * 18 + b".1", (10**18 - 1, 1))],
)
def test_a_position_is_read(value, position) -> None:
    assert position_in(headers(value)) == position


def test_most_requests_name_none() -> None:
    assert position_in(headers()) is None


@pytest.mark.parametrize(
    "values",
    [
        (b"",), (b"1",), (b"1.",), (b".1",), (b"1.2.3",), (b"-1.2",), (b"1.2 ",), (b"a.b",),
        (b"1,2",), ("\u0661.2".encode(),), (b"9" * 19 + b".1",), (b"1.2", b"1.2"), (b"x", b"1.2"),
    ],
)  # fmt: skip
def test_what_is_no_position_is_said_so(values) -> None:
    with pytest.raises(InvalidRequest, match="Auth-Min-Seq"):
        position_in(headers(*values))

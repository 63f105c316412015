"""The rule of limits: exact bursts, exact rates, no window edges, a clock that may jump."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.rules.rates import UNLIMITED, Limit, gcra, ticks

NOW = 1_764_000_000.0
FIVE = Limit(5, 60.0)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("5 + 1/min", Limit(5, 60.0)),
        ("20 + 1/s", Limit(20, 1.0)),
        ("20 + 20/h", Limit(20, 180.0)),
        ("1+3/d", Limit(1, 28_800.0)),
        (" 100 + 1000 / s ", Limit(100, 0.001)),
    ],
)
def test_a_limit_is_read(text, limit):
    assert Limit.parse(text) == limit
    assert not limit.off


def test_off_is_no_limit():
    limit = Limit.parse("off")
    assert limit.off
    assert gcra(None, NOW, limit) == (None, UNLIMITED)
    assert gcra(NOW + 1e6, NOW, limit) == (None, UNLIMITED)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5/min",
        "5 + 1",
        "5 + 1/m",
        "0 + 1/s",
        "5 + 0/s",
        "-5 + 1/s",
        "5 + 1/s!",
        "٥ + 1/s",
        "OFF",
    ],
)
def test_what_is_not_a_limit_is_told_the_form(text):
    with pytest.raises(ValueError, match="BURST"):
        Limit.parse(text)


@pytest.mark.parametrize(
    ("burst", "interval"),
    [(-1, 1.0), (1, 0.0), (1, -1.0), (1, math.inf), (1, math.nan), (1_000_000, 60.0)],
)
def test_a_limit_that_cannot_be_kept_is_refused(burst, interval):
    with pytest.raises(ValueError, match="a limit"):
        Limit(burst, interval)


def test_a_burst_then_one_by_one():
    tat = None
    for left in (4, 3, 2, 1, 0):
        tat, taken = gcra(tat, NOW, FIVE)
        assert (taken.allowed, taken.remaining, taken.retry_after) == (True, left, 0.0)
    assert taken.reset == 300.0
    kept, refused = gcra(tat, NOW + 1, FIVE)
    assert kept is None
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert (refused.retry_after, refused.reset) == (59.0, 299.0)
    assert not gcra(tat, NOW + 59.999, FIVE)[1].allowed
    tat, taken = gcra(tat, NOW + 60, FIVE)
    assert taken.allowed
    assert not gcra(tat, NOW + 60, FIVE)[1].allowed


def test_a_third_of_a_second_does_not_cost_a_unit():
    limit, tat, given = Limit.parse("3 + 3/s"), None, 0
    for _ in range(9):
        kept, taken = gcra(tat, NOW + 0.1, limit)
        tat, given = tat if kept is None else kept, given + taken.allowed
    assert given == 3


@pytest.mark.attack("Z-16")
def test_a_clock_that_went_back_locks_nobody_out():
    tat = None
    for _ in range(5):
        tat, _ = gcra(tat, NOW, FIVE)
    back = NOW - 3600
    tat, taken = gcra(tat, back, FIVE)
    assert not taken.allowed
    assert taken.retry_after == 60.0, "empty, as it would be without the jump"
    assert tat == back + 300
    assert gcra(tat, back + 60, FIVE)[1].allowed


limits = st.builds(
    Limit, st.integers(1, 8), st.one_of(st.integers(1, 5).map(float), st.floats(0.001, 5.0))
)
waits = st.lists(st.integers(0, 3_000_000), min_size=1, max_size=60)


@pytest.mark.attack("L-11")
@given(limits, waits)
def test_no_window_of_any_length_or_place_holds_more_than_it_may(limit, waits):
    assert limit.step >= limit.interval * 1_000_000
    tat, at, given = None, ticks(NOW), []
    for wait in waits:
        at += wait
        kept, taken = gcra(tat, at / 1_000_000, limit)
        if taken.allowed:
            tat = kept
            given.append(at)
    assert given, "the first is always allowed"
    for first, start in enumerate(given):
        for last in range(first, len(given)):
            assert last - first + 1 <= limit.burst + (given[last] - start) // limit.step


@given(limits, waits)
def test_who_waits_as_told_is_let_in_and_not_before(limit, waits):
    tat, at = None, ticks(NOW)
    for wait in waits:
        at += wait
        kept, taken = gcra(tat, at / 1_000_000, limit)
        if taken.allowed:
            tat = kept
            continue
        assert kept is None
        then = at + ticks(taken.retry_after)
        assert gcra(tat, then / 1_000_000, limit)[1].allowed
        assert not gcra(tat, (then - 1) / 1_000_000, limit)[1].allowed


@given(st.integers(0, 4_200_000_000_000_000))
def test_microseconds_survive_being_a_float_of_seconds(at):
    assert ticks(at / 1_000_000) == at

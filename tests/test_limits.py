"""Who is counted, where, and what happens when counting fails."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waitless import inline

from watchword.errors import TooManyRequests
from watchword.limits import Fallback, Limit, Limits, ProcessCounters, Taken, gcra
from watchword.rules.rates import UNLIMITED

NOW = 1_764_000_000.0
TWO = Limit(2, 60.0)
OFF = Limit.parse("off")


class Recorder(ProcessCounters):
    """Real counters that remember what they were asked, and fail when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.fault: Exception | None = None

    def take_one(self, key: str, limit: Limit, now: float) -> Taken:
        self.asked.append(key)
        if self.fault:
            raise self.fault
        return super().take_one(key, limit, now)

    def reset_one(self, key: str) -> None:
        if self.fault:
            raise self.fault
        super().reset_one(key)


def spend(limits: Limits, now: float, *keys: tuple[str, str]) -> Taken:
    return inline(limits.spend(now, *keys))


def take(counters: Fallback, key: str, limit: Limit, now: float) -> Taken:
    return inline(counters.take([(key, limit)], now))[0]


class TestProcessCounters:
    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-90, 90)), max_size=60))
    def test_it_says_what_the_rule_says(self, steps):
        counters, tats, now = ProcessCounters(), {}, NOW
        for key, wait in steps:
            now += wait
            tat, taken = gcra(tats.get(key), now, TWO)
            if tat is not None:
                tats[key] = tat
            assert counters.take_one(key, TWO, now) == taken

    def test_reset_fills_up(self):
        counters = ProcessCounters()
        first = counters.take_one("a", TWO, NOW)
        counters.take_one("a", TWO, NOW)
        assert not counters.take_one("a", TWO, NOW).allowed
        counters.reset_one("a")
        counters.reset_one("never seen")
        assert counters.take_one("a", TWO, NOW) == first

    def test_no_limit_leaves_no_trace(self):
        counters = ProcessCounters()
        assert counters.take_one("a", OFF, NOW) == UNLIMITED
        assert len(counters) == 0

    def test_full_buckets_make_room_first(self):
        counters = ProcessCounters(most=4)
        for _ in range(2):
            counters.take_one("live", TWO, NOW)
        for key in "abc":
            counters.take_one(key, Limit(1, 1.0), NOW)
        counters.take_one("d", TWO, NOW + 30)
        assert len(counters) == 2
        assert not counters.take_one("live", TWO, NOW + 30).allowed

    def test_then_the_one_asked_longest_ago(self):
        counters = ProcessCounters(most=4)
        one = Limit(1, 3600.0)
        for key in "abcd":
            counters.take_one(key, one, NOW)
        assert not counters.take_one("a", one, NOW).allowed, "which also makes it recent"
        counters.take_one("e", one, NOW)
        assert len(counters) == 4
        assert not counters.take_one("a", one, NOW).allowed
        assert counters.take_one("b", one, NOW).allowed, "it was the oldest, and made room"


class TestSpend:
    def limits(self, **policies: Limit) -> tuple[Limits, Recorder]:
        counters = Recorder()
        return Limits(counters, policies), counters

    def test_all_are_charged_until_one_refuses(self):
        limits, counters = self.limits(a=Limit(9, 60.0), b=TWO, c=Limit(9, 60.0))
        keys = [("a", "x"), ("b", "x"), ("c", "x")]
        for _ in range(2):
            spend(limits, NOW, *keys)
        assert len(counters.asked) == 6
        with pytest.raises(TooManyRequests) as refused:
            spend(limits, NOW, *keys)
        assert len(counters.asked) == 8
        assert refused.value.limit == 2
        assert refused.value.retry_after == 60.0
        assert refused.value.reset == 120.0
        assert refused.value.why == "Too many requests; try again in 60 s."

    def test_the_tightest_is_returned(self):
        limits, _ = self.limits(a=Limit(9, 60.0), b=TWO, slow=Limit(2, 3600.0), off=OFF)
        taken = spend(limits, NOW, ("a", "x"), ("b", "x"), ("slow", "x"), ("off", "x"))
        assert taken == Taken(allowed=True, retry_after=0.0, remaining=1, reset=3600.0)
        assert spend(limits, NOW, ("off", "x")) == UNLIMITED
        assert spend(limits, NOW) == UNLIMITED

    def test_values_and_policies_do_not_share(self):
        limits, _ = self.limits(a=Limit(1, 60.0), b=Limit(1, 60.0))
        spend(limits, NOW, ("a", "x"), ("b", "x"), ("a", "y"))
        with pytest.raises(TooManyRequests):
            spend(limits, NOW, ("a", "x"))

    def test_an_unknown_policy_is_a_fault_and_never_unlimited(self):
        limits, counters = self.limits(a=TWO)
        with pytest.raises(KeyError):
            spend(limits, NOW, ("a", "x"), ("tpyo", "x"))
        assert counters.asked == []

    def test_who_does_not_wait_is_answered_from_a_note(self):
        limits, counters = self.limits(a=TWO, wide=Limit(99, 1.0))
        for _ in range(2):
            spend(limits, NOW, ("a", "x"))
        with pytest.raises(TooManyRequests):
            spend(limits, NOW, ("a", "x"))
        asked = len(counters.asked)
        for second in range(60):
            with pytest.raises(TooManyRequests) as refused:
                spend(limits, NOW + second, ("wide", "ip"), ("a", "x"))
            assert refused.value.retry_after == 60 - second
            assert refused.value.reset == 120 - second
        assert len(counters.asked) == asked
        assert spend(limits, NOW + 60, ("a", "x")).allowed

    def test_notes_are_bounded(self):
        limits, _ = self.limits(a=Limit(1, 60.0))
        for name in map(str, range(10_100)):
            spend(limits, NOW, ("a", name))
            with pytest.raises(TooManyRequests):
                spend(limits, NOW, ("a", name))
        assert len(limits._refused) == 10_000
        with pytest.raises(TooManyRequests):
            spend(limits, NOW, ("a", "0"))

    @pytest.mark.attack("Z-16")
    def test_a_note_from_the_future_means_nothing(self):
        limits, _ = self.limits(a=Limit(1, 60.0))
        spend(limits, NOW, ("a", "x"))
        with pytest.raises(TooManyRequests):
            spend(limits, NOW, ("a", "x"))
        back = NOW - 86_400
        with pytest.raises(TooManyRequests) as refused:
            spend(limits, back, ("a", "x"))
        assert refused.value.retry_after == 60.0
        assert spend(limits, back + 60, ("a", "x")).allowed

    def test_success_forgives(self):
        limits, _ = self.limits(a=TWO, b=TWO)
        for _ in range(2):
            spend(limits, NOW, ("a", "x"), ("b", "x"))
        with pytest.raises(TooManyRequests):
            spend(limits, NOW, ("a", "x"))
        inline(limits.forgive(("a", "x")))
        assert spend(limits, NOW, ("a", "x")).remaining == 1
        with pytest.raises(TooManyRequests):
            spend(limits, NOW, ("b", "x"))

    def test_nothing_is_asked_for_limits_that_are_off(self):
        limits, counters = self.limits(off=OFF)
        spend(limits, NOW, ("off", "x"))
        counters.fault = OSError()  # or a reset would raise it
        inline(limits.forgive(("off", "x")))
        assert counters.asked == []
        with pytest.raises(KeyError):
            inline(limits.forgive(("unknown", "x")))

    @pytest.mark.attack("S-10")
    @pytest.mark.parametrize("value", ["johndoe", "a:b\nc*", "x" * 10_240, "\udcff", "", "ключ\0"])
    def test_no_name_is_stored(self, value):
        limits, counters = self.limits(a=TWO)
        spend(limits, NOW, ("a", value))
        (key,) = counters.asked
        assert len(key) == 34
        assert key.startswith("a:")
        assert not value or value not in key
        assert key.isascii()
        assert key.isprintable()

    @pytest.mark.attack("S-10")
    def test_the_secret_keys_the_names(self):
        def key(secret: bytes) -> str:
            counters = Recorder()
            spend(Limits(counters, {"a": TWO}, secret=secret), NOW, ("a", "johndoe"))
            return counters.asked[0]

        assert key(b"s" * 100) == key(b"s" * 100)
        assert len({key(b""), key(b"s"), key(b"s" * 100)}) == 3


class TestFallback:
    def test_while_the_primary_works_it_is_all_there_is(self):
        counters = Fallback(ProcessCounters(), (OSError,))
        assert take(counters, "a", TWO, NOW).remaining == 1
        assert take(counters, "a", TWO, NOW).allowed
        assert not take(counters, "a", TWO, NOW).allowed
        inline(counters.reset(["a"]))
        assert take(counters, "a", TWO, NOW).allowed

    def test_a_fault_is_met_at_half_the_budget(self, caplog):
        primary = Recorder()
        counters = Fallback(primary, (OSError,))
        primary.fault = OSError("no space left")
        allowed = [take(counters, "a", Limit(7, 60.0), NOW).allowed for _ in range(20)]
        assert sum(allowed) == 3
        assert [take(counters, "b", Limit(1, 60.0), NOW).allowed for _ in range(3)] == [
            True,
            False,
            False,
        ]
        assert take(counters, "b", OFF, NOW) == UNLIMITED
        inline(counters.reset(["b"]))
        assert take(counters, "b", Limit(1, 60.0), NOW).allowed
        assert len(primary.asked) == 1, "it is left alone for a while"

    def test_it_recovers_by_itself(self, caplog):
        primary = Recorder()
        counters = Fallback(primary, (OSError,))
        primary.fault = OSError()
        take(counters, "a", TWO, NOW)
        primary.fault = None
        assert not take(counters, "a", TWO, NOW + 4.9).allowed
        assert take(counters, "a", TWO, NOW + 5).remaining == 1
        primary.fault = OSError()
        inline(counters.reset(["a"]))

    async def test_one_attempt_goes_and_looks_whether_it_works_again(self, caplog):
        class Stuck(ProcessCounters):
            async def take(self, asks, now):
                started.append(asks)
                await release.wait()
                raise OSError

        started, release = [], asyncio.Event()
        counters = Fallback(Stuck(), (OSError,))

        def attempt(name: str, now: float) -> asyncio.Task:
            return asyncio.create_task(counters.take([(name, TWO)], now))

        first = attempt("a", NOW)
        await asyncio.sleep(0)
        release.set()
        assert (await first)[0].remaining == 0, "one of two, halved"
        release.clear()
        looking, other = attempt("b", NOW + 5), attempt("c", NOW + 5)
        assert (await other)[0].allowed, "it was answered here, and waited for nobody"
        assert [asks[0][0] for asks in started] == ["a", "b"]
        release.set()
        assert (await looking)[0].allowed

    def test_a_clock_that_went_back_does_not_keep_it_away(self, caplog):
        primary = Recorder()
        counters = Fallback(primary, (OSError,))
        primary.fault = OSError()
        take(counters, "a", TWO, NOW)
        primary.fault = None
        assert take(counters, "a", TWO, NOW - 3600).remaining == 1

    def test_it_complains_once_a_minute(self, caplog):
        primary = Recorder()
        primary.fault = OSError("no space left")
        counters = Fallback(primary, (OSError,))
        with caplog.at_level(logging.WARNING, "watchword.limits"):
            for second in range(120):
                take(counters, "johndoe", TWO, NOW + second)
        assert len(caplog.records) == 2
        assert "OSError: no space left" in caplog.text
        assert "johndoe" not in caplog.text

    def test_other_exceptions_are_not_swallowed(self):
        primary = Recorder()
        primary.fault = ValueError()
        with pytest.raises(ValueError):
            take(Fallback(primary, (OSError,)), "a", TWO, NOW)

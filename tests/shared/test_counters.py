"""Counters in Redis: the same answers as the rule, from a real server."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vk import Cluster, closing

from watchword.limits import Limits
from watchword.rules.rates import UNLIMITED, Limit, gcra
from watchword.shared import Fault, RedisCounters, Shared

TWO = Limit(2, 60.0)
OFF = Limit.parse("off")
KEY = "watchword:limit:"


@pytest.fixture
def counters(valkey, connect) -> RedisCounters:
    return RedisCounters(connect(valkey.url))


async def test_a_burst_then_none(counters):
    first, second, third = [(await counters.take([("a", TWO)], 0.0))[0] for _ in range(3)]
    assert (first.allowed, first.remaining, first.retry_after) == (True, 1, 0.0)
    assert first.reset == 60.0
    assert (second.allowed, second.remaining) == (True, 0)
    assert 119.0 < second.reset <= 120.0
    assert (third.allowed, third.remaining) == (False, 0)
    assert 59.0 < third.retry_after <= 60.0
    assert 119.0 < third.reset <= 120.0
    await counters.reset(["a", "never seen"])
    assert (await counters.take([("a", TWO)], 0.0))[0].remaining == 1


async def test_an_attempt_asks_in_order_until_one_refuses(counters, valkey):
    three = Limit(3, 60.0)
    asks = [("a", TWO), ("off", OFF), ("b", Limit(1, 60.0)), ("c", three)]
    assert [taken.remaining for taken in await counters.take(asks, 0.0)] == [
        1, UNLIMITED.remaining, 0, 2,
    ]  # fmt: skip
    again = await counters.take(asks, 0.0)
    assert [taken.allowed for taken in again] == [True, True, False]
    assert valkey.do("EXISTS", KEY + "off") == 0
    assert (await counters.take([("c", three)], 0.0))[0].remaining == 1, "it was not asked again"
    assert await counters.take([("off", OFF)], 0.0) == [UNLIMITED]
    assert await counters.take([], 0.0) == []


async def test_an_attempt_is_one_round_trip(valkey, connect):
    """The server says how many commands it was sent."""
    counters = RedisCounters(connect(valkey.url))
    asks = [(name, Limit(9, 60.0)) for name in "abc"]
    await counters.take(asks, 0.0)  # which also teaches it the script
    valkey.do("CONFIG", "RESETSTAT")
    await counters.take(asks, 0.0)
    stats = valkey.do("INFO", "commandstats")
    assert "cmdstat_evalsha:calls=1," in stats
    assert "cmdstat_eval:" not in stats


@pytest.mark.attack("S-10")
async def test_keys_are_of_one_prefix_and_tell_no_name(counters, valkey):
    limits = Limits(counters, {"login": TWO, "token": TWO}, secret=b"s")
    await limits.spend(0.0, ("login", "johndoe:*\n"), ("token", "203.0.113.7"))
    keys = valkey.do("KEYS", "*")
    assert len(keys) == 2
    assert all(key.startswith(KEY) and key.isascii() and key.isprintable() for key in keys)
    assert "johndoe" not in str(keys)
    assert "203.0" not in str(keys)


async def test_keys_go_by_themselves(counters, valkey):
    await counters.take([("a", Limit(3, 0.05)), ("b", TWO)], 0.0)
    assert 0 < valkey.do("PTTL", KEY + "a") <= 50
    assert 59_000 < valkey.do("PTTL", KEY + "b") <= 60_000
    await counters.take([("b", TWO)], 0.0)
    before = valkey.do("PTTL", KEY + "b")
    assert 119_000 < before <= 120_000
    await counters.take([("b", TWO)], 0.0)
    assert valkey.do("PTTL", KEY + "b") <= before, "a refusal costs nothing"
    await asyncio.sleep(0.06)
    assert valkey.do("KEYS", "*") == [KEY + "b"]


@pytest.mark.attack("Z-16")
async def test_a_bucket_from_the_future_locks_nobody_out(counters, valkey):
    """As after the server's clock has gone back."""
    valkey.do("SET", KEY + "a", 9 * 10**15)
    (refused,) = await counters.take([("a", TWO)], 0.0)
    assert (refused.allowed, refused.reset, refused.retry_after) == (False, 120.0, 60.0)
    assert 119_000 < valkey.do("PTTL", KEY + "a") <= 120_000


async def test_the_script_and_the_rule_agree(valkey):
    """Real time passes between any two steps, so the script's own `now` is what the rule is
    asked with; time passes for a bucket by moving what is remembered of it."""
    from watchword.shared import counters as module

    asked: list[tuple[list[str], list[int], list]] = []

    async def recorded(client, keys, *sums):
        answer = await module_take(client, keys, *sums)
        asked.append((keys, list(sums), answer))
        return answer

    limits = st.one_of(
        st.builds(Limit, st.integers(1, 4), st.floats(0.01, 100.0)),
        st.builds(Limit, st.integers(1, 3), st.floats(1e-6, 1e-3)),
        st.builds(Limit, st.integers(1, 3), st.just(86_400.0 * 100)),
    )
    steps = st.lists(
        st.tuples(st.sets(st.sampled_from("abc"), min_size=1), st.integers(-9, 30), st.booleans()),
        max_size=12,
    )
    loop, turns = asyncio.get_running_loop(), iter(range(1_000_000))

    async def agree(limit: Limit, other: Limit, steps) -> None:
        shared = Shared(valkey.url, timeout=5.0)
        counters, tats, turn = RedisCounters(shared), {}, next(turns)
        try:
            for names, tenths, resetting in steps:
                asks = [
                    (f"{turn}{name}", other if name == "b" else limit) for name in sorted(names)
                ]
                if resetting:
                    await counters.reset([key for key, _ in asks])
                    for key, _ in asks:
                        tats.pop(key, None)
                for key, tat in [*tats.items()]:
                    moved = tats[key] = tat - tenths * limit.step // 10
                    valkey.do("SET", KEY + key, moved, "KEEPTTL")
                outcomes = await counters.take(asks, 0.0)
                now, *answers = asked.pop()[2]
                for (key, its), taken, (_, tat) in zip(asks, outcomes, answers, strict=False):
                    held, expected = gcra(tats[key] / 1e6 if key in tats else None, now / 1e6, its)
                    assert taken == expected
                    if held is not None:
                        tats[key] = round(held * 1e6)
                        assert tats[key] == tat == int(valkey.do("GET", KEY + key) or tat)
                assert len(outcomes) == len(asks) or not outcomes[-1].allowed
        finally:
            await shared.aclose()

    module_take = module._TAKE
    module._TAKE = recorded
    try:

        @settings(deadline=None, max_examples=60)
        @given(limits, limits, steps)
        def example(limit, other, steps):
            asyncio.run_coroutine_threadsafe(agree(limit, other, steps), loop).result()

        await asyncio.to_thread(example)
    finally:
        module._TAKE = module_take


@pytest.mark.attack("L-12")
async def test_many_at_once_get_what_there_is(counters):
    limit = Limit(7, 3600.0)
    outcomes = await asyncio.gather(*(counters.take([("a", limit)], 0.0) for _ in range(200)))
    assert sum(taken.allowed for (taken,) in outcomes) == 7


class TestFaults:
    """Whatever it says instead of an answer, it is a Fault and nothing else."""

    async def refuses(self, counters, asks=(("a", TWO),)) -> str:
        with pytest.raises(Fault) as fault:
            await counters.take(list(asks), 0.0)
        return str(fault.value)

    async def test_a_key_of_another_type(self, counters, valkey):
        valkey.do("RPUSH", KEY + "a", "x")
        assert "WRONGTYPE" in await self.refuses(counters)

    async def test_a_value_that_is_no_number(self, counters, valkey):
        valkey.do("SET", KEY + "a", "x")
        await self.refuses(counters)

    @pytest.mark.attack("Z-13")
    async def test_its_memory_is_full(self, counters, valkey):
        valkey.do("CONFIG", "SET", "maxmemory", 1)
        try:
            assert "OutOfMemory" in await self.refuses(counters)
        finally:
            valkey.do("CONFIG", "SET", "maxmemory", 0)

    @pytest.mark.attack("Z-14")
    async def test_it_has_become_a_replica(self, counters, valkey):
        assert (await counters.take([("a", TWO)], 0.0))[0].allowed
        valkey.do("REPLICAOF", "127.0.0.1", 1)
        try:
            assert "ReadOnly" in await self.refuses(counters)
        finally:
            valkey.do("REPLICAOF", "NO", "ONE")

    async def test_it_is_a_cluster_and_was_not_said_to_be(self, connect):
        cluster = Cluster()
        with closing(*cluster.nodes):
            url = f"redis://127.0.0.1:{cluster.primaries[0].port}"
            # Three buckets of three slots: at least one is elsewhere.
            told = await self.refuses(
                RedisCounters(connect(url)), [(name, TWO) for name in "abcdefgh"]
            )
            assert "CrossSlot" in told

    async def test_a_bucket_that_it_leaves_out_is_not_taken_for_given(self, counters, monkeypatch):
        from watchword.shared import counters as module

        async def forgetful(client, keys, *sums):
            return [1, *[[1, 2]] * (len(keys) - 1)]

        monkeypatch.setattr(module, "_TAKE", forgetful)
        assert "left a bucket out" in await self.refuses(counters, [("a", TWO), ("b", TWO)])
        counters._shared._rests_until = 0.0
        await self.refuses(counters)


@pytest.mark.attack("L-12")
async def test_a_cluster_takes_each_bucket_where_it_is(connect):
    cluster = Cluster()
    with closing(*cluster.nodes):
        shared = connect(cluster.url)
        counters = RedisCounters(shared)
        asks = [(name, Limit(5, 3600.0)) for name in "abcdefgh"]
        outcomes = await asyncio.gather(*(counters.take(asks, 0.0) for _ in range(12)))
        assert sum(len(one) == 8 and one[-1].allowed for one in outcomes) == 5
        assert sorted({one.do("DBSIZE") for one in cluster.primaries}) != [0, 8]
        assert sum(one.do("DBSIZE") for one in cluster.primaries) == 8
        await counters.reset([name for name, _ in asks])
        assert sum(one.do("DBSIZE") for one in cluster.primaries) == 0
        for one in cluster.primaries:
            one.do("SCRIPT", "FLUSH")
        assert (await counters.take(asks, 0.0))[-1].remaining == 4
        await shared.aclose()

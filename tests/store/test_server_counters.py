"""The counters on a real PostgreSQL say what the rule says."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from watchword.limits import ProcessCounters
from watchword.rules.rates import Limit
from watchword.seams import Unavailable
from watchword.store import schema
from watchword.store.postgres import Postgres
from watchword.store.server_counters import FAULTS, ServerCounters

NOW = 1_800_000_000.0
FIVE = Limit(5, 60)
ANY = Limit(0, 1)


@pytest.fixture
def driver(postgres_url):
    made = Postgres(postgres_url)
    schema.prepare(made, upgrade=False)
    yield made
    made.close()


@pytest.fixture
def counters(driver) -> ServerCounters:
    return ServerCounters(driver)


_steps = some.lists(
    some.tuples(
        some.floats(-90, 90),
        some.lists(
            some.tuples(some.sampled_from("abc"), some.sampled_from([FIVE, Limit(2, 1), ANY])),
            min_size=1,
            max_size=4,
            unique_by=lambda ask: ask[0],
        ),
    ),
    max_size=12,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_steps)
def test_they_agree_with_the_rule(postgres_url, steps):
    schema.prepare(Postgres(postgres_url), upgrade=False)

    async def compared() -> None:
        driver = Postgres(postgres_url)
        mine, rule = ServerCounters(driver), ProcessCounters()
        await mine.reset(["a", "b", "c"])
        now = NOW
        for later, asks in steps:
            now += later
            assert await mine.take(asks, now) == await rule.take(asks, now)
        driver.close()

    asyncio.run(compared())


@pytest.mark.attack("L-02")
async def test_who_come_together_share_one_bucket(counters):
    taken = await asyncio.gather(*(counters.take([("k", FIVE)], NOW) for _ in range(50)))
    assert sum(one[0].allowed for one in taken) == 5


async def test_a_refusal_charges_nothing_behind_it(counters):
    one = Limit(1, 60)
    assert (await counters.take([("wide", one)], NOW))[0].allowed
    for _ in range(3):
        assert [t.allowed for t in await counters.take([("wide", one), ("narrow", one)], NOW)] == [
            False
        ]
    assert (await counters.take([("narrow", one)], NOW))[0].allowed


async def test_full_buckets_are_swept(counters):
    await counters.take([("soon", Limit(1, 1)), ("late", Limit(1, 600))], NOW)
    assert await counters.sweep(NOW + 10) == 1
    assert not (await counters.take([("late", Limit(1, 600))], NOW + 10))[0].allowed


async def test_a_server_that_is_gone_is_a_fault(driver, counters):
    assert Unavailable in FAULTS
    gone = ServerCounters(Postgres("postgresql://postgres@127.0.0.1:9/nothing"))
    with pytest.raises(FAULTS):
        await gone.take([("k", FIVE)], NOW)


async def test_forgiving_locks_in_the_order_of_an_attempt(counters, postgres_url):
    await counters.take([("second", FIVE), ("first", FIVE)], NOW)
    attempt = await psycopg.AsyncConnection.connect(postgres_url)
    async with attempt:
        await attempt.execute("SELECT 1 FROM watchword_limits WHERE k = 'first' FOR UPDATE")
        forgiving = asyncio.create_task(counters.reset(["first", "second"]))
        await asyncio.sleep(0.3)
        await attempt.execute("SET lock_timeout = '500ms'")
        await attempt.execute("SELECT 1 FROM watchword_limits WHERE k = 'second' FOR UPDATE")
        assert not forgiving.done()
    await forgiving


async def test_sweeping_waits_for_no_attempt(counters, postgres_url):
    await counters.take([("held", FIVE), ("other", FIVE)], NOW)
    attempt = await psycopg.AsyncConnection.connect(postgres_url)
    async with attempt:
        await attempt.execute("SELECT 1 FROM watchword_limits WHERE k = 'held' FOR UPDATE")
        async with asyncio.timeout(3):
            assert await counters.sweep(NOW + 3600) == 1
    assert await counters.sweep(NOW + 3600) == 1

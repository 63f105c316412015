"""Identifiers that may be used once: one winner, and never yes by default."""

from __future__ import annotations

import asyncio
import os

import pytest
from vk import Valkey, Wire, closing

from watchword.seams import Unavailable
from watchword.shared import RedisSeenIds, Shared
from watchword.shared.link import _REST
from watchword.store import schema
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

NOW = 1_764_000_000.0


class Now:
    time = NOW

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def store(tmp_path):
    made = SqlStore(Sqlite(tmp_path / "w.db"), token_life=600.0)
    schema.prepare(made.driver, upgrade=False)
    yield made
    made.driver.close()


def stored(store: SqlStore) -> int:
    return store.driver.connection.execute("SELECT count(*) FROM watchword_once").fetchone()[0]


def seen(shared: Shared, store: SqlStore, now: Now | None = None) -> RedisSeenIds:
    return RedisSeenIds(shared, store, now or Now(), os.urandom)


@pytest.mark.attack("Z-15")
async def test_of_many_in_many_processes_one_is_first(valkey, connect, store):
    nodes = [seen(connect(valkey.url), store) for _ in range(4)]
    for name in ("a", "b", "\udcff:*\n", "x" * 10_000):
        shown = await asyncio.gather(*(it.first_time("p", name, NOW + 9) for it in nodes * 5))
        assert shown.count(True) == 1
    assert await nodes[0].first_time("q", "a", NOW + 9), "another kind"
    assert stored(store) == 0
    keys = valkey.do("KEYS", "*")
    assert len(keys) == 5
    assert all(key.startswith("watchword:seen:") and len(key) < 100 for key in keys)
    assert all(key.isascii() and key.isprintable() for key in keys)


async def test_it_is_kept_until_its_age_refuses_it(valkey, connect, store):
    ids = seen(connect(valkey.url), store)
    assert await ids.first_time("p", "a", NOW + 60)
    assert await ids.first_time("p", "old", NOW - 60)
    assert not await ids.first_time("p", "old", NOW - 60), "a moment longer than that"
    lives = sorted(valkey.do("PTTL", key) for key in valkey.do("KEYS", "*"))
    assert 0 < lives[0] <= 1000
    assert 60_000 < lives[1] <= 61_000


async def test_a_lost_answer_does_not_make_a_second_use(valkey, connect, store):
    """The client asks again at once when its connection breaks; it was first nonetheless."""
    async with Wire(valkey.port) as wire:
        shared = connect(wire.url)
        ids = seen(shared, store)
        assert await ids.first_time("p", "before", NOW + 60)
        wire.silent_back = True
        asking = asyncio.create_task(ids.first_time("p", "a", NOW + 60))
        while "watchword:seen:p" not in str(valkey.do("KEYS", "*ca978*")):
            await asyncio.sleep(0.005)
        wire.silent_back = False
        await wire.cut()
        assert await asking
        assert stored(store) == 0
        assert not await ids.first_time("p", "a", NOW + 60)


@pytest.mark.attack("Z-11")
async def test_without_redis_the_database_decides(connect, store):
    server = Valkey()
    with closing(server):
        now = Now()
        one, two = (seen(connect(server.url), store, now) for _ in range(2))
        assert await one.first_time("p", "a", NOW + 60)
        server.kill()
        shown = await asyncio.gather(*(it.first_time("p", "b", NOW + 60) for it in (one, two) * 8))
        assert shown.count(True) == 1
        assert stored(store) == 1
        server.start()
        await asyncio.sleep(_REST + 0.05)
        # Redis has never seen it, but both know that something happened meanwhile.
        for ids in (one, two):
            assert not await ids.first_time("p", "b", NOW + 60)
            assert await ids.first_time("p", f"new{id(ids)}", NOW + 60)
        rows = stored(store)
        now.time = NOW + 62
        assert await one.first_time("p", "c", NOW + 90)
        assert stored(store) == rows, "nothing of that time can come back any more"


@pytest.mark.attack("Z-11")
async def test_without_either_nobody_says_yes(connect, store):
    server = Valkey()
    with closing(server):
        server.kill()
        store.driver.connection.execute("DROP TABLE watchword_once")
        with pytest.raises(Unavailable):
            await seen(connect(server.url), store).first_time("p", "a", NOW + 60)


@pytest.mark.attack("Z-13")
async def test_what_redis_forgets_the_database_does_not(valkey, connect, store):
    """The bound, as it is documented: for what must not come back, there is the database."""
    ids = seen(connect(valkey.url), store)
    assert await ids.first_time("p", "a", NOW + 60)
    valkey.do("FLUSHALL")
    assert await ids.first_time("p", "a", NOW + 60), "forgotten"
    assert await store.first_time("assertion", "a", NOW + 60)
    valkey.do("FLUSHALL")
    assert not await store.first_time("assertion", "a", NOW + 60)


@pytest.mark.attack("Z-13")
async def test_full_memory_is_no_yes(valkey, connect, store):
    ids = seen(connect(valkey.url), store)
    valkey.do("CONFIG", "SET", "maxmemory", 1)
    try:
        assert await ids.first_time("p", "a", NOW + 60)
        assert not await ids.first_time("p", "a", NOW + 60)
        assert stored(store) == 1
    finally:
        valkey.do("CONFIG", "SET", "maxmemory", 0)

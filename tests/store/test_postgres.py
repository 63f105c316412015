"""The contract on a real PostgreSQL, and what is its own: round trips, faults, sharing."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from cable import Cable
from sqlalchemy import text

from watchword.errors import ConfigError
from watchword.seams import Refused, Rotated, Unavailable
from watchword.store import accounts, grants, schema
from watchword.store.contract import (
    NOW,
    StoreContract,
    a_grant,
    a_user,
    another_grant,
    spend,
    token_of,
)
from watchword.store.postgres import Postgres
from watchword.store.sql import SqlStore
from watchword.store.verbs import HEAD_LOCKED, Take


class TestContract(StoreContract):
    @pytest.fixture
    async def store(self, postgres_url):
        made = SqlStore(Postgres(postgres_url), token_life=600)
        schema.prepare(made.driver, upgrade=False)
        yield made
        made.driver.close()


@pytest.fixture
def cable(postgres):
    with Cable(postgres.port) as made:
        yield made


@pytest.fixture
async def store(postgres, postgres_url, cable):
    """A store behind a cable."""
    schema.prepare(Postgres(postgres_url), upgrade=False)
    name = postgres_url.rsplit("/", 1)[1]
    made = SqlStore(Postgres(postgres.url(name, port=cable.port), patience=1.0), token_life=600)
    yield made
    made.driver.close()


async def trips(cable, work) -> int:
    before = cable.trips
    await work
    return cable.trips - before


async def test_each_transition_is_one_round_trip(postgres, postgres_url):
    schema.prepare(Postgres(postgres_url), upgrade=False)
    name = postgres_url.rsplit("/", 1)[1]
    with Cable(postgres.port) as cable:
        store = SqlStore(Postgres(postgres.url(name, port=cable.port), most=1), token_life=600)
        for needed in (False, True):  # at first, statements are prepared
            new = await a_grant(store)
            other = await another_grant(store, new.user_id, new.client_id)
            fresh = replace(other, id=bytes(15) + bytes([needed]), looked_at=await store.head())
            counted = [
                await trips(cable, work)
                for work in (
                    store.open_grant(fresh, NOW),
                    spend(store, token_of(new)),
                    spend(store, token_of(new, 1)),
                    store.grant(new.id),
                    store.client(new.client_id),
                    store.revoke_grant(new.id, NOW),
                    store.revoke_token(f"jti{needed}", NOW + 600, NOW),
                    store.set_password(new.user_id, "changed", NOW),
                    store.revoke_user(new.user_id, NOW),
                    store.revoke_client(new.client_id, NOW),
                )
            ]
        assert counted == [1] * len(counted)
        store.driver.close()


async def test_revocations_that_come_together_share_transactions(store, cable):
    grants = [await a_grant(store) for _ in range(40)]
    before, head = cable.trips, await store.head()
    ended = await asyncio.gather(*(store.revoke_grant(new.id, NOW) for new in grants))
    assert all(ended)
    assert await store.head() == head + 40
    assert cable.trips - before < 8


async def test_what_is_wrong_with_one_refuses_no_other(store):
    grants = [await a_grant(store) for _ in range(4)]
    verbs = [store.revoke_grant(new.id, NOW) for new in grants]
    broken = store.driver.write(_broken_entry())
    outcomes = await asyncio.gather(*verbs, broken, return_exceptions=True)
    assert outcomes[:4] == [True] * 4
    assert isinstance(outcomes[4], Unavailable)


def _broken_entry():
    yield Take(((HEAD_LOCKED, {}), (text("SELECT 1/0 AS nothing"), {})))


@pytest.mark.attack("Z-06")
async def test_an_entry_that_cannot_be_sent_whole_is_in_the_way_of_no_other(store):
    grants = [await a_grant(store) for _ in range(4)]
    client = await store.client(grants[0].client_id)
    unspeakable = store.add_client(replace(client, id="other", name="nul \0"), NOW)
    verbs = [store.revoke_grant(new.id, NOW) for new in grants[:3]]
    outcomes = await asyncio.gather(*verbs, unspeakable, return_exceptions=True)
    assert outcomes[:3] == [True] * 3
    assert isinstance(outcomes[3], Unavailable)
    assert await store.revoke_grant(grants[3].id, NOW)
    log = await store.tail(0, 1)
    assert [entry.seq for entry in log.entries] == list(range(1, log.seq + 1))


@pytest.mark.quiet
async def test_a_log_that_is_locked_keeps_nobody_waiting_for_the_others(store, postgres_url):
    grants = [await a_grant(store) for _ in range(8)]
    with psycopg.connect(postgres_url) as elsewhere:
        elsewhere.execute("SELECT 1 FROM watchword_rev_head FOR UPDATE")
        began = time.monotonic()
        verbs = [store.revoke_grant(new.id, NOW) for new in grants]
        outcomes = await asyncio.gather(*verbs, return_exceptions=True)
        assert all(isinstance(one, Unavailable) for one in outcomes)
        assert time.monotonic() - began < 4  # seconds; a patience of one
        left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        waiting = elsewhere.execute(f"{left} AND wait_event_type = 'Lock'").fetchone()
        assert waiting == (0,)  # nothing that commits later what was refused


async def test_what_is_committed_is_acknowledged_though_nobody_here_hears_of_it(store):
    async def failing():
        raise RuntimeError("nobody")

    new, other = await a_grant(store), await a_grant(store)
    store.driver.committed = failing
    async with asyncio.timeout(5):
        verbs = store.revoke_grant(new.id, NOW), store.revoke_grant(other.id, NOW)
        assert await asyncio.gather(*verbs) == [True, True]


async def test_a_server_that_came_back_is_spoken_to_again(store, cable):
    new = await a_grant(store)
    cable.cut()
    assert isinstance(await spend(store, token_of(new)), Rotated)


@pytest.mark.attack("Z-06", "Z-08")
async def test_a_server_that_is_gone_is_unavailable_and_nothing_else(store, cable):
    new = await a_grant(store)
    cable.cut(for_good=True)
    for verb in (store.revoke_grant(new.id, NOW), spend(store, token_of(new)), store.head()):
        with pytest.raises(Unavailable):
            await verb
    cable.mend()
    assert await store.revoke_grant(new.id, NOW)


async def test_a_server_that_says_nothing_is_given_up_in_time(store, cable):
    new = await a_grant(store)
    cable.go_dead()
    began = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        await store.grant(new.id)
    assert time.monotonic() - began < 10  # seconds; a patience of one
    cable.cut()
    assert await store.grant(new.id) is not None


async def test_more_work_than_connections_waits_its_turn(store):
    new = await a_grant(store)
    found = await asyncio.gather(*(store.grant(new.id) for _ in range(100)))
    assert all(each.id == new.id for each in found)


@pytest.mark.quiet
async def test_the_log_is_read_however_busy_the_others_are(store):
    def sleeping():
        yield text("SELECT pg_sleep(0.9)"), {}

    busy = [asyncio.create_task(store.driver.read(sleeping())) for _ in range(4)]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await store.tail(0, 1)
    assert time.monotonic() - began < 0.7
    assert not any(task.done() for task in busy)
    await asyncio.gather(*busy)


def test_each_event_loop_has_connections_of_its_own(postgres_url):
    store = SqlStore(Postgres(postgres_url), token_life=600)
    schema.prepare(store.driver, upgrade=False)
    with ThreadPoolExecutor(4) as threads:
        heads = list(threads.map(lambda _: asyncio.run(store.head()), range(8)))
    assert heads == [0] * 8
    asyncio.run(store.head())
    assert len(store.driver._by_loop) == 1  # those of loops that have ended were closed
    store.driver.close()


async def test_an_announcement_is_heard(store):
    heard = asyncio.Event()
    listening = asyncio.create_task(store.driver.listen(heard.set))
    await asyncio.wait_for(heard.wait(), 10)
    heard.clear()
    assert await store.revoke_token("jti", NOW + 600, NOW)
    await asyncio.wait_for(heard.wait(), 10)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


async def test_nothing_heals_a_grant_whose_owner_was_signed_out_meanwhile(store):
    new = await a_grant(store)
    ahead = grants.rotate(token_of(new, 5), NOW, 600, window=30, idle=600, durable=True)

    def alone(take):
        return (yield take)

    step = next(ahead)
    for _ in range(2):  # nothing to rotate; the grant as it was looked at
        step = ahead.send(await store.driver.write(alone(step)))
    assert await store.revoke_user(new.user_id, NOW)
    with pytest.raises(StopIteration) as end:
        ahead.send(await store.driver.write(alone(step)))
    assert isinstance(end.value.value, Refused)


async def test_a_verb_that_raises_leaves_nothing(store):
    user = a_user()

    def added_then_raised():
        yield from accounts.add(user)
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        await store.driver.write(added_then_raised())
    assert await store.user(user.account.sub) is None


@pytest.mark.parametrize(
    ("url", "kept", "pooled"),
    [
        ("postgresql://u@h/d", "postgresql://u@h/d", False),
        ("postgresql://u@h/d?pgbouncer=true&sslmode=require", "postgresql://u@h/d?sslmode=require", True),
        ("postgresql://u@h/d?pgbouncer=false", "postgresql://u@h/d", False),
        ("postgresql:///d?host=/run/pg&pgbouncer=true", "postgresql:///d?host=/run/pg", True),
        ("postgresql://h/d?options=-c%20a.b%3D1", "postgresql://h/d?options=-c%20a.b%3D1", False),
        ("postgresql://u:a#b@h/d?pgbouncer=true", "postgresql://u:a#b@h/d", True),
    ],
)  # fmt: skip
def test_what_is_ours_in_the_url_is_taken_out(url, kept, pooled):
    driver = Postgres(url)
    kept += "&" if "?" in kept else "?"
    assert (driver.conninfo, driver.pooled) == (f"{kept}target_session_attrs=primary", pooled)


@pytest.mark.attack("Z-09")
@pytest.mark.parametrize("wanted", ["any", "standby", "prefer-standby", "read-only"])
def test_a_url_that_may_lead_to_a_standby_is_refused(wanted):
    with pytest.raises(ConfigError, match="standby"):
        Postgres(f"postgresql://u@a:1,b:2/d?target_session_attrs={wanted}")
    mine = "postgresql://u@a:1,b:2/d?target_session_attrs=read-write"
    assert Postgres(mine).conninfo == mine


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:se%cret@h/d",
        "postgresql://u:se cret@h/d",
        "postgresql://u:secret@[::1/d",
    ],
)
def test_a_url_that_cannot_be_read_is_told_of_without_its_password(url):
    with pytest.raises(ConfigError, match="DATABASE_URL cannot be read") as raised:
        Postgres(url)
    assert "cret" not in str(raised.value)
    assert raised.value.__cause__ is None

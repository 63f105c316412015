"""Behind a real PgBouncer in transaction mode: the contract, and what a server does there."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest
from bouncer import PROGRAM, PgBouncer

from watchword.seams import Rotated
from watchword.store import schema
from watchword.store.contract import NOW, StoreContract, a_grant, spend, token_of
from watchword.store.postgres import Postgres
from watchword.store.sql import SqlStore

SIZE = 3  # connections that it has to the server

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer; apt-get install pgbouncer"),
    pytest.mark.sqlite,  # no run's database but its own
]


@pytest.fixture(scope="module")
def bouncer(postgres):
    made = PgBouncer(postgres, size=SIZE)
    yield made
    made.close()


@pytest.fixture
def url(bouncer, postgres_url):
    """An empty database behind it."""
    return f"{bouncer.url(postgres_url.rsplit('/', 1)[1])}?pgbouncer=true"


@pytest.fixture
async def store(url):
    made = SqlStore(Postgres(url), token_life=600)
    schema.prepare(made.driver, upgrade=False)
    yield made
    made.driver.close()


class TestContract(StoreContract):
    @pytest.fixture
    def store(self, store):
        return store


SESSION = """
    SELECT pg_backend_pid(), current_setting('synchronous_commit'),
           (SELECT count(*) FROM pg_prepared_statements),
           (SELECT count(*) FROM pg_listening_channels()),
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
           pg_sleep(0.1)
"""


async def sessions(url: str) -> list[tuple]:
    """What the server has kept for each connection to it, asked on that one."""

    async def one() -> tuple:
        connection = await psycopg.AsyncConnection.connect(
            url.partition("?")[0], autocommit=True, prepare_threshold=None
        )
        async with connection:
            return await (await connection.execute(SESSION)).fetchone()

    told = await asyncio.gather(*(one() for _ in range(SIZE)))
    assert len({session[0] for session in told}) == SIZE, "each at work at the same time"
    return [session[1:5] for session in told]


async def test_nothing_stays_on_a_connection_for_whoever_comes_next(store, url):
    await asyncio.wait_for(store.driver.listen(lambda: None), 10)  # which nobody can
    new = [await a_grant(store) for _ in range(8)]
    for verbs in (
        (spend(store, token_of(one)) for one in new),  # a commit that does not wait for the disk
        (store.revoke_grant(one.id, NOW) for one in new),
    ):
        await asyncio.gather(*verbs)
        assert await sessions(url) == [("on", 0, 0, 0)] * SIZE


async def test_more_who_ask_than_connections_each_get_theirs(store, url, bouncer):
    others = [SqlStore(Postgres(url), token_life=600) for _ in range(10)]
    new = await a_grant(store)
    found = await asyncio.gather(*(each.grant(new.id) for each in others for _ in range(10)))
    assert all(one.id == new.id for one in found)
    outcomes = await asyncio.gather(*(spend(each, token_of(new)) for each in others))
    assert sum(isinstance(one, Rotated) for one in outcomes) == 1
    for each in others:
        each.driver.close()


# --- a whole server ---


@pytest.fixture
async def pair(build, url):
    """Two servers over one database; one has begun when the other does."""
    one = build(database_url=url, max_stale=1)
    await one.auth.start()
    await one.add_user("johndoe")
    two = build(database_url=url, max_stale=1, now=one.clock)
    await two.auth.start()
    return one, two


async def test_a_session_from_its_login_to_its_end(pair):
    one, two = pair
    tokens = await one.login()
    assert (await two.get("/guarded", tokens["access_token"])).is_success
    new = (await two.refresh(tokens["refresh_token"])).json()
    assert (await one.refresh(tokens["refresh_token"])).json()["refresh_token"] == new[
        "refresh_token"
    ], "two tabs get the same"
    bearer = {"Authorization": f"Bearer {new['access_token']}"}
    assert (await one.http.post("/revoke-token", headers=bearer)).is_success
    assert (await one.get("/guarded", new["access_token"])).status_code == 401, "at once"
    assert (await two.refresh(new["refresh_token"])).status_code == 400


@pytest.mark.quiet
async def test_without_hints_a_revocation_is_noticed_in_time(pair):
    one, two = pair
    token = (await one.login())["access_token"]
    assert (await two.get("/guarded", token)).is_success
    await one.http.post("/revoke-token", headers={"Authorization": f"Bearer {token}"})
    began = time.monotonic()
    while (await two.get("/guarded", token)).is_success:
        assert time.monotonic() - began < 1.1, "max_stale, and a little for a slow machine"
        await asyncio.sleep(0.01)


async def test_fifty_at_once_make_one_lineage(pair):
    tokens = await pair[0].login()
    answers = await asyncio.gather(
        *(pair[n % 2].refresh(tokens["refresh_token"]) for n in range(50))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


async def test_limits_are_counted_there_too(pair):
    for n in range(7):
        answer = await pair[n % 2].post("/token", {"username": "johndoe", "password": "wrong"})
    assert answer.status_code == 429

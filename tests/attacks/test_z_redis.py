"""Rows Z and L of the attack catalogue about Redis: whatever becomes of it, logins go on, and
no limit goes away."""

from __future__ import annotations

import asyncio
import time

import pytest
from processes import raced
from vk import Cluster, Valkey, Watched, Wire, closing

pytestmark = pytest.mark.quiet

NODE = """
import asyncio, sys
from watchword.rules.rates import Limit
from watchword.shared import RedisCounters, Shared

ASKS = [("wide", Limit(1000, 3600.0)), ("narrow", Limit(7, 3600.0))]

async def main():
    shared = Shared(sys.argv[1], timeout=30.0)
    counters = RedisCounters(shared)
    await shared.greet()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    outcomes = await asyncio.gather(*(counters.take(ASKS, 0.0) for _ in range(50)))
    print(sum(outcome[-1].allowed for outcome in outcomes))
    await shared.aclose()

asyncio.run(main())
"""


@pytest.mark.attack("L-12")
def test_two_hundred_attempts_of_four_processes_race_for_seven_units(valkey):
    assert sum(raced(NODE, valkey.url)) == 7
    assert valkey.do("DBSIZE") == 2


@pytest.mark.attack("L-12")
def test_in_a_cluster_too():
    cluster = Cluster()
    with closing(*cluster.nodes):
        assert sum(raced(NODE, cluster.url)) == 7


# --- a server and its logins ---

LIMITS = {
    "limit_login_ip": "off",
    "limit_login_wide": "off",
    "limit_login_account": "off",
    "limit_login_account_ip": "8 + 1/h",
    "limit_token": "1000 + 1/min",
    "redis_timeout": 0.4,
}


@pytest.fixture
def served(build):
    """A server whose users have tries in Redis, shared by all that are made with one URL."""

    async def make(url: str, **more):
        server = build(redis_url=url, **LIMITS | more)
        await server.auth.start()
        await server.add_user("johndoe")
        await server.auth.shared.greet()
        return server

    return make


async def attempt(server, name: str = "johndoe", password: str = "wrong") -> tuple[int, float]:
    """The answer's status, and how many seconds it took."""
    began = time.monotonic()
    answer = await server.post("/token", {"username": name, "password": password})
    return answer.status_code, time.monotonic() - began


async def statuses(server, name: str, times: int) -> list[int]:
    return [(await attempt(server, name))[0] for _ in range(times)]


async def rested(server) -> None:
    """Until it is looked at again, in its own time; and the notes of the server's clock end."""
    await asyncio.sleep(1.05)
    server.clock.tick(3600 * 9)


ALL = [401] * 8 + [429] * 2
HALF = [401] * 4 + [429] * 6


async def test_servers_share_the_tries_of_an_account(valkey, served):
    one, two = await served(valkey.url), await served(valkey.url)
    assert await statuses(one, "bob", 4) == [401] * 4
    assert await statuses(two, "bob", 6) == [401] * 4 + [429] * 2
    assert await statuses(one, "bob", 1) == [429]
    assert (await attempt(one, "johndoe", "secret"))[0] == 200


async def test_a_login_gives_the_tries_back(valkey, served):
    one, two = await served(valkey.url), await served(valkey.url)
    assert await statuses(one, "johndoe", 7) == [401] * 7
    assert (await attempt(two, "johndoe", "secret"))[0] == 200
    assert await statuses(one, "johndoe", 8) == [401] * 8


def kill(server: Valkey) -> None:
    server.kill()


def freeze(server: Valkey) -> None:
    server.freeze()


def full(server: Valkey) -> None:
    server.do("CONFIG", "SET", "maxmemory", 1)


def demoted(server: Valkey) -> None:
    server.do("REPLICAOF", "127.0.0.1", 1)


def lonely(server: Valkey) -> None:
    server.do("CONFIG", "SET", "min-replicas-to-write", 3)


HEALED = {
    kill: lambda server: server.start(),
    freeze: lambda server: server.thaw(),
    full: lambda server: server.do("CONFIG", "SET", "maxmemory", 0),
    demoted: lambda server: server.do("REPLICAOF", "NO", "ONE"),
    lonely: lambda server: server.do("CONFIG", "SET", "min-replicas-to-write", 0),
}


@pytest.mark.attack("L-14", "Z-11", "Z-13", "Z-14")
@pytest.mark.parametrize("fault", HEALED, ids=lambda fault: fault.__name__)
async def test_without_it_logins_go_on_with_a_stricter_limit(fault, served, caplog):
    redis = Valkey()
    with closing(redis):
        server = await served(redis.url)
        assert await statuses(server, "alice", 10) == ALL
        fault(redis)
        seconds = []
        for password, expected in (("secret", 200), ("wrong", 401)) * 2:
            status, took = await attempt(server, "johndoe", password)
            assert status == expected
            seconds.append(took)
        assert await statuses(server, "bob", 10) == HALF
        assert max(seconds) < 0.8, "one waits for the deadline"
        assert sum(took > 0.39 for took in seconds) <= 1, "the others do not"
        told = [it for it in caplog.records if "fails" in it.getMessage()]
        assert len(told) == 1
        HEALED[fault](redis)
        await rested(server)
        assert await statuses(server, "carol", 10) == ALL
        assert redis.do("DBSIZE") >= 2, "it counts again"
        assert len([it for it in caplog.records if "fails" in it.getMessage()]) == 1


@pytest.mark.attack("Z-11")
async def test_a_storm_while_it_hangs_waits_for_one_deadline(served, valkey):
    async with Wire(valkey.port) as wire:
        server = await served(wire.url)
        assert (await attempt(server, "johndoe", "secret"))[0] == 200
        wire.silent = True
        began = time.monotonic()
        answers = await asyncio.gather(*(attempt(server, f"u{n}") for n in range(60)))
        assert {status for status, _ in answers} == {401}
        assert time.monotonic() - began < 2.0
        wire.silent = False
        await rested(server)
        await asyncio.sleep(2.0)  # what it was opening meanwhile has been given up
        assert await statuses(server, "carol", 10) == ALL
        await server.auth.shared.aclose()


@pytest.mark.attack("Z-11")
async def test_a_network_that_is_cut_and_slow_again_and_again(served, valkey):
    """Nobody gets a 500, and nobody more tries than all budgets together."""
    async with Wire(valkey.port) as wire:
        server = await served(wire.url)
        given = {401: 0, 429: 0}
        for turn in range(120):
            if turn % 10 == 3:
                await wire.cut()
            wire.delay = 0.5 if turn % 10 in (5, 6) else 0.0
            wire.silent = turn % 10 == 8
            status, took = await attempt(server, "mallory")
            given[status] += 1
            assert took < 1.5
            await asyncio.sleep(0.03)
        assert sum(given.values()) == 120
        assert given[401] <= 8 + 4
        wire.delay, wire.silent = 0.0, False
        await server.auth.shared.aclose()


@pytest.mark.attack("S-02", "S-10")
async def test_nothing_in_it_can_be_read(served, valkey):
    server = await served(valkey.url, limit_token="9 + 1/min")
    server.come_from("203.0.113.77")
    await statuses(server, "mallory", 3)
    tokens = await server.login()
    kept = str([(key, valkey.do("GET", key)) for key in valkey.do("KEYS", "*")])
    assert kept.count("watchword:limit:") == 2
    clear = ["mallory", "johndoe", "u_johndoe", "secret", "wrong", "203.0.113.77"]
    for text in (*clear, tokens["access_token"], tokens["refresh_token"]):
        assert text not in kept


@pytest.mark.attack("Z-13")
async def test_what_it_forgets_is_a_counter_and_nothing_else(served, valkey):
    server = await served(valkey.url)
    assert await statuses(server, "bob", 10) == ALL
    tokens = await server.login()
    assert (await server.refresh(tokens["refresh_token"])).status_code == 200
    assert await server.auth.store.revoke_user("u_johndoe", server.clock())
    valkey.do("FLUSHALL")
    server.clock.tick(3600 * 9)
    assert await statuses(server, "bob", 10) == ALL
    assert (await server.refresh(tokens["refresh_token"])).status_code == 400
    assert (await server.get("/guarded", tokens["access_token"])).status_code == 401


@pytest.mark.attack("Z-14")
async def test_two_primaries_give_two_budgets_and_no_more(served, build):
    """A split brain: the sentinels have made a second one, and a server still sees the first."""
    watched = Watched()
    with closing(*watched.servers, *watched.sentinels):
        old, new = watched.primary, watched.replica
        apart = await served(old.url)
        old.freeze()
        await asyncio.to_thread(watched.until_it_has_taken_over, new)
        for sentinel in watched.sentinels:
            sentinel.freeze()  # so that nobody tells the old one
        old.thaw()
        together = await served(new.url)
        given = await statuses(apart, "bob", 20) + await statuses(together, "bob", 20)
        assert given.count(401) == 16
        for sentinel in watched.sentinels:
            sentinel.thaw()

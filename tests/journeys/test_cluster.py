"""Two nodes of two workers each, on one PostgreSQL and one Valkey, while things break."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx2
import pytest
from cable import Cable
from node import SECRET, Node
from pg import PostgresServer
from vk import Valkey

from watchword import Auth
from watchword.seams import Account, StoredUser

STALE = 1.0  # seconds; the bound that every guard proves
ROUNDS, RACERS = 50, 50


@dataclass
class Cluster:
    """What is shared, what is between, and who serves."""

    postgres: PostgresServer
    valkey: Valkey
    cables: list[Cable]
    redis: Cable
    nodes: list[Node]

    def url(self, turn: int) -> str:
        return self.nodes[turn % len(self.nodes)].url


@pytest.fixture(scope="module")
def cluster():
    postgres, valkey = PostgresServer(), Valkey()
    database = postgres.database("cluster")
    asyncio.run(_with_a_user(database))
    with Cable(valkey.port) as redis, Cable(postgres.port) as one, Cable(postgres.port) as two:
        settings = {
            "max_stale": f"{STALE}s",
            "redis_url": f"redis://127.0.0.1:{redis.port}/0",
            "access_ttl": "1h",
        }
        urls = [postgres.url("cluster", port=cable.port) for cable in (one, two)]
        with (
            Node(urls[0], workers=2, **settings) as first,
            Node(urls[1], workers=2, **settings) as second,
        ):
            yield Cluster(postgres, valkey, [one, two], redis, [first, second])
    valkey.close()
    postgres.close()


async def _with_a_user(url: str) -> None:
    auth = Auth(
        env="development", database_url=url, secret=SECRET, hash_memory_kib=64, hash_passes=1
    )
    await auth.start()
    account = Account("u_ada", "ada", scopes=("me", "items"))
    await auth.store.add_user(StoredUser(account, await auth.passwords.hash("secret")))
    auth.close()


async def login(http: httpx2.AsyncClient, url: str) -> dict[str, str]:
    answer = await http.post(f"{url}/token", data={"username": "ada", "password": "secret"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def client() -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=100)
    return httpx2.AsyncClient(limits=limits, timeout=20)


@pytest.mark.attack("Z-15", "T-19")
async def test_a_refresh_token_has_one_successor_wherever_it_is_used(cluster):
    async with client() as http:
        token = (await login(http, cluster.url(0)))["refresh_token"]

        async def refreshed(turn: int) -> httpx2.Response:
            ask = {"grant_type": "refresh_token", "refresh_token": token}
            return await http.post(f"{cluster.url(turn)}/token", data=ask)

        for _ in range(ROUNDS):
            answers = await asyncio.gather(*(refreshed(turn) for turn in range(RACERS)))
            assert {answer.status_code for answer in answers} == {200}
            (token,) = {answer.json()["refresh_token"] for answer in answers}


@pytest.mark.attack("Z-15")
async def test_a_ticket_opens_one_door_wherever_it_is_shown(cluster):
    async with client() as http:
        access = (await login(http, cluster.url(1)))["access_token"]
        bearer = {"Authorization": f"Bearer {access}"}
        stream = {"Accept": "text/event-stream"}
        for turn in range(ROUNDS):
            minted = await http.post(f"{cluster.url(turn)}/auth/ticket", headers=bearer)
            ticket = minted.json()["ticket"]
            answers = await asyncio.gather(
                *(
                    http.get(f"{cluster.url(n)}/guarded?ticket={ticket}", headers=stream)
                    for n in range(RACERS)
                )
            )
            assert Counter(answer.status_code for answer in answers) == {200: 1, 401: RACERS - 1}


@dataclass
class Observed:
    """What was seen: when each token was last let in, and when its end was acknowledged."""

    tokens: list[str] = field(default_factory=list)
    accepted: dict[str, float] = field(default_factory=dict)  # by token, when it was asked
    ended: dict[str, float] = field(default_factory=dict)
    statuses: Counter = field(default_factory=Counter)

    def late(self) -> list[float]:
        """Seconds beyond the bound, of those that were let in too late."""
        return [
            at - self.ended[token] - STALE
            for token, at in self.accepted.items()
            if token in self.ended and at > self.ended[token] + STALE
        ]


async def _ask_for_ever(cluster: Cluster, seen: Observed, http: httpx2.AsyncClient) -> None:
    for turn in itertools.count():
        token = seen.tokens[turn % len(seen.tokens)]
        began = time.monotonic()
        try:
            answer = await http.get(
                f"{cluster.url(turn)}/guarded", headers={"Authorization": f"Bearer {token}"}
            )
        except httpx2.HTTPError as error:
            seen.statuses[type(error).__name__] += 1
            await asyncio.sleep(0.01)
            continue
        seen.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            seen.accepted[token] = max(began, seen.accepted.get(token, 0.0))


async def _end_one_after_the_other(cluster: Cluster, seen: Observed) -> None:
    """Where no node acknowledges, the next one is asked, until one does."""
    async with httpx2.AsyncClient(timeout=8) as http:
        for turn, token in enumerate(seen.tokens[1:]):
            for attempt in itertools.count(turn):
                try:
                    answer = await http.post(
                        f"{cluster.url(attempt)}/revoke-token",
                        headers={"Authorization": f"Bearer {token}"},
                    )
                except httpx2.HTTPError:
                    continue
                # A repeated revocation finds the token dead: the one before was carried out.
                if answer.status_code in (200, 401):
                    seen.ended[token] = time.monotonic()
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.12)


async def _break_things(cluster: Cluster) -> None:
    await asyncio.sleep(1)
    cluster.redis.cut(for_good=True)
    await asyncio.sleep(1)
    cluster.cables[1].go_dead()
    await asyncio.sleep(3)
    cluster.cables[1].cut()  # what was in the dead cable is lost
    await asyncio.sleep(2)
    cluster.nodes[0].signal(signal.SIGSTOP)
    await asyncio.sleep(4)
    cluster.nodes[0].signal(signal.SIGCONT)
    await asyncio.sleep(2)
    await asyncio.to_thread(cluster.postgres.kill)
    await asyncio.sleep(1)
    await asyncio.to_thread(cluster.postgres.start)
    await asyncio.sleep(3)
    cluster.redis.mend()


@pytest.mark.attack("Z-06", "Z-11", "Z-13", "V-01")
async def test_nobody_revoked_is_let_in_beyond_the_bound_whatever_breaks(cluster):
    seen = Observed()
    async with client() as http:
        logins = [await login(http, cluster.url(turn)) for turn in range(100)]
        seen.tokens = [tokens["access_token"] for tokens in logins]
        asking = [asyncio.create_task(_ask_for_ever(cluster, seen, http)) for _ in range(12)]
        ending = asyncio.create_task(_end_one_after_the_other(cluster, seen))
        await _break_things(cluster)
        await asyncio.wait_for(ending, 60)
        await asyncio.sleep(STALE + 1)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        print(dict(seen.statuses))
        assert not seen.late()
        assert len(seen.ended) == 99
        assert seen.statuses[200] > 1000
        assert seen.statuses[401] > 1000
        assert seen.statuses[503] > 0  # who could not know said so
        assert 500 not in seen.statuses
        for turn in range(4):  # and all is as before
            tokens = await login(http, cluster.url(turn))
            for node in cluster.nodes:
                bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
                assert (await http.get(f"{node.url}/guarded", headers=bearer)).status_code == 200
                assert (await http.get(f"{node.url}/paying", headers=bearer)).status_code == 200

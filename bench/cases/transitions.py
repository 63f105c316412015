"""What PostgreSQL is asked for each transition: round trips, statements, WAL, CPU, and how fast."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from bench.harness import cpu_us
from bench.report import Outcome, Pace
from bench.support import Cable, PostgresServer
from watchword.rules.rates import Limit
from watchword.store import schema, server_running
from watchword.store.contract import (
    IDLE,
    NOW,
    WINDOW,
    a_client,
    a_grant,
    a_user,
    another_grant,
    token_of,
)
from watchword.store.databases import driver_of
from watchword.store.postgres import Postgres
from watchword.store.server_counters import ServerCounters
from watchword.store.sql import SqlStore

TASKS, CHAINS = 16, 400
Work = Callable[[int], Awaitable[object]]


@dataclass(frozen=True)
class Cost:
    """Of one kind of work."""

    rate: float
    client_us: float
    server_us: float
    wal: float


async def run(server: PostgresServer, seconds: float, work: Work) -> Cost:
    """Let sixteen tasks work for a while."""
    done = 0
    until = time.perf_counter() + seconds

    async def one(task: int) -> None:
        nonlocal done
        turn = task
        while time.perf_counter() < until:
            await work(turn)
            turn += TASKS
            done += 1

    wal, ours, theirs, began = _wal(server), time.process_time(), _cpu(server), time.perf_counter()
    await asyncio.gather(*(one(task) for task in range(TASKS)))
    took = time.perf_counter() - began
    return Cost(
        done / took,
        (time.process_time() - ours) / done * 1e6,
        (_cpu(server) - theirs) / done,
        (_wal(server) - wal) / done,
    )


def _wal(server: PostgresServer) -> int:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    return int(row[0])


def _cpu(server: PostgresServer) -> float:
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    pids = [pid, *map(int, children.split())]
    return sum(cpu_us(one) for one in pids)


async def works(store: SqlStore) -> dict[str, Work]:
    """The transitions, each on rows of its own."""
    user, client = a_user(), a_client()
    await store.add_user(user)
    await store.add_client(client, NOW)
    grants = [await another_grant(store, user.account.sub, client.id) for _ in range(CHAINS)]
    generations = [0] * CHAINS
    head = await store.head()
    counters = ServerCounters(store.driver)
    limit = Limit(1_000_000, 0.001)

    async def rotate(turn: int) -> None:
        which = turn % CHAINS
        token = token_of(grants[which], generations[which])
        await store.rotate(token, NOW, window=WINDOW, idle=IDLE)
        generations[which] += 1

    async def opened(_: int) -> None:
        await store.open_grant(replace(grants[0], id=os.urandom(16), looked_at=head), NOW)

    async def limits(turn: int) -> None:
        await counters.take([(f"{kind}{turn % 500}", limit) for kind in "abc"], NOW)

    return {
        "login: the user": lambda _: store.user_by_login(user.account.username),
        "login: limits (3 buckets)": limits,
        "login: the grant": opened,
        "refresh: rotation": rotate,
        "revocation": lambda _: store.revoke_token(os.urandom(8).hex(), NOW + 600, NOW),
    }


async def told(postgres_server: PostgresServer, database: str) -> dict[str, tuple[int, int]]:
    """Round trips and statements of each, once its statements are prepared."""
    counted: dict[str, tuple[int, int]] = {}
    real, said = server_running.numbered, []

    def counting(ask: object) -> object:
        said.append(ask)
        return real(ask)

    with Cable(postgres_server.port) as cable:
        url = postgres_server.url(database, port=cable.port)
        store = SqlStore(Postgres(url, most=1), token_life=600)
        for name, work in (await works(store)).items():
            await work(0)
            await work(16)
            server_running.numbered = counting
            trips = cable.trips
            said.clear()
            await work(32)
            counted[name] = cable.trips - trips, len(said)
            server_running.numbered = real
        store.driver.close()
    return counted


async def families(url: str, many: int, times: int) -> tuple[list[float], list[float]]:
    """Microseconds to end young families and old ones, in turns: the disk has its moods."""
    store = SqlStore(driver_of(url), token_life=600)
    lives = {10: [], many: []}
    for rotations, made in lives.items():
        for _ in range(times):
            made.append(await a_grant(store))
            for generation in range(rotations):
                token = token_of(made[-1], generation)
                await store.rotate(token, NOW, window=WINDOW, idle=IDLE)
    took: dict[int, list[float]] = {10: [], many: []}
    for turn in range(times):
        for rotations in (10, many) if turn % 2 else (many, 10):
            began = time.perf_counter()
            await store.revoke_grant(lives[rotations][turn].id, NOW)
            took[rotations].append((time.perf_counter() - began) * 1e6)
    store.driver.close()
    return took[10], took[many]


def measure(pace: Pace) -> Outcome:
    """Run each transition in turn, then end young and old families."""
    outcome = Outcome("transitions", "One transition on PostgreSQL, sixteen at a time")
    server = PostgresServer()
    try:
        url = server.database("bench")
        schema.prepare(Postgres(url), upgrade=False)
        asyncio.run(_measure(server, url, pace, outcome))
        _families(server, pace, outcome)
    finally:
        server.close()
    return outcome


async def _measure(server: PostgresServer, url: str, pace: Pace, outcome: Outcome) -> None:
    counted = await told(server, "bench")
    store = SqlStore(Postgres(url, most=8), token_life=600)
    costs: dict[str, list[Cost]] = defaultdict(list)
    kinds = await works(store)
    for _ in range(pace.rounds):
        for name, work in kinds.items():
            costs[name].append(await run(server, pace.seconds, work))
    store.driver.close()
    for name, rounds in costs.items():
        trips, said = counted[name]
        outcome.add(name, "a second", [one.rate for one in rounds])
        outcome.add(name, "round trips", [trips])
        outcome.add(name, "statements", [said])
        outcome.add(name, "WAL bytes", [one.wal for one in rounds])
        outcome.add(name, "client CPU us", [one.client_us for one in rounds])
        outcome.add(name, "server CPU us", [one.server_us for one in rounds])
        outcome.claim(f"round trips, {name}", trips, most=1)
    outcome.notes.append(
        "fsync on; a rotation's commit does not wait for it, because a refresh token newer than "
        "the database heals it. Revocations that come together share a transaction."
    )


def _families(server: PostgresServer, pace: Pace, outcome: Outcome) -> None:
    many, times = (1_000, 60) if pace.seconds > 1 else (50, 6)
    young, old = asyncio.run(families(server.url("bench"), many, times))
    outcome.add("end of a family, 10 rotations", "us", young)
    outcome.add(f"end of a family, {many:,} rotations", "us", old)
    ratio = sorted(old)[len(old) // 2] / sorted(young)[len(young) // 2]
    outcome.claim("old family / young family", ratio, most=1.2)

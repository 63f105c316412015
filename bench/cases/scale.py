"""Ten million users and as many families in PostgreSQL, against ten thousand: is anything slower?

The rows are made by the server itself. Then each transition runs on random ones of them, at a
fixed rate and in turn on the small database and on the large one, so that a slow moment of the
machine touches both. Latencies count from when a transition was due.
"""

import asyncio
import hashlib
import json
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

import psycopg
from rich.console import Console

from bench.report import Outcome, Pace
from bench.support import PostgresServer
from watchword.rules.refresh import RefreshToken
from watchword.rules.scopes import Scopes
from watchword.seams import NewGrant
from watchword.store import accounts, grants, schema, server_running, tables
from watchword.store.contract import IDLE, NOW, WINDOW, a_client
from watchword.store.postgres import Postgres
from watchword.store.sql import SqlStore

SMALL, LARGE = 10_000, int(os.environ.get("BENCH_SCALE", "10000000"))
RATE = 300  # a second
CLIENT, PROOF = "app", b"p" * 16
_LOADED = {
    tables.users: """
        SELECT 'u_' || n, 'user' || n, 'user' || n, 'user' || n || '@example.com', NULL, 0,
               'me items', '', '{}', 0, %(now)s FROM generate_series(1, %(rows)s) n""",
    tables.credentials: """
        SELECT 'u_' || n, 'password', '$argon2id$v=19$m=19456,t=2,p=1$' || md5(n::text) || '$'
               || md5('x' || n), %(now)s FROM generate_series(1, %(rows)s) n""",
    tables.grants: """
        SELECT decode(md5(n::text), 'hex'), 'u_' || n, 'app', 'me items',
               'https://api.example.com', 0, %(now)s, %(proof)s, 0, %(now)s, %(now)s,
               %(now)s + 2592000, %(now)s + 7776000, NULL FROM generate_series(1, %(rows)s) n""",
}
Work = Callable[[], Awaitable[object]]


def load(server: PostgresServer, name: str, rows: int, console: Console) -> None:
    """Fill a database; indexes are made afterwards, and nothing waits for the disk meanwhile."""
    url = server.database(name)
    schema.prepare(Postgres(url), upgrade=False)
    values = {"rows": rows, "now": NOW, "proof": PROOF}
    with psycopg.connect(url, autocommit=True) as connection:
        for table, made in _LOADED.items():
            began = time.monotonic()
            again = _without_indexes(connection, table.name)
            columns = ", ".join(column.name for column in table.columns)
            connection.execute(f"INSERT INTO {table.name} ({columns}) {made}", values)
            for statement in again:
                connection.execute(statement)
            connection.execute(f"VACUUM (ANALYZE) {table.name}")
            took = time.monotonic() - began
            console.print(f"  {rows:,} rows of {table.name} in {took:.0f} s")
        connection.execute("CHECKPOINT")
    asyncio.run(_with_a_client(url))


def _without_indexes(connection: psycopg.Connection, table: str) -> list[str]:
    """Drop a table's indexes and return the statements that make them again."""
    again = []
    constraints = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype IN ('p', 'u')",
        (table,),
    ).fetchall()
    for name, made in constraints:
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        again.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {made}")
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", (table,)
    ).fetchall()
    for name, made in indexes:
        connection.execute(f"DROP INDEX {name}")
        again.append(made)
    return again


async def _with_a_client(url: str) -> None:
    store = SqlStore(Postgres(url), token_life=600)
    await store.add_client(a_client(CLIENT), NOW)
    store.driver.close()


class Subject:
    """One of the two databases, and what is done to it."""

    def __init__(self, url: str, rows: int) -> None:
        self.rows = rows
        self.store = SqlStore(Postgres(url, most=8), token_life=600)
        self.url = url
        self._chance = random.Random(rows)
        self._generations: dict[int, int] = defaultdict(int)
        self._ended: set[int] = set()
        self.works: dict[str, Work] = {
            "login: the user": self.look_up,
            "login: the grant": self.open,
            "refresh: rotation": self.rotate,
            "revocation of a family": self.revoke,
        }

    def _any(self) -> int:
        while (which := self._chance.randint(1, self.rows)) in self._ended:
            pass
        return which

    async def look_up(self) -> None:
        """Read a user and the hash."""
        assert await self.store.user_by_login(f"user{self._any()}")

    async def open(self) -> None:
        """Open a grant of some user."""
        new = NewGrant(
            id=os.urandom(16), user_id=f"u_{self._any()}", client_id=CLIENT, scopes=Scopes(("me",)),
            audience="https://api.example.com", proof=PROOF, auth_time=NOW, idle_until=NOW + IDLE,
            expires_at=NOW + 90 * 86_400, looked_at=2**40,
        )  # fmt: skip
        await self.store.open_grant(new, NOW)

    async def rotate(self) -> None:
        """Rotate the refresh token of some family."""
        which = self._any()
        token = RefreshToken(_id(which), self._generations[which], PROOF, CLIENT)
        self._generations[which] += 1
        await self.store.rotate(token, NOW, window=WINDOW, idle=IDLE)

    async def revoke(self) -> None:
        """End some family."""
        which = self._any()
        self._ended.add(which)
        await self.store.revoke_grant(_id(which), NOW)

    async def paced(self, work: Work, seconds: float) -> list[float]:
        """Do some work at the fixed rate; returns milliseconds from when each was due."""
        begun, took = time.perf_counter(), []

        async def one(due: float) -> None:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await work()
            took.append((time.perf_counter() - due) * 1000)

        await asyncio.gather(*(one(begun + n / RATE) for n in range(round(seconds * RATE))))
        return took

    def buffers(self) -> dict[str, int]:
        """Pages that the two hottest statements touch."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            token = RefreshToken(_id(7), 10**6, PROOF, CLIENT)
            rotate = next(grants.rotate(token, NOW, 1, window=1, idle=1, durable=False))[0]
            asks = {
                "login: the user": next(accounts.by_login("user7")),
                "refresh: rotation": rotate,
            }
            return {name: _pages(connection, ask) for name, ask in asks.items()}


def _id(number: int) -> bytes:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).digest()


def _pages(connection: psycopg.Connection, ask: object) -> int:
    text, values = server_running.numbered(ask)
    cursor = psycopg.RawCursor(connection)
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", values)
    plan = cursor.fetchone()[0]
    plan = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def measure(pace: Pace) -> Outcome:
    """Load both, then compare."""
    console = Console()
    large = LARGE if pace.seconds > 1 else 100_000
    outcome = Outcome("scale", f"{large:,} users and families against {SMALL:,}")
    server = PostgresServer(
        fsync="off", shared_buffers="4GB", max_wal_size="16GB", maintenance_work_mem="1GB",
        checkpoint_timeout="30min", max_parallel_maintenance_workers="2",
    )  # fmt: skip
    try:
        began = time.monotonic()
        for name, rows in (("small", SMALL), ("large", large)):
            load(server, name, rows, console)
        took = time.monotonic() - began
        with psycopg.connect(server.url("large")) as connection:
            row = connection.execute("SELECT pg_database_size('large')").fetchone()
            size = row[0] / 1024**3
        asyncio.run(_compare(server, large, pace, outcome))
        outcome.notes.append(
            f"Loaded in {took:.0f} s; the large database is {size:.1f} GiB, the server's cache 4 GiB. "
            f"{RATE} transitions a second, without waiting for the disk, which would hide the rest."
        )
    finally:
        server.close()
    return outcome


async def _compare(server: PostgresServer, large: int, pace: Pace, outcome: Outcome) -> None:
    subjects = [Subject(server.url("small"), SMALL), Subject(server.url("large"), large)]
    took: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
    for number in range(pace.rounds + 1):
        for name in subjects[0].works:
            for subject in subjects if number % 2 else reversed(subjects):
                found = await subject.paced(subject.works[name], pace.seconds)
                if number:  # the first round warmed up
                    took[name, subject.rows].append(found)
    pages = {subject.rows: subject.buffers() for subject in subjects}
    sweeping = await _while_sweeping(subjects[1], pace)
    for subject in subjects:
        subject.store.driver.close()
    for name in subjects[0].works:
        medians = {}
        for rows in (SMALL, large):
            rounds = took[name, rows]
            medians[rows] = [statistics.median(one) for one in rounds]
            outcome.add(f"{name}, {rows:,}", "p50 ms", medians[rows])
            outcome.add(f"{name}, {rows:,}", "p99 ms", [_p99(one) for one in rounds])
            if name in pages[rows]:
                outcome.add(f"{name}, {rows:,}", "pages", [pages[rows][name]])
        ratio = statistics.median(medians[large]) / statistics.median(medians[SMALL])
        outcome.claim(f"{name}: p50 large / small", ratio, most=1.5)
    outcome.add(f"refresh while sweeping, {large:,}", "p50 ms", [statistics.median(sweeping)])
    outcome.add(f"refresh while sweeping, {large:,}", "p99 ms", [_p99(sweeping)])


async def _while_sweeping(subject: Subject, pace: Pace) -> list[float]:
    """Rotations while dead rows are deleted as fast as the sweep can."""
    with psycopg.connect(subject.url, autocommit=True) as connection:
        connection.execute(
            f"UPDATE {tables.grants.name} SET expires_at = 0 WHERE id IN"
            f" (SELECT id FROM {tables.grants.name} WHERE user_id LIKE 'u_1_____')"
        )

    async def sweep() -> None:
        while True:
            await subject.store.sweep(NOW)

    sweeping = asyncio.create_task(sweep())
    found = await subject.paced(subject.rotate, pace.seconds)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    return found


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]

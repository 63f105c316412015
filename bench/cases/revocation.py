"""From an acknowledged revocation to the last request that is let in, in milliseconds."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bench.nodes import login, nodes, until_refused
from bench.report import Outcome, Pace
from bench.support import Node, PostgresServer, Valkey


def measure(pace: Pace) -> Outcome:
    """Revoke token after token on each deployment."""
    outcome = Outcome("revocation", "Revocation acknowledged to last acceptance")
    times = 20 if pace.seconds > 1 else 2
    for name, most, deployment in (
        ("SQLite, four workers", 0.0, _sqlite),
        ("PostgreSQL, two nodes of two", 100.0, _postgres),
        ("PostgreSQL and Valkey, two nodes of two", 100.0, _both),
    ):
        with deployment() as run:
            found = [asyncio.run(until_refused(run, login(run[0]))) for _ in range(times)]
        outcome.add(name, "ms", sorted(found))
        outcome.claim(f"latest of {times}, {name}, ms", max(found), most=most)
    outcome.notes.append(
        "Eight askers, each request on a new connection to either node. A request counts from when "
        "it was sent; 0 means that none that was sent after the answer was let in."
    )
    return outcome


@contextmanager
def _sqlite() -> Iterator[list[Node]]:
    with (
        tempfile.TemporaryDirectory() as directory,
        nodes(1, 4, f"sqlite:///{directory}/w.db") as run,
    ):
        yield run


@contextmanager
def _postgres() -> Iterator[list[Node]]:
    server = PostgresServer()
    try:
        with nodes(2, 2, server.database("bench")) as run:
            yield run
    finally:
        server.close()


@contextmanager
def _both() -> Iterator[list[Node]]:
    server, valkey = PostgresServer(), Valkey()
    url = server.database("bench") + "?pgbouncer=true"  # nobody listens to the database
    try:
        with nodes(2, 2, url, redis_url=valkey.url) as run:
            yield run
    finally:
        valkey.close()
        server.close()

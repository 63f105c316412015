"""Running verbs on a connection to PostgreSQL: step by step, or a `Take` in one go.

In libpq's pipeline mode a server runs everything up to the synchronisation point as one
transaction, so a `Take` needs neither BEGIN nor COMMIT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from psycopg import AsyncRawCursor
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from watchword.store.compiling import Statements
from watchword.store.connections import Connection
from watchword.store.verbs import Ask, Take, Verb

T = TypeVar("T")
Rows = list[dict[str, Any]]


statements = Statements(
    PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
)


def numbered(ask: Ask) -> tuple[str, list[Any]]:
    """The text of a statement, and its parameters in the order of their numbers."""
    statement, values = ask
    found = statements(statement)
    constants = found.constants
    return found.text, [values[name] if name in values else constants[name] for name in found.names]


async def run(connection: Connection, verb: Verb[T]) -> T:
    """Drive a verb to its end, each step a transaction of its own."""
    try:
        step = next(verb)
        while True:
            step = verb.send(await _stepped(connection, step))
    except StopIteration as end:
        result: T = end.value
        return result


async def _stepped(connection: Connection, step: Ask | Take) -> Any:
    if isinstance(step, Take):
        return await together(connection, step)
    text, values = numbered(step)
    cursor = AsyncRawCursor(connection)
    await cursor.execute(text, values, binary=True)
    return await cursor.fetchall() if cursor.description else []


async def transacted(
    connection: Connection, verb: Verb[T], step: Ask | Take, first: Sequence[str]
) -> T:
    """The rest of a verb, whose statements need the rows of those before."""
    async with connection.transaction():
        for text in first:
            await connection.execute(text)
        try:
            while True:
                step = verb.send(await _stepped(connection, step))
        except StopIteration as end:
            result: T = end.value
    return result


async def together(
    connection: Connection,
    asks: Sequence[Ask],
    *,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> list[Rows]:
    """Run all in one round trip and one transaction; a list of rows for each ask."""
    if len(asks) == 1 and not before and not after:
        return [await _stepped(connection, asks[0])]
    cursors = []
    async with connection.pipeline():
        try:
            for text in before:
                await connection.execute(text)
            for ask in asks:
                text, values = numbered(ask)
                cursor = AsyncRawCursor(connection)
                await cursor.execute(text, values, binary=True)
                cursors.append(cursor)
            for text in after:
                await connection.execute(text)
        except BaseException:
            # Leaving the pipeline has the server commit what it was sent until now: half of
            # an entry in the revocation log would be in the way of every later one.
            connection.pgconn.finish()
            raise
    return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

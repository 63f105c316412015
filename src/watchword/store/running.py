"""Running verbs on a connection: one alone, or a queue of them in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy.dialects import sqlite as dialects

from watchword.seams import Unavailable
from watchword.store.compiling import Statements
from watchword.store.mark import Mark
from watchword.store.verbs import Ask, Take, Verb

T = TypeVar("T")

statements = Statements(dialects.dialect(paramstyle="named"))


def run(connection: sqlite3.Connection, verb: Verb[T]) -> T:
    """Drive a verb to its end on one connection."""
    try:
        step = next(verb)
        while True:
            if isinstance(step, Take):
                step = verb.send([_rows(connection, ask) for ask in step])
            else:
                step = verb.send(_rows(connection, step))
    except StopIteration as end:
        result: T = end.value
        return result


def _rows(connection: sqlite3.Connection, ask: Ask) -> list[Any]:
    statement, values = ask
    found = statements(statement)
    asked = {**found.constants, **values} if found.constants else values
    return connection.execute(found.text, asked).fetchall()


@dataclass(slots=True)
class Job(Generic[T]):
    """A verb that waits for its turn, and who waits for it."""

    verb: Verb[T]
    durable: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]


def commit(connection: sqlite3.Connection, batch: Sequence[Job[Any]], mark: Mark | None) -> None:
    """One transaction for the whole batch; a verb that raises undoes only itself."""
    outcomes: list[tuple[Any, BaseException | None]] = []
    try:
        # A FULL commit also makes earlier NORMAL ones durable: they are before it in the WAL.
        level = "FULL" if any(job.durable for job in batch) else "NORMAL"
        connection.execute(f"PRAGMA synchronous={level}")
        connection.execute("BEGIN IMMEDIATE")
        outcomes.extend(_attempt(connection, job.verb) for job in batch)
        connection.execute("COMMIT")
        if mark is not None:
            mark.stamp()  # before anybody is told
    except BaseException as error:  # noqa: BLE001 - every caller must hear of it
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        outcomes = [(None, Unavailable(str(error)))] * len(batch)
    for job, (result, failure) in zip(batch, outcomes, strict=True):
        with contextlib.suppress(RuntimeError):  # its event loop has been closed
            job.loop.call_soon_threadsafe(_tell, job.future, result, failure)


def _attempt(connection: sqlite3.Connection, verb: Verb[Any]) -> tuple[Any, BaseException | None]:
    connection.execute("SAVEPOINT verb")
    try:
        outcome: tuple[Any, BaseException | None] = (run(connection, verb), None)
    except Exception as error:
        if not connection.in_transaction:  # the engine rolled everything back (disk full)
            raise
        connection.execute("ROLLBACK TO verb")
        told = Unavailable(str(error)) if isinstance(error, sqlite3.Error) else error
        outcome = None, told
    connection.execute("RELEASE verb")
    return outcome


def _tell(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():  # the caller has gone
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)

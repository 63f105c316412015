"""How a verb is written: as a generator that yields statements and is sent their rows.

A verb knows nothing of drivers, threads or `await`. SQLite runs it to its end on
the writer's thread; PostgreSQL awaits each statement. One transaction either way,
so there is one implementation of every transition.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import insert, select, update
from sqlalchemy.sql import Executable

from watchword.store import tables

T = TypeVar("T")

Row = Mapping[str, Any]
Ask = tuple[Executable, dict[str, Any]]
Verb = Generator[Ask, Sequence[Row], T]


class Driver(Protocol):
    """Runs verbs. `durable`: acknowledged means it survives a power cut."""

    async def read(self, verb: Verb[T]) -> T:
        """Run a verb that changes nothing."""
        ...

    async def write(self, verb: Verb[T], *, durable: bool = True) -> T:
        """Run a verb in one transaction; returns after the commit."""
        ...


def audit(
    now: float,
    kind: str,
    *,
    sub: str | None = None,
    client_id: str | None = None,
    ip: str | None = None,
    detail: str | None = None,
) -> Verb[None]:
    """Record what this transaction does; it fails if the record cannot be written."""
    yield (
        insert_into(tables.audit, "at", "kind", "sub", "client_id", "ip", "detail"),
        {"at": now, "kind": kind, "sub": sub, "client_id": client_id, "ip": ip, "detail": detail},
    )


_INSERTS: dict[tuple[str, ...], Executable] = {}


def insert_into(table: Any, *columns: str) -> Executable:
    """An INSERT of the named columns, built once: drivers compile a statement by identity."""
    name = (table.name, *columns)
    if name not in _INSERTS:
        _INSERTS[name] = insert(table).values(dict.fromkeys(columns))
    return _INSERTS[name]


HEAD = select(tables.rev_head.c.seq).where(tables.rev_head.c.log_id == 0)
HEAD_LOCKED = HEAD.with_for_update()
HEAD_ADVANCED = (
    update(tables.rev_head)
    .where(tables.rev_head.c.log_id == 0)
    .values(seq=tables.rev_head.c.seq + 1)
)

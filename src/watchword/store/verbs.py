"""How a verb is written: as a generator that yields statements and is sent their rows.

A verb knows nothing of drivers, threads or `await`. SQLite runs it to its end on
the writer's thread; PostgreSQL awaits each step. One transaction either way, so there
is one implementation of every transition.

Where no statement needs to see the rows of another, a verb yields them together as a
`Take`: what decides stands in their WHERE clauses, and a server across a network
runs them all in one round trip.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Protocol, TypeVar

from sqlalchemy import bindparam, exists, insert, literal, select, update
from sqlalchemy.sql import ColumnElement, Executable

from watchword.store import tables

T = TypeVar("T")

Row = Mapping[str, Any]
Ask = tuple[Executable, dict[str, Any]]


class Take(tuple[Ask, ...]):
    """Statements that are a transaction by themselves; the verb is sent a list of rows each.

    A driver may commit each by itself, so nothing may follow one that has changed
    something, and what does follow must decide anew.
    """

    __slots__ = ()


Verb = Generator["Ask | Take", Any, T]


class Driver(Protocol):
    """Runs verbs. `durable`: acknowledged means it survives a power cut."""

    async def read(self, verb: Verb[T]) -> T:
        """Run a verb that changes nothing."""
        ...

    async def write(self, verb: Verb[T], *, durable: bool = True) -> T:
        """Run a verb in one transaction; returns after the commit."""
        ...


_INSERTS: dict[tuple[str, ...], Executable] = {}


def insert_into(table: Any, *columns: str) -> Executable:
    """An INSERT of the named columns, built once: drivers compile a statement by identity."""
    name = (table.name, *columns)
    if name not in _INSERTS:
        _INSERTS[name] = insert(table).values(dict.fromkeys(columns))
    return _INSERTS[name]


def insert_where(table: Any, values: Mapping[str, Any], *conditions: Any) -> Executable:
    """An INSERT of one row of these values, where the conditions hold."""
    row = select(*(value.label(name) for name, value in values.items())).where(*conditions)
    return insert(table).from_select(list(values), row, include_defaults=False)


def given(table: Any, *columns: str) -> dict[str, ColumnElement[Any]]:
    """Parameters for the named columns, of their types."""
    return {name: bindparam(f"{name}_", type_=table.c[name].type) for name in columns}


_RECORD = ("at", "kind", "sub", "client_id", "ip", "detail")
_BY_ITSELF = insert_where(tables.audit, given(tables.audit, *_RECORD))


def audited(
    now: float,
    kind: str,
    *,
    sub: str | None = None,
    client_id: str | None = None,
    ip: str | None = None,
    detail: str | None = None,
    by: Executable = _BY_ITSELF,
) -> Ask:
    """Record what this transaction does; it fails if the record cannot be written.

    What is done under a condition is recorded under it too, `by` an INSERT of
    `recorded_where`.
    """
    values = (now, kind, sub, client_id, ip, detail)
    return by, {f"{name}_": value for name, value in zip(_RECORD, values, strict=True)}


def recorded_where(*conditions: Any) -> Executable:
    """An INSERT into the audit table that takes place where the conditions hold."""
    return insert_where(tables.audit, given(tables.audit, *_RECORD), *conditions)


HEAD = select(tables.rev_head.c.seq).where(tables.rev_head.c.log_id == 0)
HEAD_LOCKED = HEAD.with_for_update()
NEXT = select(tables.rev_head.c.seq + 1).where(tables.rev_head.c.log_id == 0).scalar_subquery()
ENTERED = exists().where(tables.rev.c.log_id == literal(0), tables.rev.c.seq == NEXT)
HEAD_ADVANCED = (
    update(tables.rev_head)
    .where(tables.rev_head.c.log_id == 0, ENTERED)
    .values(seq=tables.rev_head.c.seq + 1)
    .returning(tables.rev_head.c.seq)
)
RECORDED_IF_ENTERED = recorded_where(ENTERED)

"""Copying a whole database into an empty one, of either kind, and going on where it broke off.

The source is locked against writers for as long as the copy takes: guards go on, logins
wait or are refused. The target says in place of its revision that it is being copied
into, so no server starts on half of it. How far each table has come is written with its
rows; a copy of a source that has changed meanwhile begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
    tuple_,
    update,
)

from watchword.errors import ConfigError
from watchword.store import schema, tables
from watchword.store.databases import driver_of
from watchword.store.schema import COPYING, HEAD
from watchword.store.sqlite import Sqlite

PAGE = 2_000  # rows in one transaction of the target
_progress = Table(
    tables.PREFIX + "copying",
    MetaData(),
    Column("name", String, primary_key=True),  # of a table; empty for the source's state
    Column("last", Text, nullable=False),
    Column("copied", BigInteger, nullable=False),
)
_OWN = (tables.version, tables.floor)  # of each database's schema, not of what it holds
_COPIED = [table for table in tables.metadata.sorted_tables if table not in _OWN]

Tell = Callable[[str, int, int], None]
"""Called with a table's name, how many of its rows are copied, and how many there are."""


class Differs(Exception):
    """What arrived is not what was sent; the copy stays marked as unfinished."""


def copy(source: str, target: str, tell: Tell = lambda *_: None) -> dict[str, int]:
    """Copy everything but rate limits; returns how many rows each table has.

    Args:
        source: the URL of a database of this version's schema.
        target: the URL of an empty one, or of one that an earlier copy did not finish.
        tell: hears of each page.

    Raises:
        ConfigError: one of them cannot be used for this.
        Differs: the counts do not agree in the end.
    """
    if source == target:
        raise ConfigError("The source is the target.", fix="name an empty database")
    giving, taking = _engine(source), _engine(target)
    try:
        with giving.connect() as given:
            _must_be_current(given)
            _lock(given)
            counts = {table.name: _count(given, table) for table in _COPIED}
            with taking.connect() as taken:
                _make_ready(taken, target, _state(given, counts))
                for table in _COPIED:
                    _copy_table(given, taken, table, counts[table.name], tell)
                _verify(taken, counts)
                _finish(taken)
        return counts
    finally:
        giving.dispose()
        taking.dispose()


def _engine(url: str) -> Engine:
    driver = driver_of(url)
    if not isinstance(driver, Sqlite):
        from watchword.store import server_schema  # noqa: PLC0415 - its driver may be missing

        return server_schema.engine_of(driver)
    if driver.in_memory:
        raise ConfigError("A database in memory cannot be copied.", fix="name a file")
    return schema.engine_of(driver.path)


def _lock(given: Connection) -> None:
    """Keep writers away; on SQLite the transaction itself does."""
    if given.dialect.name == "postgresql":
        given.execute(text("SET LOCAL lock_timeout = '10s'"))
        names = ", ".join(table.name for table in tables.metadata.sorted_tables)
        given.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(tables.version.name):
        return None
    return connection.execute(select(tables.version.c.version_num)).scalar()


def _must_be_current(given: Connection) -> None:
    revision = _revision(given)
    if revision != HEAD:
        raise ConfigError(
            f"The source is at revision {revision}; a copy needs {HEAD}.",
            why="old rows would not fit into the new tables",
            fix="migrate the source first: watchword migrate up",
        )


def _state(given: Connection, counts: Mapping[str, int]) -> str:
    """What changes with every change of the source, so that half a copy can be trusted."""
    head = given.execute(select(tables.rev_head.c.epoch, tables.rev_head.c.seq)).one()
    newest = given.execute(
        select(
            select(func.max(tables.audit.c.id)).scalar_subquery(),
            select(func.max(tables.grants.c.rotated_at)).scalar_subquery(),
            select(func.max(tables.credentials.c.updated_at)).scalar_subquery(),
        )
    ).one()
    return json.dumps([*head, *newest, counts])


def _make_ready(taken: Connection, target: str, state: str) -> None:
    revision = _revision(taken)
    taken.rollback()
    if revision is None:
        schema.prepare(driver_of(target), upgrade=False)
    elif revision == COPYING:
        known = taken.execute(select(_progress.c.last).where(_progress.c.name == "")).scalar()
        if known == state:
            return
        _progress.drop(taken)
    elif revision != HEAD or any(_count(taken, table) for table in (tables.users, tables.grants)):
        raise ConfigError(
            "The target holds data already.",
            why="a copy into it would mix two servers' users and tokens",
            fix="name an empty database",
        )
    for table in reversed(_COPIED):
        taken.execute(delete(table))
    _progress.create(taken)
    taken.execute(insert(_progress).values(name="", last=state, copied=0))
    taken.execute(update(tables.version).values(version_num=COPYING))
    taken.commit()


def _copy_table(given: Connection, taken: Connection, table: Table, total: int, tell: Tell) -> None:
    keys = list(table.primary_key.columns)
    known = taken.execute(
        select(_progress.c.last, _progress.c.copied).where(_progress.c.name == table.name)
    ).first()
    last, copied = (_read(known.last), known.copied) if known else (None, 0)
    if known is None:
        taken.execute(insert(_progress).values(name=table.name, last="[]", copied=0))
    while True:
        page = select(table).order_by(*keys).limit(PAGE)
        if last:
            page = page.where(tuple_(*keys) > tuple_(*last))
        rows = [dict(row) for row in given.execute(page).mappings()]
        if rows:
            taken.execute(insert(table), rows)
            last = [rows[-1][key.name] for key in keys]
            copied += len(rows)
            so_far = {"last": _written(last), "copied": copied}
            taken.execute(update(_progress).where(_progress.c.name == table.name).values(so_far))
        taken.commit()
        tell(table.name, copied, total)
        if len(rows) < PAGE:
            return


def _written(key: list[Any]) -> str:
    return json.dumps([{"hex": part.hex()} if isinstance(part, bytes) else part for part in key])


def _read(key: str) -> list[Any]:
    return [
        bytes.fromhex(part["hex"]) if isinstance(part, dict) else part for part in json.loads(key)
    ]


def _verify(taken: Connection, counts: Mapping[str, int]) -> None:
    for table in _COPIED:
        if (arrived := _count(taken, table)) != counts[table.name]:
            raise Differs(f"{table.name}: {arrived} rows arrived of {counts[table.name]}")


def _finish(taken: Connection) -> None:
    if taken.dialect.name == "postgresql":  # numbers that the database gives go on from here
        for table in _COPIED:
            key = table.autoincrement_column
            if key is not None:
                highest = select(func.coalesce(func.max(key), 0) + 1).scalar_subquery()
                sequence = func.pg_get_serial_sequence(table.name, key.name)
                taken.execute(select(func.setval(sequence, highest, False)))  # noqa: FBT003
    _progress.drop(taken)
    taken.execute(update(tables.version).values(version_num=HEAD))
    taken.commit()


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()

"""Behind a server's back: its rows, and databases that are emptied to be used again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from watchword.store import tables
from watchword.store.server_counters import limits


class Row(tuple[Any, ...]):  # noqa: SLOT001 - a tuple with slots cannot have names
    """A row as SQLite's: by number or by name."""

    names: dict[str, int]

    def __getitem__(self, which: Any) -> Any:
        return super().__getitem__(self.names[which] if isinstance(which, str) else which)

    def keys(self) -> list[str]:
        return list(self.names)


def _row(cursor: Any) -> Callable[[Any], Row]:
    names = {column.name: n for n, column in enumerate(cursor.description or ())}

    def made(values: Any) -> Row:
        row = Row(values)
        row.names = names
        return row

    return made


_open: dict[str, psycopg.Connection[Row]] = {}  # one for each database, for the whole run


def connection(url: str) -> psycopg.Connection[Row]:
    """A connection that stays open: a new one costs as much as twenty statements."""
    found = _open.get(url)
    if found is None or found.closed or found.broken:
        _open[url] = found = psycopg.connect(
            url, autocommit=True, row_factory=_row, options="-c lock_timeout=5s"
        )
    return found


def rows(url: str, text: str, values: tuple[Any, ...] = ()) -> list[Row]:
    found = connection(url).execute(text.replace("?", "%s"), values or None)
    return found.fetchall() if found.description else []


_NAMES = [*(table.name for table in reversed(tables.metadata.sorted_tables)), limits.name]
_AS_NEW: list[str] = []


def learn(url: str) -> None:
    """Remember what is in a new database, and how to make another like it."""
    # Of tables this small rows are deleted faster than files are replaced, which TRUNCATE does.
    _AS_NEW[:] = [f"DELETE FROM {name}" for name in _NAMES]
    with psycopg.connect(url, autocommit=True) as new:
        for name in reversed(_NAMES):
            for row in new.execute(f"SELECT * FROM {name}").fetchall():
                values = sql.SQL(", ").join(map(sql.Literal, row))
                inserted = sql.SQL(f"INSERT INTO {name} VALUES ({{}})").format(values)
                _AS_NEW.append(inserted.as_string(new))
    _AS_NEW.append("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'")


def empty(url: str) -> None:
    """Make a database as new."""
    connection(url).execute("; ".join(_AS_NEW))


def hang_up() -> None:
    """Close every connection: the server is about to stop."""
    for each in _open.values():
        each.close()
    _open.clear()

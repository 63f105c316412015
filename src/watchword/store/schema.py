"""Is the database's schema the one this code speaks? Create, upgrade, or refuse.

An empty database is created in one go from `tables.py`; an older one goes through
the migrations; a newer one is refused, because this code does not know its rules.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import Engine, create_engine, event, insert
from sqlalchemy.dialects import sqlite as dialects
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from watchword.errors import ConfigError
from watchword.seams import Unavailable
from watchword.store import tables
from watchword.store.opening import connected
from watchword.store.sqlite import Sqlite

if TYPE_CHECKING:
    from watchword.store.databases import Driver

HEAD = "0002"  # the newest revision in migrations/versions
REVISIONS = ("0001", "0002")
COPYING = "copying"  # in a revision's place: see store/copying.py
_DIALECT = dialects.dialect()


class Schema(enum.Enum):
    """How a database's schema stands to this code."""

    EMPTY = "empty"
    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"


def standing(connection: sqlite3.Connection) -> tuple[Schema, str | None]:
    """The standing, and the revision found."""
    # Asked of the catalogue: a lock or an I/O error must not pass for an empty database.
    known = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (tables.version.name,)
    ).fetchone()
    if known is None:
        return Schema.EMPTY, None
    row = connection.execute(f"SELECT version_num FROM {tables.version.name}").fetchone()  # noqa: S608
    return judged(row[0] if row else None)


def judged(revision: str | None) -> tuple[Schema, str | None]:
    """How a revision that was found stands to this code."""
    if revision == HEAD:
        return Schema.CURRENT, revision
    return (Schema.BEHIND if revision in REVISIONS else Schema.AHEAD), revision


def statements(dialect: Dialect) -> Iterator[str]:
    """What makes the newest schema, in order."""
    for table in tables.metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))


def create(connection: sqlite3.Connection) -> None:
    """Make every table, unless another process just did."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if standing(connection)[0] is Schema.EMPTY:
            for statement in statements(_DIALECT):
                connection.execute(statement)
            connection.execute(str(insert(tables.rev_head).compile(dialect=_DIALECT)), (0, 1, 0))
            connection.execute(str(insert(tables.version).compile(dialect=_DIALECT)), (HEAD,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back already
            connection.execute("ROLLBACK")
        raise


def prepare(driver: Driver, *, upgrade: bool) -> None:
    """Make sure the schema is current.

    Raises:
        ConfigError: it is behind and `upgrade` is off, or it is ahead of this code.
        Unavailable: the database cannot be read or written now.
    """
    if isinstance(driver, Sqlite):
        found, revision = _on_file(driver)
    else:
        from watchword.store import server_schema  # noqa: PLC0415 - its driver may be missing
        from watchword.store.postgres import Postgres  # noqa: PLC0415

        assert isinstance(driver, Postgres)  # noqa: S101 - there are these two
        found, revision = server_schema.made(driver)
    if revision == COPYING:
        raise ConfigError(
            "A copy into this database has not been finished.",
            why="a part of the users, grants or keys is still missing",
            fix="run the same `watchword copy` again; it goes on where it broke off",
        )
    if found is Schema.AHEAD:
        raise ConfigError(
            f"The database is at revision {revision}, which this version does not know.",
            why="a newer Watchword has migrated it; older code does not know its rules",
            fix="run the newer version, or restore a backup made before the upgrade",
        )
    if found is Schema.BEHIND:
        if not upgrade:
            raise ConfigError(
                f"The database is at revision {revision}; this version needs {HEAD}.",
                why="serving on an old schema could lose what is written",
                fix="run: watchword migrate up   (or set WATCHWORD_MIGRATE=auto)",
            )
        if isinstance(driver, Sqlite):
            migrate(driver.path)
        else:
            server_schema.migrate(driver)


def _on_file(driver: Sqlite) -> tuple[Schema, str | None]:
    connection = driver.connection
    try:
        found, revision = standing(connection)
        if found is Schema.EMPTY:
            create(connection)
    except sqlite3.Error as error:
        raise Unavailable(f"cannot prepare {driver.path}: {error}") from error
    return found, revision


def migrate(path: str, revision: str = "head") -> None:
    """Run the migrations up to `revision` on a database file."""
    engine = create_engine("sqlite://", creator=lambda: connected(path))
    # The driver leaves transactions alone, so one is begun here: a migration that is
    # interrupted leaves nothing behind, and of two processes one waits for the other.
    event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    upgrade(engine, revision)


def upgrade(engine: Engine, revision: str) -> None:
    """Run the migrations up to `revision` in one transaction of an engine."""
    from pathlib import Path  # noqa: PLC0415

    from alembic import command  # noqa: PLC0415 - a fifth of a second, needed rarely
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()

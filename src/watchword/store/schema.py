"""Is the database's schema one that this code may serve? Create, upgrade, or refuse.

An empty database is created in one go from `tables.py`; an older one goes through
the migrations. A newer one may be served as long as it says so, which it does until a
revision takes away what this code needs (`store/floor.py`).
"""

from __future__ import annotations

import enum
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, NullPool, create_engine, event, insert
from sqlalchemy.dialects import sqlite as dialects
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from watchword.errors import ConfigError
from watchword.seams import Unavailable
from watchword.store import tables
from watchword.store.mark import Mark
from watchword.store.opening import connected
from watchword.store.sqlite import Sqlite

if TYPE_CHECKING:
    from watchword.store.databases import Driver

log = logging.getLogger("watchword.store")

HEAD = "0003"  # the newest revision in migrations/versions
REVISIONS = ("0001", "0002", "0003")
FLOOR = "0003"  # the oldest revision whose code may serve the newest schema
MIGRATIONS = Path(__file__).parent / "migrations"
COPYING = "copying"  # in a revision's place: see store/copying.py
_DIALECT = dialects.dialect()


class Schema(enum.Enum):
    """How a database's schema stands to this code."""

    EMPTY = "empty"
    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"  # newer, and this code may serve it
    BEYOND = "beyond"  # newer, and it may not

    @property
    def serves(self) -> bool:
        """Whether this code may serve it as it is."""
        return self in (Schema.CURRENT, Schema.AHEAD)


def standing(connection: sqlite3.Connection) -> tuple[Schema, str | None]:
    """The standing, and the revision found."""
    # Asked of the catalogue: a lock or an I/O error must not pass for an empty database.
    known = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN (?, ?)",
        (tables.version.name, tables.floor.name),
    ).fetchall()
    names = {row[0] for row in known}
    if tables.version.name not in names:
        return Schema.EMPTY, None
    row = connection.execute(f"SELECT version_num FROM {tables.version.name}").fetchone()  # noqa: S608
    floor = None
    if tables.floor.name in names:
        floor = connection.execute(f"SELECT serves_from FROM {tables.floor.name}").fetchone()  # noqa: S608
    return judged(row[0] if row else None, floor[0] if floor else None)


def judged(revision: str | None, serves_from: str | None) -> tuple[Schema, str | None]:
    """How a revision that was found stands to this code.

    Args:
        revision: as it was found.
        serves_from: the oldest revision whose code may serve it, if it says so.
    """
    if revision == HEAD:
        return Schema.CURRENT, revision
    if revision in REVISIONS:
        return Schema.BEHIND, revision
    # Revisions are a line: whoever knows the oldest one that may serve is no older than that.
    may = revision not in (None, COPYING) and serves_from in REVISIONS
    return (Schema.AHEAD if may else Schema.BEYOND), revision


def statements(dialect: Dialect) -> Iterator[str]:
    """What makes the newest schema and the rows that it begins with, in order."""
    for table in tables.metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))
    for first in (
        insert(tables.rev_head).values(log_id=0, epoch=1, seq=0),
        insert(tables.floor).values(serves_from=FLOOR),
        insert(tables.version).values(version_num=HEAD),
    ):
        yield str(first.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def create(connection: sqlite3.Connection) -> None:
    """Make every table, unless another process just did."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if standing(connection)[0] is Schema.EMPTY:
            for statement in statements(_DIALECT):
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back already
            connection.execute("ROLLBACK")
        raise


def prepare(driver: Driver, *, upgrade: bool) -> None:
    """Make sure the schema is one that this code may serve.

    Raises:
        ConfigError: it is behind and `upgrade` is off, or beyond this code.
        Unavailable: the database cannot be read or written now.
    """
    if isinstance(driver, Sqlite):
        found, revision = _on_file(driver)
    else:
        from watchword.store import server_schema  # noqa: PLC0415 - its driver may be missing

        found, revision = server_schema.made(driver)
    if revision == COPYING:
        raise ConfigError(
            "A copy into this database has not been finished.",
            why="a part of the users, grants or keys is still missing",
            fix="run the same `watchword copy` again; it goes on where it broke off",
        )
    if found is Schema.BEYOND:
        raise ConfigError(
            f"The database is at revision {revision}, which this version may not serve.",
            why="a newer Watchword has migrated it; older code does not know its rules",
            fix="run the newer version, or restore a backup made before the upgrade",
        )
    if found is Schema.AHEAD:
        log.warning(
            "the database is at revision %s, newer than this version's %s; it may serve it still",
            revision,
            HEAD,
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
    upgrade(engine_of(path), revision)
    with suppress(OSError):  # without it others see the change half a second later
        Mark(path).stamp()


def engine_of(path: str) -> Engine:
    """A database file as SQLAlchemy works on it, a connection for each use.

    The driver leaves transactions alone, so one is begun here, and at once as a writer's:
    what is interrupted leaves nothing behind, and of two processes one waits for the other.
    """
    engine = create_engine("sqlite://", creator=lambda: connected(path), poolclass=NullPool)
    event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def upgrade(engine: Engine, revision: str) -> None:
    """Run the migrations up to `revision` in one transaction of an engine."""
    from alembic import command  # noqa: PLC0415 - a fifth of a second, needed rarely
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()

"""Is the database's schema the one this code speaks? Create, upgrade, or refuse.

An empty database is created in one go from `tables.py`; an older one goes through
the migrations; a newer one is refused, because this code does not know its rules.
"""

from __future__ import annotations

import enum
import sqlite3

from sqlalchemy import create_engine, insert
from sqlalchemy.dialects import sqlite as dialects
from sqlalchemy.schema import CreateIndex, CreateTable

from watchword.errors import ConfigError
from watchword.store import tables
from watchword.store.sqlite import Sqlite, connected

HEAD = "0001"  # the newest revision in migrations/versions
REVISIONS = ("0001",)
_DIALECT = dialects.dialect()


class Schema(enum.Enum):
    """How a database's schema stands to this code."""

    EMPTY = "empty"
    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"


def standing(connection: sqlite3.Connection) -> tuple[Schema, str | None]:
    """The standing, and the revision found."""
    try:
        row = connection.execute(f"SELECT version_num FROM {tables.version.name}").fetchone()  # noqa: S608
    except sqlite3.OperationalError:
        return Schema.EMPTY, None
    revision = row[0] if row else None
    if revision == HEAD:
        return Schema.CURRENT, revision
    return (Schema.BEHIND if revision in REVISIONS else Schema.AHEAD), revision


def create(connection: sqlite3.Connection) -> None:
    """Make every table, unless another process just did."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if standing(connection)[0] is Schema.EMPTY:
            for table in tables.metadata.sorted_tables:
                connection.execute(str(CreateTable(table).compile(dialect=_DIALECT)))
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    connection.execute(str(CreateIndex(index).compile(dialect=_DIALECT)))
            connection.execute(str(insert(tables.rev_head).compile(dialect=_DIALECT)), (0, 1, 0))
            connection.execute(str(insert(tables.version).compile(dialect=_DIALECT)), (HEAD,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def prepare(driver: Sqlite, *, upgrade: bool) -> None:
    """Make sure the schema is current.

    Raises:
        ConfigError: it is behind and `upgrade` is off, or it is ahead of this code.
    """
    driver.open()
    connection = driver.connection
    found, revision = standing(connection)
    if found is Schema.EMPTY:
        create(connection)
    elif found is Schema.AHEAD:
        raise ConfigError(
            f"The database is at revision {revision}, which this version does not know.",
            why="a newer Watchword has migrated it; older code does not know its rules",
            fix="run the newer version, or restore a backup made before the upgrade",
        )
    elif found is Schema.BEHIND:
        if not upgrade:
            raise ConfigError(
                f"The database is at revision {revision}; this version needs {HEAD}.",
                why="serving on an old schema could lose what is written",
                fix="run: watchword migrate up   (or set WATCHWORD_MIGRATE=auto)",
            )
        migrate(driver.path)


def migrate(path: str, revision: str = "head") -> None:
    """Run the migrations up to `revision` on a database file."""
    from pathlib import Path  # noqa: PLC0415

    from alembic import command  # noqa: PLC0415 - a fifth of a second, needed rarely
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine("sqlite://", creator=lambda: connected(path))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()

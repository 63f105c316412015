"""The schema on a PostgreSQL server: `schema.py`'s questions and answers, in its dialect.

Whoever creates or migrates holds what the others would need, and gives up when it
cannot have it in time: a migration never waits in front of a busy table, because all
who come later would wait behind it.
"""

from __future__ import annotations

import psycopg
from sqlalchemy import Engine, NullPool, Table, create_engine, event
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.schema import CreateTable

from watchword.errors import ConfigError
from watchword.seams import Unavailable
from watchword.store import tables
from watchword.store.connections import told
from watchword.store.postgres import Postgres
from watchword.store.schema import Schema, judged, statements, upgrade
from watchword.store.server_counters import limits

OLDEST = 150_000  # PostgreSQL 15
_TRIES = 3
_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]
TURN = f"SELECT pg_advisory_xact_lock({int.from_bytes(b'watchwd')})"
_PATIENCE = "SET LOCAL lock_timeout = '2s'"


def standing(connection: psycopg.Connection) -> tuple[Schema, str | None]:
    """The standing, and the revision found."""
    revision = _only(connection, tables.version, "version_num")
    if revision is None:
        return Schema.EMPTY, None
    floor = _only(connection, tables.floor, "serves_from")
    return judged(revision[0], floor[0] if floor else None)


def _only(connection: psycopg.Connection, table: Table, column: str) -> tuple[str | None] | None:
    """What is in a table's only row; None when there is no such table."""
    row = connection.execute("SELECT to_regclass(%s)::text", (table.name,)).fetchone()
    if row is None or row[0] is None:
        return None
    found = connection.execute(f"SELECT {column} FROM {table.name}").fetchone()  # noqa: S608
    return found or (None,)


def look(driver: Postgres) -> tuple[Schema, str | None]:
    """The standing; changes nothing.

    Raises:
        Unavailable: the server cannot be reached.
    """
    try:
        with psycopg.connect(driver.conninfo, autocommit=True, connect_timeout=5) as connection:
            return standing(connection)
    except psycopg.Error as error:
        raise Unavailable(f"cannot reach the database: {told(error)}") from error


def made(driver: Postgres) -> tuple[Schema, str | None]:
    """The standing; an empty database gets the newest schema.

    Raises:
        ConfigError: the server is too old.
        Unavailable: it cannot be reached or written to.
    """
    for left in reversed(range(_TRIES)):
        try:
            with psycopg.connect(driver.conninfo, connect_timeout=5) as connection:
                if connection.info.server_version < OLDEST:
                    raise ConfigError(
                        "The database server is too old.",
                        why="Watchword is tested from PostgreSQL 15 on",
                        fix="upgrade the server",
                    )
                found, revision = standing(connection)
                if found is Schema.EMPTY:
                    _create(connection)
                return found, revision
        except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
            continue  # another process was faster; its tables are there at the next look
        except psycopg.Error as error:
            if not left or not isinstance(error, psycopg.errors.LockNotAvailable):
                raise Unavailable(f"cannot prepare the database: {told(error)}") from error
    return look(driver)


def migrate(driver: Postgres, revision: str = "head") -> None:
    """Run the migrations up to `revision`; of several processes one does, the others wait.

    Raises:
        Unavailable: a table was busy for too long; nothing was changed.
    """
    engine = engine_of(driver)

    @event.listens_for(engine, "begin")
    def _take_turns(begun: object) -> None:
        begun.exec_driver_sql(_PATIENCE)  # type: ignore[attr-defined]
        begun.exec_driver_sql(TURN)  # type: ignore[attr-defined]

    try:
        upgrade(engine, revision)
    except Exception as error:
        cause = getattr(error, "orig", None)
        if isinstance(cause, psycopg.Error):
            raise Unavailable(f"cannot migrate the database: {told(cause)}") from error
        raise


def engine_of(driver: Postgres) -> Engine:
    """A database on a server as SQLAlchemy works on it, a connection for each use."""
    return create_engine(
        "postgresql+psycopg://",
        # Nothing is prepared: behind PgBouncer it would be left to whoever comes next.
        creator=lambda: psycopg.connect(driver.conninfo, connect_timeout=5, prepare_threshold=None),
        poolclass=NullPool,
    )


def _create(connection: psycopg.Connection) -> None:
    connection.execute(_PATIENCE)
    counters = str(CreateTable(limits).compile(dialect=_DIALECT))
    room = (
        f"ALTER TABLE {name} SET (fillfactor = {100 - share})"
        for name, share in tables.ROOM.items()
    )
    for statement in (*statements(_DIALECT), counters, *room):
        connection.execute(statement)

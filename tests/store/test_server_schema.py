"""The schema on a real PostgreSQL: made once, migrated once, the same either way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from watchword.errors import ConfigError
from watchword.seams import Unavailable
from watchword.store import schema, server_schema, tables
from watchword.store.postgres import Postgres
from watchword.store.schema import Schema

_COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
_OPTIONS = "SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL ORDER BY 1"


def described(url: str) -> list[object]:
    with psycopg.connect(url) as connection:
        found = [connection.execute(ask).fetchall() for ask in (_COLUMNS, _INDEXES, _OPTIONS)]
        for table in (tables.rev_head, tables.floor):
            found.append(connection.execute(f"SELECT * FROM {table.name}").fetchall())
        return [*found, server_schema.standing(connection)]


@pytest.mark.attack("Z-23")
def test_creating_and_migrating_give_the_identical_schema(postgres, postgres_url):
    schema.prepare(Postgres(postgres_url), upgrade=False)
    other = postgres.database(postgres_url.rsplit("/", 1)[1] + "_migrated")
    server_schema.migrate(Postgres(other))
    assert described(postgres_url) == described(other)
    names = {row[0] for row in described(postgres_url)[0]}
    assert {table.name for table in tables.metadata.sorted_tables} <= names


@pytest.mark.attack("Z-23")
def test_many_nodes_that_start_at_once_make_one_schema(postgres_url):
    with ThreadPoolExecutor(8) as nodes:
        drivers = [Postgres(postgres_url) for _ in range(8)]
        list(nodes.map(lambda driver: schema.prepare(driver, upgrade=True), drivers))
    assert server_schema.look(Postgres(postgres_url))[0] is Schema.CURRENT


def _at(url: str, revision: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(f"UPDATE {tables.version.name} SET version_num = %s", (revision,))
        connection.execute(f"UPDATE {tables.floor.name} SET serves_from = %s", (revision,))


def test_a_schema_of_another_version_is_refused(postgres_url):
    schema.prepare(Postgres(postgres_url), upgrade=False)
    _at(postgres_url, "9999")
    with pytest.raises(ConfigError, match="9999"):
        schema.prepare(Postgres(postgres_url), upgrade=True)


@pytest.mark.attack("Z-23")
def test_a_migration_waits_behind_nobody_for_long(postgres_url):
    schema.prepare(Postgres(postgres_url), upgrade=False)
    with psycopg.connect(postgres_url) as busy:
        busy.execute(server_schema.TURN)
        with pytest.raises(Unavailable, match="migrate"):
            server_schema.migrate(Postgres(postgres_url))
    server_schema.migrate(Postgres(postgres_url))


def test_a_server_that_is_not_there_is_unavailable():
    nobody = Postgres("postgresql://postgres@127.0.0.1:9/nothing")
    with pytest.raises(Unavailable, match="cannot prepare"):
        schema.prepare(nobody, upgrade=False)
    with pytest.raises(Unavailable, match="cannot reach"):
        server_schema.look(nobody)

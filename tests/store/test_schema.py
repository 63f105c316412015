"""Creating and migrating give one schema; whatever else is found is refused."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from watchword.errors import ConfigError
from watchword.seams import Unavailable
from watchword.store import schema, tables
from watchword.store.opening import connected
from watchword.store.schema import Schema
from watchword.store.sqlite import Sqlite


@pytest.fixture
def driver(tmp_path):
    with closing(Sqlite(tmp_path / "w.db")) as made:
        yield made


def described(path) -> dict[str, object]:
    """Tables, indexes and the rows a new database starts with."""
    with closing(connected(str(path))) as db:
        names = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        found: dict[str, object] = {
            name: (
                [tuple(row) for row in db.execute(f"PRAGMA table_info({name})")],
                sorted(
                    (row["name"], row["unique"], row["origin"],
                     [tuple(c) for c in db.execute(f"PRAGMA index_info({row['name']})")])
                    for row in db.execute(f"PRAGMA index_list({name})")
                ),
            )
            for name in names
        }  # fmt: skip
        for table in (tables.rev_head, tables.version, tables.floor):
            if table.name in found:
                rows = db.execute(f"SELECT * FROM {table.name}")
                found["rows of " + table.name] = [tuple(row) for row in rows]
        return found


def standing(path) -> tuple[Schema, str | None]:
    with closing(connected(str(path))) as db:
        return schema.standing(db)


@pytest.mark.attack("Z-23")
def test_creating_and_migrating_give_the_identical_schema(tmp_path, driver):
    schema.prepare(driver, upgrade=False)
    schema.migrate(str(tmp_path / "migrated.db"))
    created = described(tmp_path / "w.db")
    assert {t.name for t in tables.metadata.sorted_tables} <= set(created)
    assert created == described(tmp_path / "migrated.db")
    assert standing(tmp_path / "migrated.db") == (Schema.CURRENT, schema.HEAD)


@pytest.mark.attack("Z-23")
def test_migrating_or_preparing_again_changes_nothing(tmp_path, driver):
    schema.prepare(driver, upgrade=False)
    before = described(tmp_path / "w.db")
    schema.prepare(driver, upgrade=True)
    schema.migrate(driver.path)
    assert described(tmp_path / "w.db") == before


@pytest.mark.attack("Z-23")
def test_a_schema_from_the_future_is_refused(driver):
    schema.prepare(driver, upgrade=False)
    driver.connection.execute(f"UPDATE {tables.floor.name} SET serves_from = '9999'")
    driver.connection.execute(f"UPDATE {tables.version.name} SET version_num = '9999'")
    with pytest.raises(ConfigError, match="9999"):
        schema.prepare(driver, upgrade=True)


@pytest.mark.attack("Z-23")
@pytest.mark.parametrize("revision", schema.REVISIONS[:-1])
def test_an_older_schema_is_refused_until_an_upgrade_is_wanted(tmp_path, driver, revision):
    schema.migrate(driver.path, revision)
    driver.connection.execute(
        f"INSERT INTO {tables.signing_keys.name} VALUES ('kid', 'ES256', 1, NULL, x'00', '{{}}')"
    )
    before = described(driver.path)
    with pytest.raises(ConfigError, match="watchword migrate up"):
        schema.prepare(driver, upgrade=False)
    assert described(driver.path) == before
    schema.prepare(driver, upgrade=True)
    assert standing(driver.path) == (Schema.CURRENT, schema.HEAD)
    kept = driver.connection.execute(f"SELECT kid FROM {tables.signing_keys.name}").fetchall()
    assert [row["kid"] for row in kept] == ["kid"]
    with closing(Sqlite(tmp_path / "new.db")) as new:
        schema.prepare(new, upgrade=False)
    assert described(driver.path) == described(tmp_path / "new.db")


@pytest.mark.attack("Z-23")
def test_a_locked_database_does_not_pass_for_an_empty_one(driver, monkeypatch):
    schema.prepare(driver, upgrade=False)
    driver.close()
    monkeypatch.setattr("watchword.store.opening.BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(driver.path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable):
            schema.prepare(driver, upgrade=False)
    schema.prepare(driver, upgrade=False)


@pytest.mark.attack("Z-23")
def test_a_create_that_fails_half_way_leaves_an_empty_database(tmp_path, driver):
    with closing(connected(driver.path)) as db:
        db.execute("PRAGMA max_page_count = 6")
        with pytest.raises(sqlite3.OperationalError):
            schema.create(db)
        assert schema.standing(db) == (Schema.EMPTY, None)
        assert not db.in_transaction
    schema.prepare(driver, upgrade=False)
    assert standing(driver.path)[0] is Schema.CURRENT


_DIES = """
import os, signal, sys
from alembic import op
from watchword.store import schema
made, real = [], op.create_table
def create_table(*args, **more):
    made.append(args)
    if len(made) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **more)
op.create_table = create_table
schema.migrate(sys.argv[1])
"""


@pytest.mark.attack("Z-23")
def test_a_migration_killed_half_way_leaves_nothing_and_is_run_again(tmp_path):
    path = tmp_path / "w.db"
    killed = subprocess.run([sys.executable, "-c", _DIES, path], check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    assert standing(path) == (Schema.EMPTY, None)
    schema.migrate(str(path))
    assert standing(path) == (Schema.CURRENT, schema.HEAD)


_RACES = """
import sys
from watchword.store import schema
from watchword.store.sqlite import Sqlite
driver = Sqlite(sys.argv[2])
sys.stdout.write("ready"); sys.stdout.flush()
sys.stdin.readline()
if sys.argv[1] == "prepare":
    schema.prepare(driver, upgrade=False)
else:
    schema.migrate(driver.path)
"""


@pytest.mark.attack("Z-23")
@pytest.mark.parametrize("what", ["prepare", "migrate"])
def test_processes_that_race_make_one_schema(tmp_path, what):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACES, what, tmp_path / "w.db"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout.read(5) == b"ready"
    for racer in racers:  # all are waiting: now they start together
        racer.stdin.write(b"\n")
        racer.stdin.flush()
    for racer in racers:
        _, errors = racer.communicate(timeout=30)
        assert racer.returncode == 0, errors.decode()
    assert standing(tmp_path / "w.db") == (Schema.CURRENT, schema.HEAD)


def test_a_new_file_is_its_owner_s_alone_and_an_old_one_keeps_its_mode(tmp_path):
    path = tmp_path / "w.db"
    connected(str(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    connected(str(path)).close()
    assert path.stat().st_mode & 0o777 == 0o640

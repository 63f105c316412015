"""The oldest code that may serve: read, raised, and obeyed by whoever is older."""

from __future__ import annotations

from contextlib import closing

import pytest

from watchword.errors import ConfigError
from watchword.rules.revoking import LONGEST_LIFE
from watchword.store import floor, schema, tables
from watchword.store.databases import driver_of
from watchword.store.log import tail
from watchword.store.schema import COPYING, HEAD, Schema, judged

NOW = 1_800_000_000.0


@pytest.mark.attack("Z-22", "Z-23")
@pytest.mark.parametrize(
    ("revision", "serves_from", "found"),
    [
        (HEAD, None, Schema.CURRENT),
        (HEAD, HEAD, Schema.CURRENT),
        ("0001", None, Schema.BEHIND),
        ("9001", HEAD, Schema.AHEAD),
        ("9001", "0001", Schema.AHEAD),
        ("9002", "9001", Schema.BEYOND),
        ("9001", None, Schema.BEYOND),
        (None, HEAD, Schema.BEYOND),
        (COPYING, HEAD, Schema.BEYOND),
    ],
)
def test_what_may_be_served(revision, serves_from, found):
    assert judged(revision, serves_from) == (found, revision)
    assert found.serves is (found in (Schema.CURRENT, Schema.AHEAD))


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.sqlite), "postgresql"])
def driver(request, tmp_path):
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    else:
        url = f"sqlite:///{tmp_path}/w.db"
    with closing(driver_of(url)) as made:
        schema.prepare(made, upgrade=False)
        yield made


def newer(monkeypatch, *revisions: str) -> None:
    """From here on this code is of a later version."""
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, *revisions))


@pytest.mark.attack("Z-22")
async def test_a_floor_that_rises_is_in_the_log_once(driver, monkeypatch):
    await driver.read(floor.must_serve())
    before = await driver.read(tail(0, 1))
    assert await driver.write(floor.raised("9001", NOW))
    with pytest.raises(floor.Superseded, match="replace this process"):
        await driver.read(floor.must_serve())
    after = await driver.read(tail(0, 1))
    (entry,) = after.entries[len(before.entries) :]
    assert (entry.kind, entry.expires_at) == ("config", NOW + LONGEST_LIFE)
    assert not await driver.write(floor.raised("9001", NOW))
    assert await driver.read(tail(0, 1)) == after
    newer(monkeypatch, "9001")
    await driver.read(floor.must_serve())


@pytest.mark.attack("Z-22")
async def test_who_may_not_serve_cleans_up_nothing_and_makes_no_key(driver, build):
    url = f"sqlite:///{driver.path}" if driver.is_local else driver.conninfo
    server = build(database_url=url)
    await server.auth.start()
    await server.auth.tidy()
    server.clock.tick(server.auth.settings.key_rotate + 1)
    await driver.write(floor.raised("9001", NOW))
    with server.unchanged():
        with pytest.raises(floor.Superseded):
            await server.auth.tidy()
        with pytest.raises(floor.Superseded):
            await server.auth.signing.prepare()


def test_a_copy_is_of_this_version_whatever_the_source_was(tmp_path):
    from watchword.store.copying import copy

    for name in ("one", "two"):
        with closing(driver_of(f"sqlite:///{tmp_path}/{name}.db")) as made:
            schema.prepare(made, upgrade=False)
            if name == "one":
                made.write_now(floor.raised(HEAD, NOW))
    copy(f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/two.db")
    with closing(driver_of(f"sqlite:///{tmp_path}/two.db")) as made:
        rows = made.connection.execute(f"SELECT serves_from FROM {tables.floor.name}").fetchall()
        assert [tuple(row) for row in rows] == [(schema.FLOOR,)]


@pytest.mark.attack("Z-22")
def test_a_database_beyond_this_code_is_refused(driver):
    driver.write_now(floor.raised("9001", NOW))
    _pretend(driver, "9002")
    with pytest.raises(ConfigError, match="9002, which this version may not serve"):
        schema.prepare(driver, upgrade=True)


@pytest.mark.attack("Z-22")
def test_a_database_ahead_of_this_code_is_served_and_left_alone(driver, caplog):
    _pretend(driver, "9001")
    schema.prepare(driver, upgrade=True)
    assert "may serve it still" in caplog.text
    with pytest.raises(ConfigError, match="copy"):
        _pretend(driver, COPYING)
        schema.prepare(driver, upgrade=True)


def _pretend(driver, revision: str) -> None:
    from sqlalchemy import update

    def verb():
        yield update(tables.version).values(version_num=revision), {}

    driver.write_now(verb())

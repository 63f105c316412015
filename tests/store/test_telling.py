"""What apps want to be told of, for those who do not know the apps."""

from __future__ import annotations

import pytest

from watchword.store import schema, telling
from watchword.store.contract import NOW
from watchword.store.postgres import Postgres
from watchword.store.sqlite import Sqlite
from watchword.store.telling import FORGOTTEN

DAY = 86_400.0


@pytest.fixture(params=["file", "server"])
def driver(request, tmp_path):
    made = (
        Sqlite(tmp_path / "w.db")
        if request.param == "file"
        else Postgres(request.getfixturevalue("postgres_url"))
    )
    schema.prepare(made, upgrade=False)
    yield made
    made.close()


async def test_what_an_app_wants_is_known_for_a_week_after_it_said_so(driver):
    assert await driver.read(telling.wanted(NOW)) == set()
    await driver.write(telling.note(["token.revoked", "login.failed"], NOW))
    await driver.write(telling.note(["token.revoked", "keys.rotated"], NOW + DAY))
    both = {"login.failed", "token.revoked", "keys.rotated"}
    assert await driver.read(telling.wanted(NOW + FORGOTTEN)) == both
    assert await driver.read(telling.wanted(NOW + FORGOTTEN + 1)) == both - {"login.failed"}


async def test_it_is_said_again_once_a_day(driver):
    await driver.write(telling.note(["token.revoked"], NOW))
    assert await driver.read(telling.lately_noted(NOW + DAY)) == {"token.revoked"}
    assert await driver.read(telling.lately_noted(NOW + DAY + 1)) == set()

"""The contract, on both places a SQLite database can be."""

from __future__ import annotations

import pytest

from watchword.rules.revoking import GRACE
from watchword.seams import Tail
from watchword.store import schema
from watchword.store.contract import NOW, StoreContract
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite


def opened(path) -> SqlStore:
    store = SqlStore(Sqlite(path), token_life=600)
    schema.prepare(store.driver, upgrade=False)
    return store


class TestInMemory(StoreContract):
    @pytest.fixture
    async def store(self):
        made = opened(":memory:")
        yield made
        made.driver.close()


class TestOnDisk(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path):
        made = opened(tmp_path / "w.db")
        yield made
        made.driver.close()


@pytest.mark.attack("T-24")
async def test_the_log_is_read_anew_after_the_database_was_reopened(tmp_path):
    """Each connection counts its versions from the same number."""
    mine, theirs = opened(tmp_path / "w.db"), opened(tmp_path / "w.db")
    assert mine.news(0, 1) is None
    mine.driver.close()
    assert await theirs.revoke_token("jti", NOW + 600, NOW)
    assert [entry.seq for entry in mine.news(0, 1).entries] == [1]
    assert mine.news(1, 1) is None
    mine.driver.close()
    theirs.driver.close()


async def test_what_is_swept_from_the_log_is_no_news(tmp_path):
    store = opened(tmp_path / "w.db")
    await store.revoke_token("jti", NOW + 600, NOW)
    assert await store.sweep(NOW + 10_000 + GRACE) == 1
    assert store.news(0, 1) == Tail(1, 1, ())
    assert await store.head() == 1
    await store.revoke_token("jti2", NOW + 600, NOW)
    assert [entry.seq for entry in store.news(0, 1).entries] == [2]
    store.driver.close()

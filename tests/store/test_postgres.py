"""The contract on a real PostgreSQL, and what is its own: round trips, faults, sharing."""

from __future__ import annotations

import pytest

from watchword.store import schema
from watchword.store.contract import StoreContract
from watchword.store.postgres import Postgres
from watchword.store.sql import SqlStore


class TestContract(StoreContract):
    @pytest.fixture
    async def store(self, postgres_url):
        made = SqlStore(Postgres(postgres_url), token_life=600)
        schema.prepare(made.driver, upgrade=False)
        yield made
        made.driver.close()

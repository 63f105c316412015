"""A store over a file, and a look at its rows behind its back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Table

from watchword.store import schema, tables
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

LIFE = 600.0


@pytest.fixture
def store(tmp_path):
    made = SqlStore(Sqlite(tmp_path / "w.db"), token_life=LIFE)
    schema.prepare(made.driver, upgrade=False)
    yield made
    made.driver.close()


@pytest.fixture
def rows(store) -> Callable[[Table], list[dict[str, Any]]]:
    def look(table: Table) -> list[dict[str, Any]]:
        return [dict(row) for row in store.driver.connection.execute(f"SELECT * FROM {table.name}")]

    return look


@pytest.fixture
def trail(rows) -> Callable[[], list[str]]:
    """What the audit trail says happened, in order."""
    return lambda: [row["kind"] for row in rows(tables.audit)]

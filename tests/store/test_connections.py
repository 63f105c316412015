"""Connections to PostgreSQL that never come into anybody's hands."""

from __future__ import annotations

import asyncio
import gc

import psycopg
import pytest

from watchword.seams import Unavailable
from watchword.store.connections import Connection, Connections


@pytest.mark.parametrize(
    ("fault", "seen"),
    [(asyncio.CancelledError, asyncio.CancelledError), (psycopg.OperationalError, Unavailable)],
)
async def test_one_that_cannot_be_made_ready_is_closed(postgres_url, monkeypatch, fault, seen):
    made = []

    async def execute(connection, *_):
        made.append(connection)
        raise fault

    monkeypatch.setattr(Connection, "execute", execute)
    connections = Connections(postgres_url, most=1, patience=5, prepares=True)
    with pytest.raises(seen):
        async with connections.one():
            raise AssertionError("it is not ready")
    assert [each.closed for each in made] == [True]
    made.clear()
    gc.collect()  # one that was left open would be told of here

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import bindparam, select

from watchword.store import tables
from watchword.store.running import run
from watchword.store.verbs import insert_into

_o = tables.once
_ALL = select(_o.c.id).where(_o.c.kind == bindparam("kind"))


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:")) as made:
        yield made


def test_a_verb_is_driven_to_its_end(connection):
    connection.row_factory = sqlite3.Row
    connection.execute(f"CREATE TABLE {_o.name} (kind, id, payload, expires_at)")

    def verb():
        yield (
            insert_into(_o, "kind", "id", "payload", "expires_at"),
            {"kind": "k", "id": b"1", "payload": "p", "expires_at": 1.0},
        )
        rows = yield _ALL, {"kind": "k"}
        return [row["id"] for row in rows]

    assert run(connection, verb()) == [b"1"]


def test_what_a_verb_raises_is_raised(connection):
    def verb():
        raise LookupError("mine")
        yield

    with pytest.raises(LookupError):
        run(connection, verb())

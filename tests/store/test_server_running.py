"""Statements for PostgreSQL, numbered; what a verb is sent is in tests/store/test_postgres.py."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, select

from watchword.seams import Unavailable
from watchword.store import schema, tables
from watchword.store.postgres import Postgres
from watchword.store.server_running import numbered
from watchword.store.verbs import Take, insert_into

_o = tables.once
_ALL = select(_o.c.id).where(_o.c.kind == bindparam("kind"))


def test_parameters_stand_in_the_order_of_their_numbers():
    text, values = numbered((_ALL, {"kind": "k"}))
    assert "$1" in text
    assert values == ["k"]
    assert numbered((_ALL, {"kind": "other"}))[0] is text
    some = select(_o.c.id).where(_o.c.kind == bindparam("kind"), _o.c.expires_at > 3.0)
    assert sorted(map(str, numbered((some, {"kind": "k"}))[1])) == ["3.0", "k"]


@pytest.fixture
def driver(postgres_url):
    made = Postgres(postgres_url)
    schema.prepare(made, upgrade=False)
    yield made
    made.close()


async def test_a_take_is_sent_its_rows_and_one_that_fails_leaves_nothing(driver):
    row = {"kind": "k", "id": b"1", "payload": "p", "expires_at": 1.0}
    add = insert_into(_o, "kind", "id", "payload", "expires_at")

    def added(*rows):
        answers = yield Take((*((add, one) for one in rows), (_ALL, {"kind": "k"})))
        return [found["id"] for found in answers[-1]]

    assert await driver.write(added(row)) == [b"1"]
    with pytest.raises(Exception, match="unique"):
        await driver.write(added({**row, "id": b"2"}, row))
    assert await driver.write(added({**row, "id": b"3"})) == [b"1", b"3"]


@pytest.mark.parametrize("wrong", ["nul\0", "lone \ud800"], ids=["nul", "lone"])
async def test_a_take_that_cannot_be_sent_to_its_end_leaves_nothing(driver, wrong):
    row = {"kind": "k", "id": b"1", "payload": "p", "expires_at": 1.0}
    add = insert_into(_o, "kind", "id", "payload", "expires_at")

    def added():
        yield Take(((add, row), (add, {**row, "id": b"2", "payload": wrong})))

    with pytest.raises((Unavailable, UnicodeEncodeError)):
        await driver.write(added())
    assert await driver.read(_all_of("k")) == []


def _all_of(kind):
    return (yield _ALL, {"kind": kind})

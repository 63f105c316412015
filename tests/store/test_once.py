"""Things that work once."""

from __future__ import annotations

import asyncio

import pytest

from watchword.rules.revoking import GRACE
from watchword.seams import Unavailable
from watchword.store import tables
from watchword.store.contract import NOW


@pytest.mark.attack("Z-15")
async def test_of_many_who_ask_one_gets_it(store):
    for n in range(20):
        key = bytes([n])
        await store.put_once("code", key, f"payload {n}", NOW + 60)
        taken = await asyncio.gather(*(store.take_once("code", key, NOW) for _ in range(8)))
        assert sorted(taken, key=str) == [*[None] * 7, f"payload {n}"]


@pytest.mark.attack("T-41")
async def test_a_kind_never_answers_for_another(store):
    await store.put_once("code", b"key", "code's", NOW + 60)
    await store.put_once("ticket", b"key", "ticket's", NOW + 60)
    assert await store.take_once("device", b"key", NOW) is None
    assert await store.take_once("ticket", b"key", NOW) == "ticket's"
    assert await store.take_once("code", b"key", NOW) == "code's"  # it was left alone


async def test_after_its_time_nobody_gets_it(store):
    await store.put_once("code", b"key", "payload", NOW + 60)
    assert await store.take_once("code", b"key", NOW + 60) is None
    assert await store.take_once("code", b"key", NOW + 59) == "payload"


async def test_what_is_there_is_not_replaced(store, rows):
    await store.put_once("code", b"key", "first", NOW + 60)
    with pytest.raises(Unavailable):
        await store.put_once("code", b"key", "second", NOW + 60)
    assert [row["payload"] for row in rows(tables.once)] == ["first"]


@pytest.mark.attack("Z-15")
async def test_an_identifier_of_others_is_shown_once(store, rows):
    for name in ("a", "b", "ключ\udcff"):
        shown = await asyncio.gather(*(store.first_time("proof", name, NOW) for _ in range(8)))
        assert sorted(shown) == [*[False] * 7, True]
    assert await store.first_time("assertion", "a", NOW + 60), "another kind"
    assert not await store.first_time("proof", "a", NOW + 60), "whatever it says of its end"
    assert {row["kind"] for row in rows(tables.once)} == {"seen:proof", "seen:assertion"}
    assert all(len(row["id"]) == 32 for row in rows(tables.once))


@pytest.mark.attack("Z-30")
async def test_what_was_shown_is_swept_when_its_age_refuses_it(store):
    assert await store.first_time("proof", "a", NOW + 60)
    await store.sweep(NOW + 60)
    assert not await store.first_time("proof", "a", NOW + 60)
    await store.sweep(NOW + 60 + GRACE + 1)
    assert await store.first_time("proof", "a", NOW + 60)

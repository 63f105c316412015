"""What a sweep takes, what it leaves, and that two of them get along."""

from __future__ import annotations

import asyncio

import pytest

from watchword.rules.revoking import GRACE
from watchword.seams import Refused, Reused
from watchword.store import tables
from watchword.store.contract import (
    MOST,
    NOW,
    WINDOW,
    a_grant,
    a_key,
    another_grant,
    spend,
    token_of,
)
from watchword.store.sweeping import AUDIT_DAYS

DAY = 86_400


@pytest.mark.attack("Z-30")
async def test_two_sweeps_at_once_take_each_row_once(store, rows):
    new = await a_grant(store)
    for _ in range(40):
        await another_grant(store, new.user_id, new.client_id, expires_at=NOW + 60)
    late = NOW + 61 + GRACE
    swept = await asyncio.gather(*(store.sweep(late, most=15) for _ in range(4)))
    assert sorted(swept) == [0, 10, 15, 15]
    assert [row["id"] for row in rows(tables.grants)] == [new.id]


@pytest.mark.attack("Z-30")
async def test_a_spent_token_is_recognised_until_its_grant_ends_by_itself(store):
    new = await a_grant(store)
    await spend(store, token_of(new))
    await store.sweep(NOW + MOST)
    assert isinstance(await spend(store, token_of(new), NOW + WINDOW + 1), Reused)
    await store.sweep(NOW + MOST + GRACE)
    assert await store.grant(new.id) is not None  # revoked, and remembered as long
    await store.sweep(NOW + MOST + GRACE + 1)
    assert isinstance(await spend(store, token_of(new), NOW + WINDOW + 1), Refused)


@pytest.mark.attack("Z-16")
async def test_a_clock_that_leaps_an_hour_ahead_makes_nobody_forget(store):
    new = await a_grant(store)
    await store.revoke_grant(new.id, NOW)
    before = await store.head()
    await store.sweep(NOW + GRACE)
    assert [entry.seq for entry in store.news(0, 1).entries][-1] == before


async def test_a_thing_of_another_kind_with_the_same_digest_stays(store, rows):
    await store.put_once("code", b"key", "old", NOW)
    await store.put_once("ticket", b"key", "new", NOW + MOST)
    assert await store.sweep(NOW + 1 + GRACE) == 1
    assert [row["kind"] for row in rows(tables.once)] == ["ticket"]


async def test_a_key_goes_when_it_verifies_nothing_any_more(store):
    for n in range(2):
        await store.add_key(
            a_key("ES256", NOW + n), unless_newer_than=NOW + n - 1, retire_at=NOW + 900, now=NOW
        )
    await store.sweep(NOW + 900 + GRACE)
    assert len(await store.keys()) == 2
    await store.sweep(NOW + 901 + GRACE)
    assert [key.verifies_until for key in await store.keys()] == [None]


async def test_the_audit_trail_outlives_what_it_tells_of(store, rows):
    new = await a_grant(store)
    recorded = len(rows(tables.audit))
    await store.sweep(NOW + MOST + GRACE + 1)
    assert await store.grant(new.id) is None
    assert len(rows(tables.audit)) == recorded
    await store.sweep(NOW + AUDIT_DAYS * DAY + 1)
    assert rows(tables.audit) == []

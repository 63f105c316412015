"""Signing keys beyond the contract: kept exactly, told to guards, apart by mode."""

from __future__ import annotations

from dataclasses import replace

from watchword.rules.claims import DEV_KID
from watchword.store.contract import NOW, a_key

KEPT = {"unless_newer_than": NOW - 60, "retire_at": NOW + 900, "now": NOW}


async def test_a_key_is_kept_as_it_was_given_and_announced(store, trail):
    key = a_key("ES256", NOW)
    assert await store.add_key(key, **KEPT)
    assert await store.keys() == [key]
    assert [entry.kind for entry in store.news(0, 1).entries] == ["config"]
    assert trail() == ["key.published"]


async def test_a_key_too_many_changes_nothing(store, trail):
    key = a_key("ES256", NOW)
    await store.add_key(key, **KEPT)
    assert not await store.add_key(a_key("ES256", NOW + 1), **KEPT)
    assert await store.keys() == [key]
    assert await store.head() == 1
    assert trail() == ["key.published"]


async def test_a_key_that_was_retired_keeps_its_first_end(store):
    for n in range(3):
        added = await store.add_key(
            a_key("ES256", NOW + n),
            unless_newer_than=NOW + n - 0.5,
            retire_at=NOW + 900 + n,
            now=NOW + n,
        )
        assert added
    assert [key.verifies_until for key in await store.keys()] == [NOW + 901, NOW + 902, None]


async def test_development_s_keys_neither_stand_in_for_production_s_nor_retire_them(store):
    own = replace(a_key("ES256", NOW), kid=f"{DEV_KID}1")
    assert await store.add_key(own, **KEPT)
    production = a_key("ES256", NOW + 1)
    assert await store.add_key(production, **KEPT)
    assert [key.verifies_until for key in await store.keys()] == [None, None]

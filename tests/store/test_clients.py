"""Clients beyond the contract: every change reaches the guards and the audit trail."""

from __future__ import annotations

import pytest

from watchword.rules.scopes import Scopes
from watchword.store import clients, tables
from watchword.store.contract import NOW, a_client, a_grant, another_grant, spend, token_of

LIFE = 600.0


async def test_each_change_is_one_entry_of_the_log_and_one_of_the_trail(store, trail):
    client = a_client(auth_method="client_secret", secrets=("old",))
    await store.add_client(client, NOW)
    await store.set_client_secrets(client.id, ("new",), NOW, instead_of=("old",))
    await store.driver.write(clients.set_scopes(client.id, Scopes(("a",)), NOW, LIFE))
    await store.revoke_client(client.id, NOW)
    await store.set_client_disabled(client.id, NOW, disabled=True)
    await store.set_client_disabled(client.id, NOW, disabled=False)
    await store.remove_client(client.id, NOW)
    assert [entry.kind for entry in store.news(0, 1).entries] == ["config"] * 3 + ["client"] * 4
    assert trail() == [
        "client.created",
        "client.secret_changed",
        "client.scopes_changed",
        "client.revoked",
        "client.disabled",
        "client.enabled",
        "client.deleted",
    ]


async def test_a_refused_change_is_recorded_nowhere(store, rows):
    client = a_client(auth_method="client_secret", secrets=("old",))
    await store.add_client(client, NOW)
    before = [rows(table) for table in tables.metadata.sorted_tables]
    assert not await store.add_client(client, NOW)
    assert not await store.set_client_secrets(client.id, ("x",), NOW, instead_of=("other",))
    assert not await store.set_client_secrets("nobody", ("x",), NOW, instead_of=())
    assert not await store.set_client_disabled(client.id, NOW, disabled=False)
    assert not await store.driver.write(clients.set_scopes("nobody", Scopes(), NOW, LIFE))
    assert [rows(table) for table in tables.metadata.sorted_tables] == before


async def test_the_ceiling_of_a_client_is_changed(store):
    client = a_client()
    await store.add_client(client, NOW)
    assert await store.driver.write(clients.set_scopes(client.id, Scopes(("b", "a")), NOW, LIFE))
    assert tuple((await store.client(client.id)).scopes) == ("b", "a")


@pytest.mark.attack("T-14")
async def test_a_client_registered_again_has_none_of_its_namesake_s_grants(store):
    new = await a_grant(store)
    await store.remove_client(new.client_id, NOW)
    # A login that looked the client up before its end opens a grant after it.
    between = await another_grant(store, new.user_id, new.client_id)
    await store.add_client(a_client(new.client_id), NOW)
    for old in (new, between):
        assert (await store.grant(old.id)).owner_is_dead
        assert not hasattr(await spend(store, token_of(old)), "grant")
    fresh = await another_grant(store, new.user_id, new.client_id)
    assert (await spend(store, token_of(fresh))).grant.generation == 1

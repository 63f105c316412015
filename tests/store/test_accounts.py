"""Users beyond the contract: what the audit trail says, and what a failure leaves."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from watchword.rules.scopes import Scopes
from watchword.seams import Unavailable
from watchword.store import accounts, tables
from watchword.store.contract import NOW, a_grant, a_user, spend, token_of


async def test_what_happens_to_a_user_is_on_record(store, rows, trail):
    user = a_user()
    sub = user.account.sub
    await store.add_user(user)
    await store.set_password(sub, "upgraded", NOW, instead_of="a hash")  # nobody's business
    await store.set_password(sub, "changed", NOW)
    await store.set_disabled(sub, NOW, disabled=True)
    await store.set_disabled(sub, NOW, disabled=False)
    await store.driver.write(accounts.set_scopes(sub, Scopes(("me",)), NOW))
    assert trail() == [
        "user.created",
        "user.signed_out_everywhere",
        "user.password_changed",
        "user.disabled",
        "user.enabled",
        "user.scopes_changed",
    ]
    assert {row["sub"] for row in rows(tables.audit)} == {sub}
    assert not any("changed" in str(row["detail"]) for row in rows(tables.audit))  # no hash


async def test_what_changes_nothing_leaves_no_record(store, rows, trail):
    user = a_user()
    await store.add_user(user)
    before = trail()
    assert not await store.add_user(user)
    assert not await store.set_password("u_nobody", "new", NOW)
    assert not await store.set_disabled("u_nobody", NOW, disabled=True)
    assert not await store.driver.write(accounts.set_scopes("u_nobody", Scopes(), NOW))
    await store.ensure_user(user.account.sub, NOW)
    assert trail() == before
    assert len(rows(tables.credentials)) == 1


async def test_a_user_without_a_password_has_no_credential(store, rows):
    await store.add_user(a_user(password=None))
    assert rows(tables.credentials) == []


async def test_a_taken_subject_is_refused_like_a_taken_login(store):
    user = a_user()
    assert await store.add_user(user)
    namesake = replace(user, account=replace(user.account, username="somebody-else"))
    assert not await store.add_user(namesake)
    assert await store.user_by_login("somebody-else") is None


async def test_scopes_are_changed_without_ending_a_grant(store):
    new = await a_grant(store)
    verb = accounts.set_scopes(new.user_id, Scopes(("me",)), NOW)
    assert await store.driver.write(verb)
    found = await store.user(new.user_id)
    assert tuple(found.account.scopes) == ("me",)
    assert (await spend(store, token_of(new))).grant.generation == 1


@pytest.mark.attack("Z-28")
async def test_nothing_happens_that_cannot_be_recorded(store, rows):
    store.driver.connection.execute(
        f"CREATE TRIGGER full BEFORE INSERT ON {tables.audit.name} "
        "BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    user = a_user()
    with pytest.raises(Unavailable):
        await store.add_user(user)
    assert rows(tables.users) == rows(tables.credentials) == []


async def test_embedders_users_share_no_login(store):
    """Many subjects without a login, one of which is somebody's login."""
    await asyncio.gather(*(store.ensure_user(f"idp|{n}", NOW) for n in range(5)))
    assert await store.add_user(a_user("idp|1"))
    found = await store.user_by_login("idp|1")
    assert found.account.sub == "u_idp|1"

"""The log beyond the contract: its rows, how long they are kept, what a roll-back leaves."""

from __future__ import annotations

import asyncio

import pytest

from watchword.rules.access import LEEWAY
from watchword.rules.revoking import key8
from watchword.seams import Unavailable
from watchword.store import revocations, tables
from watchword.store.contract import NOW, a_grant, another_grant

LIFE = 600.0


async def test_an_entry_is_kept_until_every_token_it_concerns_has_run_out(store, rows):
    new = await a_grant(store)
    await store.revoke_grant(new.id, NOW)
    entry = rows(tables.rev)[-1]
    assert (entry["kind"], entry["key8"]) == ("grant", key8("grant", new.id.hex()))
    assert entry["at"] == NOW
    assert entry["expires_at"] >= NOW + LIFE + LEEWAY
    assert (await store.grant(new.id)).revoked_seq == entry["seq"] == await store.head()


async def test_a_verb_that_is_undone_leaves_no_number_behind(store, rows):
    """Gapless: a number that was given out and taken back is given out again."""

    def fails_late():
        assert (yield from revocations.revoke_token("undone", NOW + 1, NOW, LIFE))
        raise ValueError("late")

    head = await store.head()
    with pytest.raises(ValueError, match="late"):
        await store.driver.write(fails_late())
    assert await store.head() == head
    await store.revoke_token("jti", NOW + 1, NOW)
    assert [row["seq"] for row in rows(tables.rev)] == [head + 1]


async def test_what_cannot_be_logged_is_not_revoked_and_not_acknowledged(store):
    new = await a_grant(store)
    store.driver.connection.execute(
        f"CREATE TRIGGER full BEFORE INSERT ON {tables.rev.name} "
        "BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    for verb in (
        store.revoke_grant(new.id, NOW),
        store.revoke_user(new.user_id, NOW),
        store.revoke_client(new.client_id, NOW),
        store.revoke_token("jti", NOW + 1, NOW),
        store.set_password(new.user_id, "new", NOW),
        store.set_disabled(new.user_id, NOW, disabled=True),
    ):
        with pytest.raises(Unavailable):
            await verb
    assert (await store.grant(new.id)).lives(NOW)
    assert not (await store.user(new.user_id)).account.disabled


async def test_signing_out_costs_the_same_however_many_grants_there_are(store, rows):
    new = await a_grant(store)
    for _ in range(20):
        await another_grant(store, new.user_id, new.client_id)
    statements: list[str] = []
    store.driver._writer.set_trace_callback(statements.append)
    await store.revoke_user(new.user_id, NOW)
    assert not any(tables.grants.name in text for text in statements)
    for row in rows(tables.grants):
        assert (await store.grant(row["id"])).owner_is_dead


async def test_revocations_of_every_kind_at_once_are_numbered_without_gaps(store, rows):
    owned = [await a_grant(store) for _ in range(8)]
    head = await store.head()
    done = await asyncio.gather(*(
        verb
        for n, new in enumerate(owned)
        for verb in (
            store.revoke_grant(new.id, NOW),
            store.revoke_user(new.user_id, NOW),
            store.revoke_client(new.client_id, NOW),
            store.revoke_token(f"jti{n}", NOW + 1, NOW),
        )
    ))  # fmt: skip
    assert all(done)
    assert [row["seq"] for row in rows(tables.rev)] == list(range(1, head + 33))

"""Grants beyond the contract: one statement a rotation, and an ending that is durable."""

from __future__ import annotations

import asyncio

import pytest

from watchword.seams import Refused, Reused, Rotated
from watchword.store import grants, tables
from watchword.store.contract import (
    IDLE,
    NOW,
    WINDOW,
    a_grant,
    another_grant,
    spend,
    token_of,
)


@pytest.fixture
def statements(store) -> list[str]:
    found: list[str] = []
    store.driver._writer.set_trace_callback(found.append)
    return found


async def test_a_rotation_is_one_statement_that_need_not_reach_the_disk(store, statements):
    new = await a_grant(store)
    statements.clear()
    assert isinstance(await spend(store, token_of(new)), Rotated)
    assert statements[0] == "PRAGMA synchronous=NORMAL"
    assert sum(text.startswith(("UPDATE", "SELECT", "INSERT")) for text in statements) == 1


@pytest.mark.attack("Z-03")
async def test_a_grant_ended_by_a_replay_has_reached_the_disk(store, statements):
    """A power cut may take back a rotation; the end of a stolen grant it may not."""
    new = await a_grant(store)
    await spend(store, token_of(new))
    statements.clear()
    assert isinstance(await spend(store, token_of(new), NOW + WINDOW + 1), Reused)
    commits = [text for text in statements if "synchronous" in text]
    assert commits == ["PRAGMA synchronous=NORMAL", "PRAGMA synchronous=FULL"]
    first, second = "\n".join(statements).split("PRAGMA synchronous=FULL")
    entry = f"INSERT INTO {tables.rev.name} "
    assert entry not in first
    assert entry in second


async def test_a_replay_seen_where_nothing_is_durable_changes_nothing(store, rows):
    new = await a_grant(store)
    await spend(store, token_of(new))
    before = [rows(table) for table in tables.metadata.sorted_tables]
    verb = grants.rotate(
        token_of(new), NOW + WINDOW + 1, 600, window=WINDOW, idle=IDLE, durable=False
    )
    assert await store.driver.write(verb, durable=False) is None
    assert [rows(table) for table in tables.metadata.sorted_tables] == before


async def test_opening_and_ending_are_on_record(store, rows):
    new = await a_grant(store)
    await store.revoke_grant(new.id, NOW)
    replayed = await another_grant(store, new.user_id, new.client_id)
    await spend(store, token_of(replayed))
    await spend(store, token_of(replayed), NOW + 999)
    found = [
        (row["kind"], row["detail"], row["ip"])
        for row in rows(tables.audit)
        if row["detail"] is not None
    ]
    assert found == [
        ("login.succeeded", new.id.hex(), "192.0.2.1"),
        ("grant.revoked", new.id.hex(), None),
        ("login.succeeded", replayed.id.hex(), "192.0.2.1"),
        ("grant.reused", replayed.id.hex(), None),
    ]


@pytest.mark.attack("T-15", "T-16")
async def test_a_refusal_writes_nothing_at_all(store, rows):
    new = await a_grant(store)
    await spend(store, token_of(new))
    before = [rows(table) for table in tables.metadata.sorted_tables]
    for token in (
        token_of(new, proof=bytes(16)),
        token_of(new, client_id="another"),
        token_of(new, 1, grant_id=bytes(16)),
        token_of(new, 2000),
    ):
        assert isinstance(await spend(store, token, NOW + 999), Refused)
    assert [rows(table) for table in tables.metadata.sorted_tables] == before


@pytest.mark.attack("T-21")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_two_stale_tokens_in_turn_find_the_family_dead(store, order):
    new = await a_grant(store)
    for generation in range(3):
        await spend(store, token_of(new, generation))
    outcomes = [await spend(store, token_of(new, old)) for old in (*order, *order)]
    assert [type(outcome) for outcome in outcomes] == [Reused, Refused, Refused, Refused]
    assert isinstance(await spend(store, token_of(new, 3)), Refused)


@pytest.mark.attack("Z-16")
@pytest.mark.parametrize("leap", [3500.0, -3600.0, -600.0])
async def test_a_clock_that_leaps_lets_no_spent_token_work(store, leap):
    new = await a_grant(store)
    await spend(store, token_of(new), NOW)
    outcome = await spend(store, token_of(new), NOW + leap)
    assert isinstance(outcome, Reused)
    assert isinstance(await spend(store, token_of(new), NOW), Refused)


@pytest.mark.attack("Z-16")
async def test_a_clock_that_leaps_costs_an_honest_client_nothing(store):
    new = await a_grant(store)
    for generation, now in enumerate((NOW, NOW - 600, NOW + 60, NOW - 60, NOW)):
        assert isinstance(await spend(store, token_of(new, generation), now), Rotated)


@pytest.mark.attack("Z-15", "T-19")
async def test_rounds_of_races_have_one_winner_each(store):
    new = await a_grant(store)
    for generation in range(50):
        now = NOW + generation
        token = token_of(new, generation)
        outcomes = await asyncio.gather(*(spend(store, token, now) for _ in range(8)))
        assert sum(isinstance(outcome, Rotated) for outcome in outcomes) == 1
        assert {outcome.grant.generation for outcome in outcomes} == {generation + 1}

"""What is kept for functions of the app: with its change or not at all, and for one at a time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

import pytest

from watchword.events import KeysRotated, RefreshReused, Revoked, SignedIn
from watchword.seams import Refused, Reused, Unavailable
from watchword.store import outbox, schema, tables, telling
from watchword.store.contract import (
    NOW,
    WINDOW,
    a_client,
    a_grant,
    a_key,
    a_user,
    another_grant,
    spend,
    token_of,
)
from watchword.store.postgres import Postgres
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite
from watchword.store.telling import Telling

KINDS = {"login.succeeded", "token.revoked", "refresh.reused", "keys.rotated"}


class Told:
    """A store, and what it says it has done."""

    def __init__(self, driver, wanted=KINDS) -> None:
        self.events, self.commits = [], 0
        self.driver = driver
        self.wanted = set(wanted)
        telling = Telling(self.events.append, wanted=self.wanted, committed=self._committed)
        self.store = SqlStore(driver, token_life=600, telling=telling)

    async def _committed(self) -> None:
        self.commits += 1

    async def rows(self) -> list[Any]:
        return await self.driver.read(everything())

    async def kept(self) -> list[dict[str, Any]]:
        return [json.loads(row["payload"]) for row in await self.rows()]

    async def lease(self, now: float = NOW, most: int = 10, by: str = "me", kinds=KINDS):
        verb = outbox.lease(sorted(kinds), now, until=now + 60, by=by, most=most)
        return await self.driver.write(verb, durable=False)


def everything():
    return (yield tables.outbox.select().order_by(tables.outbox.c.id), {})


@pytest.fixture(params=["memory", "file", "server"])
async def told(request, tmp_path):
    if request.param == "server":
        driver = Postgres(request.getfixturevalue("postgres_url"))
    else:
        driver = Sqlite(":memory:" if request.param == "memory" else tmp_path / "w.db")
    schema.prepare(driver, upgrade=False)
    yield Told(driver)
    driver.close()


# --- kept with the change ---


async def test_each_ending_is_kept_once_with_its_change(told):
    store, (user, other), client = told.store, (a_user(), a_user()), a_client()
    for one in (user, other):
        await store.add_user(one)
    await store.add_client(client, NOW)
    grant = await another_grant(store, user.account.sub, client.id)
    sub, token = user.account.sub, ("jti", NOW + 600, NOW)
    ends = [
        (lambda: store.revoke_grant(grant.id, NOW), "grant", grant.id.hex(), True),
        (lambda: store.revoke_token(*token), "token", "jti", True),
        (lambda: store.revoke_user(sub, NOW), "user", sub, False),
        (lambda: store.set_password(sub, "new", NOW), "user", sub, False),
        (lambda: store.set_disabled(sub, NOW, disabled=True), "user", sub, True),
        (lambda: store.revoke_client(client.id, NOW), "client", client.id, False),
        (lambda: store.set_client_disabled(client.id, NOW, disabled=True), "client", client.id, True),
        (lambda: store.remove_client(client.id, NOW), "client", client.id, True),
    ]  # fmt: skip
    for end, what, target, is_over in ends:
        told.events.clear()
        before, told.commits = await told.kept(), 0
        assert await end()
        assert told.events == [Revoked(NOW, what, target)]
        assert (await told.kept())[len(before) :] == [asdict(told.events[0])]
        assert told.commits == 1
        if is_over:  # there is nothing left to end, so there is nothing to tell
            assert not await end()
            assert (len(told.events), told.commits) == (1, 1)
            assert len(await told.kept()) == len(before) + 1


async def test_nothing_is_told_of_what_ends_nothing(told):
    store, user, client = told.store, a_user(password="old"), a_client()
    await store.add_user(user)
    await store.add_client(client, NOW)
    sub = user.account.sub
    assert await store.set_password(sub, "upgraded", NOW, instead_of="old")
    assert await store.set_disabled(sub, NOW, disabled=True)
    told.events.clear()
    before = await told.kept()
    assert await store.set_disabled(sub, NOW, disabled=False)
    assert not await store.revoke_user("u_nobody", NOW)
    assert not await store.revoke_client("nobody", NOW)
    assert not await store.revoke_grant(b"nothing", NOW)
    assert not await store.revoke_token("late", NOW - 10_000, NOW)
    assert (told.events, await told.kept()) == ([], before)


async def test_a_login_is_kept_with_its_grant(told):
    new = await a_grant(told.store)
    event = SignedIn(NOW, new.user_id, new.client_id, new.id.hex(), new.ip)
    assert told.events == [event]
    assert await told.kept() == [asdict(told.events[0])]
    await told.store.set_disabled(new.user_id, NOW, disabled=True)
    before = await told.kept()
    refused = await told.store.open_grant(new, NOW + 1)  # the id is taken, the user disabled
    assert isinstance(refused, Refused)
    assert await told.kept() == before


async def test_a_reuse_is_kept_once_with_the_ending(told):
    new = await a_grant(told.store)
    await spend(told.store, token_of(new))
    told.events.clear()
    late = [spend(told.store, token_of(new), NOW + WINDOW + 1) for _ in range(4)]
    outcomes = await asyncio.gather(*late)
    assert sum(isinstance(outcome, Reused) and outcome.first for outcome in outcomes) == 1
    names = (new.user_id, new.client_id, new.id.hex())
    assert told.events == [RefreshReused(NOW + WINDOW + 1, *names)]
    assert (await told.kept())[1:] == [asdict(told.events[0])]


async def test_a_new_key_is_kept_once_of_many_who_make_one(told):
    keys = [a_key("ES256", NOW + 1) for _ in range(4)]
    added = await asyncio.gather(
        *(told.store.add_key(key, unless_newer_than=NOW, retire_at=NOW, now=NOW) for key in keys)
    )
    assert sum(added) == 1
    key = keys[added.index(True)]
    assert told.events == [KeysRotated(NOW, "ES256", key.kid, key.signs_from)]
    assert await told.kept() == [asdict(told.events[0])]


async def test_what_nobody_waits_for_costs_no_row(told):
    told.wanted.clear()
    new = await a_grant(told.store)
    await told.store.revoke_grant(new.id, NOW)
    assert [event.kind for event in told.events] == ["login.succeeded", "token.revoked"]
    assert (await told.kept(), told.commits) == ([], 0)


@pytest.mark.parametrize("path", [":memory:", "w.db"])
async def test_what_cannot_be_kept_is_not_done(tmp_path, path):
    driver = Sqlite(path if path == ":memory:" else tmp_path / path)
    schema.prepare(driver, upgrade=False)
    told = Told(driver)
    new = await a_grant(told.store)
    driver.connection.execute(
        f"CREATE TRIGGER full BEFORE INSERT ON {tables.outbox.name} "
        "BEGIN SELECT RAISE(ABORT, 'the outbox is full'); END"
    )
    told.events.clear()
    with pytest.raises(Unavailable, match="full"):
        await told.store.revoke_grant(new.id, NOW)
    with pytest.raises(Unavailable, match="full"):
        await another_grant(told.store, new.user_id, new.client_id)
    found = await told.store.grant(new.id)
    assert found.revoked_seq is None
    assert len(await told.store.grants_of(new.user_id)) == 1
    assert told.events == []
    driver.connection.execute("DROP TRIGGER full")
    assert await told.store.revoke_grant(new.id, NOW)
    driver.close()


async def test_a_sweep_takes_nothing_that_was_not_delivered(told):
    await a_grant(told.store)
    await told.store.sweep(NOW + 10 * 365 * 86_400)
    assert len(await told.kept()) == 1


# --- leased by one ---


async def some(told, count: int = 5) -> None:
    asks = [outbox.kept(Revoked(NOW + n, "token", f"t{n}")) for n in range(count)]
    await told.driver.write(outbox.keep(asks), durable=False)


async def test_of_many_who_ask_each_gets_others_and_the_oldest_first(told):
    await some(told, 40)
    leased = await asyncio.gather(
        *(told.lease(NOW + 100, most=7, by=f"worker {n}") for n in range(8))
    )
    assert all(len(kept) <= 7 for kept in leased)
    ids = [one.event.target for kept in leased for one in kept]
    assert len(ids) == len(set(ids)) == 40
    for kept in leased:
        assert kept == sorted(kept, key=lambda one: one.created_at)
    assert not await told.lease(NOW + 100)


async def test_what_is_not_due_is_left(told):
    await some(told)
    assert [one.event.at for one in await told.lease(NOW + 2)] == [NOW, NOW + 1, NOW + 2]
    assert await told.driver.read(outbox.is_due(["token.revoked"], NOW + 4))
    assert not await told.driver.read(outbox.is_due(["token.revoked"], NOW + 2))
    assert not await told.driver.read(outbox.is_due(["keys.rotated", "login.failed"], NOW + 4))


async def test_what_another_app_waits_for_is_left_to_it(told):
    await some(told)
    assert not await told.lease(NOW + 100, kinds={"keys.rotated"})
    assert len(await told.lease(NOW + 100)) == 5


async def test_a_lease_of_the_dead_runs_out_and_binds_them_if_they_are_not(told):
    await some(told, 1)
    (slow,) = await told.lease(by="slow")
    assert not await told.lease(NOW + 59, by="quick")
    (quick,) = await told.lease(NOW + 60, by="quick")
    assert (slow.tries, quick.tries, slow.event.id) == (1, 2, quick.event.id)
    assert not await told.driver.write(outbox.done(slow))
    await told.driver.write(outbox.postpone(slow, NOW + 9999, ["f"]))
    await told.driver.write(outbox.put_back([slow], NOW))
    assert not await told.driver.write(outbox.abandon(slow, outbox.kept(slow.event)))
    (row,) = await told.rows()
    assert (row["lease"], row["due_at"], row["tries"], row["heard"]) == ("quick", NOW + 120, 2, "")
    assert await told.driver.write(outbox.done(quick))
    assert await told.rows() == []


async def test_who_has_heard_is_remembered_until_all_have(told):
    await some(told, 1)
    (one,) = await told.lease()
    await told.driver.write(outbox.postpone(one, NOW + 1, ["app.second", "app.first"]))
    assert not await told.lease(NOW + 0.5)
    (again,) = await told.lease(NOW + 1)
    assert again.heard == {"app.first", "app.second"}
    await told.driver.write(outbox.postpone(again, NOW + 2, ["app.third"]))
    (last,) = await told.lease(NOW + 2)
    assert (last.heard, last.tries) == ({"app.first", "app.second", "app.third"}, 3)


async def test_what_is_put_back_was_never_taken(told):
    await some(told, 2)
    kept = await told.lease(NOW + 5)
    await told.driver.write(outbox.put_back(kept, NOW + 5))
    assert [one.tries for one in await told.lease(NOW + 5)] == [1, 1]


async def test_giving_up_and_telling_of_it_are_one(told):
    await some(told, 1)
    (one,) = await told.lease()
    assert await told.driver.write(outbox.abandon(one, outbox.kept(Revoked(NOW, "token", "x"))))
    assert [row["target"] for row in await told.kept()] == ["x"]


# --- read back ---


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        ("token.shredded", {"at": 1.0, "id": "x"}, "no event is called"),
        ("token.revoked", {"at": 1.0, "id": "x"}, "not all of"),
    ],
)
def test_an_event_of_another_version_is_no_event(kind, payload, why):
    kept = outbox.Kept(1, "me", kind, json.dumps(payload), 1.0, 1, frozenset())
    with pytest.raises(ValueError, match=why):
        _ = kept.event
    assert kept.event_id == "x"


def test_what_a_newer_version_says_besides_is_left_out():
    event = Revoked(NOW, "token", "x")
    payload = json.dumps(asdict(event) | {"colour": "red"})
    found = outbox.Kept(1, "me", event.kind, payload, NOW, 1, frozenset()).event
    assert (found, found.id) == (event, event.id)


# --- what nobody takes ---


async def test_what_no_app_wants_any_more_is_given_up_with_a_name(told):
    await some(told, 3)
    await told.driver.write(telling.note(["token.revoked"], NOW))
    asked = {"since": NOW + 2, "wanted_since": NOW}
    assert not await told.driver.read(outbox.is_overdue(**asked))
    assert not await told.driver.write(outbox.abandon_overdue(now=NOW, **asked))
    asked["wanted_since"] = NOW + 1
    assert await told.driver.read(outbox.is_overdue(**asked))
    kept = await told.kept()
    first = await told.driver.write(outbox.abandon_overdue(now=NOW + 9, most=1, **asked))
    rest = await told.driver.write(outbox.abandon_overdue(now=NOW + 9, **asked))
    assert [len(first), len(rest)] == [1, 1]  # the third is not overdue
    assert {event.event_id for event in first + rest} == {row["id"] for row in kept[:2]}
    assert {(event.event_kind, event.tries) for event in first} == {("token.revoked", 0)}


async def test_what_waits_is_counted_by_kind(told):
    assert await told.driver.read(outbox.waiting(NOW)) == []
    await some(told, 3)
    await told.driver.write(outbox.keep([outbox.kept(SignedIn(NOW, "u", "c", "g", "ip"))]))
    await told.lease(NOW)
    assert await told.driver.read(outbox.waiting(NOW + 1.5)) == [
        outbox.Waiting("login.succeeded", 1, NOW, 1),
        outbox.Waiting("token.revoked", 2, NOW, 1),
    ]


async def test_an_opened_grant_is_told_after_all_is_true(told):
    """Whoever is told can look, and finds what it is told of."""
    seen = []

    async def committed() -> None:
        seen.append([grant.id.hex() for grant in await told.store.grants_of(user.account.sub)])

    user, client = a_user(), a_client()
    told.store = SqlStore(
        told.driver, token_life=600, telling=Telling(wanted=KINDS, committed=committed)
    )
    await told.store.add_user(user)
    await told.store.add_client(client, NOW)
    new = await another_grant(told.store, user.account.sub, client.id)
    assert seen == [[new.id.hex()]]

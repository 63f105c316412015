"""The log as guards read it, on either database: one snapshot, and epochs that never repeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from watchword.guard.revocations import Revocations
from watchword.rules.access import AccessToken
from watchword.rules.revoking import key8
from watchword.rules.scopes import NONE
from watchword.seams import NewGrant, Refused, Rotated, Tail
from watchword.store import schema, tables
from watchword.store.contract import NOW, a_client, a_grant, another_grant, spend, token_of
from watchword.store.postgres import Postgres
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

MARGIN = 2**20


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request, tmp_path) -> AsyncIterator[SqlStore]:
    if request.param == "sqlite":
        driver = Sqlite(tmp_path / "w.db")
    else:
        driver = Postgres(request.getfixturevalue("postgres_url"))
    made = SqlStore(driver, token_life=600)
    schema.prepare(made.driver, upgrade=False)
    yield made
    made.driver.close()


async def revoke(store: SqlStore, *names: str) -> None:
    for name in names:
        assert await store.revoke_token(name, NOW + 600, NOW)


def named(tail: Tail) -> list[int]:
    return [entry.key for entry in tail.entries]


async def test_a_tail_is_what_is_behind_a_position(store) -> None:
    assert await store.tail(0, 1) == Tail(1, 0, ())
    await revoke(store, "a", "b", "c")
    tail = await store.tail(1, 1)
    assert (tail.epoch, tail.seq) == (1, 3)
    assert named(tail) == [key8("jti", "b"), key8("jti", "c")]
    assert [entry.seq for entry in tail.entries] == [2, 3]
    assert {entry.kind for entry in tail.entries} == {"jti"}
    assert all(entry.expires_at > NOW + 600 for entry in tail.entries)
    assert await store.tail(3, 1) == Tail(1, 3, ())
    assert await store.position() == (1, 3)


@pytest.mark.parametrize(("after", "epoch"), [(2, 0), (2, 7), (4, 1), (10**15, 1)])
async def test_of_another_past_everything_is_told(store, after, epoch) -> None:
    await revoke(store, "a", "b", "c")
    tail = await store.tail(after, epoch)
    assert (tail.epoch, tail.seq, len(tail.entries)) == (1, 3, 3)


async def test_head_and_entries_are_of_one_moment(store) -> None:
    """While others revoke, no tail has a head without its entries, nor entries beyond it."""
    writing = asyncio.create_task(revoke(store, *(f"j{n}" for n in range(200))))
    position = 0
    while not writing.done():
        tail = await store.tail(position, 1)
        assert [entry.seq for entry in tail.entries] == list(range(position + 1, tail.seq + 1))
        position = tail.seq
        await asyncio.sleep(0)
    assert (await store.tail(position, 1)).seq == 200


async def test_a_tail_is_one_statement_that_walks_an_index(tmp_path) -> None:
    store = SqlStore(Sqlite(tmp_path / "w.db"), token_life=600)
    schema.prepare(store.driver, upgrade=False)
    texts: list[str] = []
    store.driver.connection.set_trace_callback(texts.append)
    await store.tail(0, 1)
    store.driver.connection.set_trace_callback(None)
    assert len(texts) == 1
    plan = store.driver.connection.execute(f"EXPLAIN QUERY PLAN {texts[0]}").fetchall()
    (steps,) = [[row["detail"] for row in plan]]
    assert any("(log_id=? AND seq>?)" in step for step in steps), steps
    store.driver.close()


# --- whether one token is over ---


async def ended(store: SqlStore, new: NewGrant | None, rev: int, **more: object) -> bool:
    asked = {
        "grant_id": new.id if new else None,
        "user_id": new.user_id if new else "u_nobody",
        "client_id": new.client_id if new else "nobody",
        "jti": "j1",
        "rev": rev,
        **more,
    }
    return await store.is_revoked(**asked)


async def test_one_token_is_over_when_anything_has_ended_it(store) -> None:
    new = await a_grant(store)
    rev = await store.head()
    assert not await ended(store, new, rev)
    assert not await ended(store, new, rev, user_id="u_unknown_here")  # an embedder's own users
    assert await ended(store, new, rev, grant_id=bytes(16)), "a grant nobody knows"
    assert await ended(store, new, rev, client_id="removed")
    await revoke(store, "j1")
    assert await ended(store, new, rev) and not await ended(store, new, rev, jti="j2")
    await store.revoke_grant(new.id, NOW)
    assert await ended(store, new, rev, jti="j2")
    assert not await ended(store, new, rev, jti="j2", grant_id=None)


@pytest.mark.parametrize("kind", ["user", "client"])
async def test_what_ends_by_position_ends_what_was_before(store, kind) -> None:
    new = await a_grant(store)
    rev = await store.head()
    verb = store.revoke_user(new.user_id, NOW) if kind == "user" else None
    assert await (verb or store.revoke_client(new.client_id, NOW))
    assert await ended(store, new, rev)
    assert not await ended(store, new, await store.head())
    assert await store.remove_client(new.client_id, NOW)
    assert await ended(store, new, await store.head())


async def test_a_machines_token_has_no_grant(store) -> None:
    client = a_client()
    await store.add_client(client, NOW)
    asked = {"grant_id": None, "user_id": client.id, "client_id": client.id}
    rev = await store.head()
    assert not await ended(store, None, rev, **asked)
    await store.revoke_client(client.id, NOW)
    assert await ended(store, None, rev, **asked)


# --- a new epoch ---


@pytest.mark.attack("Z-31")
async def test_a_new_epoch_ends_everything_of_before(store, trail_of) -> None:
    new = await a_grant(store)
    rev = await store.head()
    lost = 10**6  # a token of the time that was lost carries a greater number than this log has
    epoch, seq = await store.bump_epoch(NOW, end_everything=True)
    assert (epoch, seq) == (int(NOW), (int(NOW) << 20) + 1) == await store.position()
    assert seq > lost + MARGIN
    (entry,) = [entry for entry in (await store.tail(0, 0)).entries if entry.kind == "all"]
    assert entry.seq == seq
    known = Revocations(Everything(await store.tail(0, 0)))
    known.catch_up(NOW)
    for number in (rev, lost, seq - 1):
        assert known.refuse(token(new, number)) and await ended(store, new, number)
    assert not known.refuse(token(new, seq))
    assert isinstance(await spend(store, token_of(new)), Refused)
    later = await another_grant(store, new.user_id, new.client_id)
    outcome = await spend(store, token_of(later))
    assert isinstance(outcome, Rotated) and outcome.rev == seq
    assert not known.refuse(token(later, outcome.rev))
    assert await trail_of() == [("log.restored", "everything ended")]


async def test_a_new_epoch_may_end_nothing(store, trail_of) -> None:
    new = await a_grant(store)
    before = await store.head()
    epoch, seq = await store.bump_epoch(NOW, end_everything=False)
    assert epoch > 1 and seq > before + MARGIN
    assert isinstance(await spend(store, token_of(new)), Rotated)
    assert not await ended(store, new, before)
    assert (await store.tail(before, 1)).entries[-1].kind == "config", "keys are read anew"
    assert await trail_of() == [("log.restored", "nothing ended")]
    await store.revoke_user(new.user_id, NOW)
    assert await ended(store, new, before), "a token of before is told from one of after"


@pytest.mark.attack("Z-31")
async def test_numbers_never_come_again_however_often_a_backup_is_restored(store) -> None:
    """Each restore begins from the same rows, at a later time."""
    seen: set[tuple[int, int]] = set()
    newest = (0, 0)
    for hours in range(3):
        await restored(store, 1, 5)
        at = await store.bump_epoch(NOW + 3600 * hours, end_everything=False)
        assert at > newest and at[1] > newest[1]
        for n in range(5):
            await revoke(store, f"{hours}.{n}")
            newest = await store.position()
            assert newest not in seen
            seen.add(newest)


async def test_two_epochs_in_one_second_or_with_a_clock_that_went_back(store) -> None:
    positions = [await store.bump_epoch(NOW - 100 * n, end_everything=True) for n in range(3)]
    assert positions == sorted(positions) and len({epoch for epoch, _ in positions}) == 3
    assert all(b[1] - a[1] > MARGIN for a, b in zip(positions, positions[1:], strict=False))


# --- on one machine ---


@pytest.mark.attack("Z-31")
async def test_a_reader_of_the_file_hears_of_a_restore_too(tmp_path) -> None:
    """Entries with numbers below its own were written in another past."""
    stores = [SqlStore(Sqlite(tmp_path / "w.db"), token_life=600) for _ in range(2)]
    mine, theirs = stores
    schema.prepare(mine.driver, upgrade=False)
    known = Revocations(mine)
    await revoke(theirs, "a", "b", "lost")
    known.catch_up(NOW)
    assert len(known) == 3
    changes = known.changes
    await restored(theirs, 1, 1)
    known.catch_up(NOW)
    assert known.changes == changes + 1 and known.position == 1
    await revoke(theirs, "new")
    known.catch_up(NOW)
    assert known.refuse(machine("new")) and known.refuse(machine("lost"))
    await theirs.driver.write(moved(1, 2, jti=key8("jti", "unseen")))
    await theirs.bump_epoch(NOW, end_everything=False)
    known.catch_up(NOW)
    assert known.refuse(machine("unseen")), "its number was below what had been read"
    assert known.epoch == int(NOW)
    for store in stores:
        store.driver.close()


# --- means ---


class Everything:
    def __init__(self, tail: Tail) -> None:
        self.tail = tail

    def news(self, after: int, epoch: int) -> Tail | None:
        return None if after == self.tail.seq else self.tail


def token(new: NewGrant, rev: int) -> AccessToken:
    return AccessToken(
        new.user_id, new.client_id, NONE, "i", ("r",), NOW, {}, fid=new.id.hex(), rev=rev
    )  # fmt: skip


def machine(jti: str) -> AccessToken:
    return AccessToken("app", "app", NONE, "i", ("r",), NOW, {}, jti=jti, rev=0)


def moved(epoch: int, seq: int, *, jti: int | None = None):
    """The head and the entries as a backup had them; `jti` is one that it alone has."""
    yield tables.rev.delete().where(tables.rev.c.seq > seq), {}
    if jti is not None:
        yield tables.rev.update().where(tables.rev.c.seq == seq).values(key8=jti), {}
    yield tables.rev_head.update().values(epoch=epoch, seq=seq), {}


async def restored(store: SqlStore, epoch: int, seq: int) -> None:
    await store.driver.write(moved(epoch, seq))


@pytest.fixture
def trail_of(store):
    def read():
        table = tables.audit
        rows = yield table.select().where(table.c.kind == "log.restored"), {}
        return [(row["kind"], row["detail"]) for row in rows]

    return lambda: store.driver.read(read())


async def test_a_page_is_the_beginning_of_a_tail(store) -> None:
    assert await store.page(0, 1, 3) == Tail(1, 0, ())
    await revoke(store, *"abcde")
    for after, epoch in ((0, 1), (2, 1), (0, 9), (7, 1)):
        whole = await store.tail(after, epoch)
        for most in (1, 2, 3, 4, 5, 6):
            entries, more = list(whole.entries[:most]), len(whole.entries) > most
            page = await store.page(after, epoch, most)
            assert (list(page.entries), page.more) == (entries, more)
            assert page.seq == (entries[-1].seq if more else 5) and page.epoch == 1
    assert await store.page(5, 1, 3) == Tail(1, 5, ())

"""Following a log elsewhere: what is proven, and that nothing is believed without proof."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from watchword.crypto import jose
from watchword.crypto.jose import KeySet
from watchword.crypto.jwk import SigningKey, new_private_key
from watchword.errors import InvalidToken
from watchword.guard import following
from watchword.guard.following import Follower
from watchword.guard.freshness import HOWEVER_OLD, Asked, Stale
from watchword.guard.verifier import Verifier
from watchword.rules.access import AccessToken, Expectation
from watchword.rules.revoking import GRACE
from watchword.rules.scopes import NONE
from watchword.seams import Tail, Unavailable
from watchword.store import schema
from watchword.store.contract import a_client, a_user
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

NOW = 1_800_000_000.0
S = 2.0
ANEW = Asked(within=0)


class Feed:
    """A real log behind a transport that does what a test says."""

    def __init__(self, store: SqlStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.sent: list[float] = []
        self.away = False
        self.takes = 0.0  # seconds until an answer is there; the log is read before
        self.age = 0.0
        self.hold: asyncio.Event | None = None
        self.altered: Callable[[Tail], Tail] = lambda tail: tail

    async def tail(self, after: int, epoch: int) -> Tail:
        self.sent.append(self.clock())
        if self.away:
            raise Unavailable("the cable is cut")
        found = await self.store.tail(after, epoch)
        if self.hold is not None:
            await self.hold.wait()
        self.clock.time += self.takes
        return self.altered(Tail(found.epoch, found.seq, found.entries, self.age))


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def feed(clock) -> AsyncIterator[Feed]:
    store = SqlStore(Sqlite(":memory:"), token_life=600)
    schema.prepare(store.driver, upgrade=False)
    yield Feed(store, clock)
    store.driver.close()


@pytest.fixture
async def known(feed, clock) -> AsyncIterator[Follower]:
    made = Follower(feed, max_stale=S, now=lambda: NOW, monotonic=clock)
    yield made
    made.close()
    await asyncio.sleep(0)


def token(jti: str = "j1", rev: int = 0, **more: str) -> AccessToken:
    return AccessToken("u1", "app", NONE, "i", ("r",), NOW + 600, {}, jti=jti, rev=rev, **more)


async def revoke(feed: Feed, jti: str = "j1") -> None:
    assert await feed.store.revoke_token(jti, NOW + 600, NOW)


async def polled(feed: Feed, known: Follower) -> None:
    """Wait until a poll that is sent from here on has been answered."""
    await known.meet(ANEW)


# --- the proof ---


async def test_nothing_is_decided_before_the_first_poll(feed, known) -> None:
    await revoke(feed)
    for asked in (Asked(), Asked(tolerated=1e9)):
        with pytest.raises(Stale, match="never"):
            known.catch_up(NOW, asked)
    known.catch_up(NOW, HOWEVER_OLD)
    await known.start(NOW)
    known.catch_up(NOW)
    assert known.refuse(token()) and not known.refuse(token("j2"))


async def test_a_follower_that_cannot_begin_says_so_and_begins_later(feed, known) -> None:
    feed.away = True
    with pytest.raises(Unavailable):
        await known.start(NOW)
    feed.away = False
    async with asyncio.timeout(5):
        while True:
            try:
                await known.start(NOW)
                break
            except Unavailable:
                await asyncio.sleep(0.01)
    known.catch_up(NOW)


async def test_knowledge_is_as_old_as_its_question_not_as_its_answer(feed, known, clock) -> None:
    feed.takes = 1.5
    await known.poll()
    assert clock() - known.fresh_at == 1.5
    clock.time += 0.5
    known.catch_up(NOW)  # just in time
    clock.time += 0.001
    with pytest.raises(Stale, match=r"2\.0 s ago"):
        known.catch_up(NOW)


async def test_what_the_answerer_did_not_know_is_not_known_here(feed, known, clock) -> None:
    feed.age = 1.75
    await known.poll()
    assert known.lasts() == 0.25
    clock.time += 0.3
    with pytest.raises(Stale):
        known.catch_up(NOW)
    feed.age = -100.0  # an answerer whose clock runs backwards gives no credit
    await known.poll()
    assert known.fresh_at == clock()


async def test_an_answer_that_is_older_than_what_is_known_takes_nothing_back(
    feed, known, clock
) -> None:
    await known.poll()
    feed.age = 1.0
    await known.poll()
    assert known.fresh_at == clock()


async def test_an_answer_that_comes_too_late_is_as_good_as_none(feed, known, clock) -> None:
    feed.takes = 2.5
    await known.poll()
    with pytest.raises(Stale):
        known.catch_up(NOW)


async def test_a_tolerance_is_counted_from_the_bound(feed, known, clock) -> None:
    await known.poll()
    clock.time += S + 10
    known.catch_up(NOW, Asked(tolerated=10))
    clock.time += 0.001
    with pytest.raises(Stale):
        known.catch_up(NOW, Asked(tolerated=10))


async def test_the_default_clock_goes_on_while_the_machine_sleeps(feed) -> None:
    import time

    made = Follower(feed)
    assert abs(made._clock() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


# --- polls that somebody waits for ---


@pytest.mark.attack("Z-09")
async def test_after_a_pause_the_first_decision_waits_for_one_poll_with_all_the_others(
    feed, known, clock
) -> None:
    await known.start(NOW)
    clock.time += 100  # the process stood still
    await revoke(feed)
    before = len(feed.sent)
    await asyncio.gather(*(known.meet() for _ in range(50)))
    known.catch_up(NOW)
    assert known.refuse(token())
    assert 1 <= len(feed.sent) - before <= 2


async def test_while_polls_fail_nobody_waits(feed, known, clock, caplog) -> None:
    await known.start(NOW)
    feed.away = True
    clock.time += 100
    with caplog.at_level(logging.WARNING, "watchword.guard"):
        with pytest.raises(Stale, match="cable is cut"):
            await known.meet()
        before = len(feed.sent)
        for _ in range(1000):
            with pytest.raises(Stale):
                await known.meet()
            with pytest.raises(Stale):
                await known.meet(ANEW)
        assert len(feed.sent) == before, "a thousand requests are no thousand polls"
        await asyncio.sleep(0.3)  # several more tries
        assert len(feed.sent) > before
    assert sum("cannot be read" in record.message for record in caplog.records) == 1
    feed.away = False
    async with asyncio.timeout(5):
        while known.lasts() <= 0:
            await asyncio.sleep(0.01)
    await known.meet()
    known.catch_up(NOW)


async def test_asking_now_is_answered_by_a_poll_sent_later_and_shared(feed, known, clock) -> None:
    await known.start(NOW)
    feed.hold = asyncio.Event()
    known.wake()
    async with asyncio.timeout(5):
        while len(feed.sent) < 2:
            await asyncio.sleep(0.001)
    await revoke(feed)  # after the poll in flight has read the log
    waiting = [asyncio.create_task(known.meet(ANEW)) for _ in range(20)]
    await asyncio.sleep(0.01)
    hold, feed.hold = feed.hold, None
    hold.set()
    await asyncio.gather(*waiting)
    assert known.refuse(token()), "the poll that was on its way did not know"
    assert len(feed.sent) == 3


async def test_knowledge_that_is_young_enough_is_not_asked_for(feed, known, clock) -> None:
    await known.start(NOW)
    await asyncio.sleep(0)
    before = len(feed.sent)
    clock.time += 0.4
    await known.meet(Asked(within=0.5))
    assert len(feed.sent) == before
    clock.time += 0.2
    await known.meet(Asked(within=0.5))
    assert len(feed.sent) == before + 1 and known.fresh_at == clock()


async def test_a_caller_who_leaves_does_not_take_the_others_along(feed, known) -> None:
    await known.start(NOW)
    feed.hold = asyncio.Event()
    first, second = (asyncio.create_task(known.meet(ANEW)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    feed.hold.set()
    await second
    assert first.cancelled()


async def test_a_poll_without_an_answer_is_given_up(feed, clock) -> None:
    known = Follower(feed, max_stale=0.2, monotonic=clock)
    feed.hold = asyncio.Event()
    with pytest.raises(Stale):
        await known.meet()
    feed.hold = None
    async with asyncio.timeout(5):
        while known.lasts() <= 0:
            await asyncio.sleep(0.01)
    known.close()


# --- positions that callers name ---


async def test_a_guard_behind_a_position_polls_before_it_decides(feed, known) -> None:
    await known.start(NOW)
    await revoke(feed)
    before = len(feed.sent)
    await known.meet(Asked(position=(1, 0)))
    await known.meet(Asked(position=(0, 10**15)))  # of an epoch that is over
    assert len(feed.sent) == before and not known.refuse(token())
    await known.meet(Asked(position=(1, 1)))
    assert len(feed.sent) == before + 1 and known.refuse(token())
    await known.meet(Asked(position=(1, 1)))
    assert len(feed.sent) == before + 1


async def test_positions_that_nobody_has_reached_do_not_make_a_guard_poll_at_will(feed) -> None:
    known = Follower(feed, max_stale=60.0)
    await known.start(NOW)
    loop = asyncio.get_running_loop()
    began, before, decided = loop.time(), len(feed.sent), 0

    async def ask() -> None:
        nonlocal decided
        while loop.time() < began + 0.5:
            await known.meet(Asked(position=(1, 10**15)))
            known.catch_up(NOW)
            decided += 1

    await asyncio.gather(*(ask() for _ in range(50)))
    took = loop.time() - began
    assert len(feed.sent) - before <= took / following._TURN + 2
    assert decided >= 50, "they are decided all the same"
    known.close()


# --- hints ---


async def test_a_hint_brings_the_news_at_once_from_any_thread(feed) -> None:
    known = Follower(feed, max_stale=300.0)
    await known.start(NOW)
    await revoke(feed)
    threads = [threading.Thread(target=known.wake) for _ in range(10)]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(5):
        while not known.refuse(token()):
            await asyncio.sleep(0.001)
    for thread in threads:
        thread.join()
    known.close()


async def test_many_hints_are_as_one(feed) -> None:
    known = Follower(feed, max_stale=300.0)
    await known.start(NOW)
    before = len(feed.sent)
    for _ in range(1000):
        known.wake()
    await asyncio.sleep(0.05)
    assert len(feed.sent) == before + 1
    known.close()


async def test_a_hint_during_a_poll_is_not_taken_for_answered(feed) -> None:
    known = Follower(feed, max_stale=300.0)
    await known.start(NOW)
    feed.hold = asyncio.Event()
    known.wake()
    await asyncio.sleep(0.02)
    await revoke(feed)
    known.wake()
    hold, feed.hold = feed.hold, None
    hold.set()
    async with asyncio.timeout(5):
        while not known.refuse(token()):
            await asyncio.sleep(0.001)
    known.close()


@pytest.mark.quiet
async def test_hints_that_fail_are_asked_for_again(feed) -> None:
    tries = 0

    async def hints(wake: Callable[[], None]) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError("nobody there")
        wake()
        await asyncio.Event().wait()

    known = Follower(feed, max_stale=0.1, hints=[hints])
    await known.start(NOW)
    async with asyncio.timeout(5):
        while tries < 3:
            await asyncio.sleep(0.01)
    known.close()


# --- the log's past ---


KEY = SigningKey("k1", "ES256", new_private_key("ES256"))


class Keys:
    set = KeySet([KEY.public()])

    def current(self, now: float) -> KeySet:
        return self.set

    load = missed = None


def signed(jti: str, rev: int, sub: str = "u1") -> str:
    content = {
        "iss": "i", "sub": sub, "aud": ["r"], "client_id": "c", "jti": jti,
        "exp": int(NOW) + 600, "iat": int(NOW), "rev": rev, "scope": "a",
    }  # fmt: skip
    return jose.sign(content, KEY, "at+jwt")


def verifier(known: Follower) -> Verifier:
    return Verifier(
        Keys(), Expectation("i", "r"), types=frozenset({"at+jwt"}), revocations=known
    )  # fmt: skip


@pytest.mark.attack("Z-31")
async def test_numbers_that_come_again_are_not_taken_for_known(feed, known, caplog) -> None:
    """The log lost its end and grew to the same number: every cached token is looked at."""
    verify, mine = verifier(known), signed("mine", 0)
    for n in range(3):
        await revoke(feed, f"a{n}")
    await known.poll()
    await verify(mine, NOW)
    assert verify.recall(mine.encode(), NOW) is not None
    for table in ("watchword_rev", "watchword_rev_head"):
        where = "seq > 1" if table == "watchword_rev" else "0"
        feed.store.driver.connection.execute(f"DELETE FROM {table} WHERE {where}")
    feed.store.driver.connection.execute("UPDATE watchword_rev_head SET seq = 1")
    await known.poll()
    assert known.position == 1 and "went back from 3 to 1" in caplog.text
    assert known.refuse(token("a2")), "what was acknowledged once stays ended"
    await revoke(feed, "b")
    await revoke(feed, "mine")
    await known.poll()
    assert known.position == 3
    with pytest.raises(InvalidToken):
        await verify(mine, NOW)


@pytest.mark.attack("Z-31")
async def test_after_a_restore_nothing_of_either_past_lives(feed, known) -> None:
    """The backup knows a revocation that this guard missed, and misses one that it knows."""
    verify = verifier(known)
    await revoke(feed, "lost")
    await known.poll()
    old, fresh = signed("old", 0), signed("fresh", 10**15 * 2)
    await verify(old, NOW)
    feed.store.driver.connection.execute("UPDATE watchword_rev SET key8 = key8 + 1")  # another past
    changes = known.config_changes
    epoch, seq = await feed.store.bump_epoch(NOW, end_everything=True)
    assert epoch == int(NOW) and seq == (int(NOW) << 20) + 1
    await known.poll()
    assert (known.epoch, known.position) == (epoch, seq)
    assert known.config_changes > changes, "keys may be others"
    assert known.refuse(token("lost")) and len(known) == 3
    with pytest.raises(InvalidToken):
        await verify(old, NOW)
    assert await verify(fresh, NOW)


async def test_in_another_epoch_keys_and_clients_may_be_others(feed, known) -> None:
    await known.poll()
    before = known.config_changes
    feed.altered = lambda tail: Tail(7, tail.seq, ())
    await known.poll()
    assert known.config_changes == before + 1


async def test_an_answer_of_an_epoch_that_is_over_proves_nothing(feed, known, clock) -> None:
    """A primary that was replaced, or a backup that nobody announced."""
    await feed.store.bump_epoch(NOW, end_everything=False)
    await known.poll()
    feed.altered = lambda tail: Tail(1, tail.seq + 5, tail.entries)
    clock.time += 1
    with pytest.raises(Unavailable, match="watchword restored"):
        await known.poll()
    assert clock() - known.fresh_at == 1


async def test_entries_that_come_twice_or_in_disorder_are_taken_as_they_are(feed, known) -> None:
    user = a_user("u1")
    await feed.store.add_user(user)
    for _ in range(3):
        await feed.store.revoke_user("u_u1", NOW)
    everything = (await feed.store.tail(0, 0)).entries
    feed.altered = lambda tail: Tail(tail.epoch, tail.seq, (*everything, *everything[::-1]))
    await known.poll()
    await feed.store.revoke_user("u_u1", NOW)
    everything = (await feed.store.tail(0, 0)).entries
    await known.poll()
    of_user = AccessToken("u_u1", "app", NONE, "i", ("r",), NOW + 600, {}, rev=3)
    assert known.refuse(of_user) and len(known._ends) == 2
    assert not known.refuse(AccessToken("u_u1", "app", NONE, "i", ("r",), NOW, {}, rev=4))


# --- what is awaited while a decision is made ---


class SlowKeys(Keys):
    """They have to be loaded, and that takes a while."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def current(self, now: float) -> KeySet | None:
        return None

    async def load(self, now: float) -> KeySet:
        self.clock.time += 10
        return self.set


async def test_a_decision_is_made_by_what_is_known_when_it_is_made(feed, known, clock) -> None:
    """Keys took ten seconds: what was fresh when the request came is fresh no more."""
    await known.start(NOW)
    verify = verifier(known)
    verify.keys = SlowKeys(clock)
    await revoke(feed, "mine")
    with pytest.raises(InvalidToken):
        await verify(signed("mine", 0), NOW)
    feed.away = True
    with pytest.raises(Stale):
        await verify(signed("other", 0), NOW)


class OwnKeys(Keys):
    """Keys that are withdrawn by an entry of the log."""

    def __init__(self, known: Follower) -> None:
        self.known = known
        self.none = KeySet([])

    def current(self, now: float) -> KeySet:
        return self.none if self.known.config_changes > 1 else self.set

    async def missed(self, now: float) -> KeySet:
        return self.current(now)

    load = missed


async def test_a_key_that_was_withdrawn_meanwhile_has_signed_nothing(feed, known, clock) -> None:
    await known.start(NOW)
    verify = verifier(known)
    verify.keys = OwnKeys(known)
    for asked in (Asked(), ANEW):
        assert await verify(signed("mine", 0), NOW, asked)
    await feed.store.add_client(a_client(), NOW)
    await feed.store.add_client(a_client(), NOW)
    assert await verify(signed("mine", 0), NOW)
    with pytest.raises(InvalidToken):
        await verify(signed("mine", 0), NOW, ANEW)


# --- its life ---


@pytest.mark.parametrize("kind", ["polls", "decisions"])
async def test_what_has_run_out_is_forgotten_whoever_asks(feed, clock, kind) -> None:
    wall = NOW
    known = Follower(feed, max_stale=S, now=lambda: wall, monotonic=clock)
    await known.poll()
    for n in range(100):
        await revoke(feed, f"j{n}")
    await known.poll()
    assert len(known) == 100 == len(known._ends)
    wall = NOW + 600 + 90 + GRACE + 1
    if kind == "polls":
        await known.poll()
    else:
        known.forget(wall)
    assert len(known) == 0 == len(known._ends)


async def test_who_begins_again_knows_nothing_until_it_has_polled(feed, known) -> None:
    await known.start(NOW)
    known.catch_up(NOW)
    known.close()
    with pytest.raises(Stale):
        known.catch_up(NOW)
    await known.start(NOW)
    known.catch_up(NOW)


async def test_what_fails_because_it_was_told_to_end_is_no_fault(feed, known, caplog) -> None:
    """Another thread says so, and closes what the poll stands on."""
    before = asyncio.all_tasks()
    await known.start(NOW)
    real, ended = feed.store.tail, asyncio.Event()

    async def tail(after: int, epoch: int) -> Tail:
        thread = threading.Thread(target=known.close)
        thread.start()
        thread.join(10)
        feed.store.tail = real
        ended.set()
        raise Unavailable("pointer is NULL")

    feed.store.tail = tail
    known.wake()
    async with asyncio.timeout(10):
        await ended.wait()
    await asyncio.sleep(0.01)
    assert not caplog.records and asyncio.all_tasks() == before
    await known.meet()  # and nothing that failed stands in the way of who begins again


def closed_without_a_word(work) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(work)
    loop.close()


@pytest.mark.parametrize("run", [asyncio.run, closed_without_a_word])
def test_it_goes_on_when_its_event_loop_is_gone(tmp_path, run) -> None:
    clock = Clock()
    store = SqlStore(Sqlite(tmp_path / "w.db"), token_life=600)
    schema.prepare(store.driver, upgrade=False)
    feed = Feed(store, clock)
    known = Follower(feed, max_stale=S, monotonic=clock)

    async def decide() -> None:
        await known.meet()
        known.catch_up(NOW)

    for _ in range(3):
        clock.time += 100
        run(decide())
    known.wake()  # nobody listens, and nothing breaks
    known.close()
    store.driver.close()


def test_two_event_loops_share_one_follower(tmp_path) -> None:
    store = SqlStore(Sqlite(tmp_path / "w.db"), token_life=600)
    schema.prepare(store.driver, upgrade=False)
    feed = Feed(store, Clock())
    known = Follower(feed, max_stale=5.0)
    wrong: list[BaseException] = []

    async def ask() -> None:
        for _ in range(30):
            await known.meet(ANEW)
            known.catch_up(NOW)

    def run() -> None:
        try:
            asyncio.run(ask())
        except BaseException as error:
            wrong.append(error)

    async def both() -> None:
        await known.start(NOW)
        thread = threading.Thread(target=run)
        thread.start()
        await ask()
        await asyncio.to_thread(thread.join)

    asyncio.run(both())
    assert not wrong
    known.close()
    store.driver.close()


def test_a_loop_at_a_standstill_holds_up_no_other(tmp_path) -> None:
    """A test's own loop, say, while it talks to a client that has one for each session."""
    store = SqlStore(Sqlite(tmp_path / "w.db"), token_life=600)
    schema.prepare(store.driver, upgrade=False)
    feed = Feed(store, Clock())
    known = Follower(feed, max_stale=60.0)
    took: list[float] = []

    async def elsewhere() -> None:
        began = time.monotonic()
        await revoke(feed)
        await known.meet(ANEW)
        assert known.refuse(token())
        before, feed.hold = len(feed.sent), asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, feed.hold.set)
        await asyncio.gather(*(known.meet(ANEW) for _ in range(20)))
        assert len(feed.sent) - before <= 2, "those who wait share a poll"
        for _ in range(10):  # and positions that nobody has reached bring about few
            await known.meet(Asked(position=(1, 10**15)))
        took.append(time.monotonic() - began)
        assert len(feed.sent) - before <= 2 + took[0] / following._TURN + 2

    async def standing_still() -> None:
        await known.start(NOW)
        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        thread.join(30)

    asyncio.run(standing_still())
    assert took, "it went on"
    known.close()
    store.driver.close()


async def test_an_answer_that_another_loop_was_faster_than_takes_nothing_back(
    feed, known, caplog
) -> None:
    await known.start(NOW)
    feed.hold = asyncio.Event()
    slow = asyncio.create_task(known.poll())
    await asyncio.sleep(0.01)
    hold, feed.hold = feed.hold, None
    await revoke(feed)
    await known.poll()
    hold.set()
    await slow
    assert known.position == 1 and known.refuse(token())
    assert "went back" not in caplog.text


async def test_where_it_does_not_follow_a_poll_that_fails_is_stale(feed, known) -> None:
    await known.start(NOW)
    feed.away = True

    async def elsewhere() -> None:
        with pytest.raises(Stale, match="cut"):
            await known.meet(ANEW)

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


async def test_settled_is_when_nobody_else_can_accept(feed) -> None:
    known = Follower(feed, max_stale=0.2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await known.settled()
    assert 0.2 <= loop.time() - began < 2


async def test_an_age_of_nothing_is_no_number(known) -> None:
    assert known.fresh_at == -math.inf and known.lasts() == 0.0


# --- a log that comes in pages, or is too long ---


class Pages:
    """A feed that tells no more than so many entries at a time."""

    def __init__(self, store: SqlStore, most: int) -> None:
        self.store = store
        self.most = most
        self.asked: list[tuple[int, int]] = []
        self.fails_at = 0

    async def tail(self, after: int, epoch: int) -> Tail:
        self.asked.append((after, epoch))
        if len(self.asked) == self.fails_at:
            raise Unavailable("the cable is cut")
        return await self.store.page(after, epoch, self.most)


async def test_knowledge_is_fresh_after_the_last_page(feed, clock) -> None:
    for n in range(10):
        await revoke(feed, f"j{n}")
    pages = Pages(feed.store, 3)
    known = Follower(pages, max_stale=S, now=lambda: NOW, monotonic=clock)
    pages.fails_at = 3
    with pytest.raises(Unavailable):
        await known.poll()
    assert known.position == 6 and len(known) == 6 and known.lasts() == 0
    with pytest.raises(Stale, match="never"):
        known.catch_up(NOW)
    await known.poll()
    assert [after for after, _ in pages.asked] == [0, 3, 6, 6, 9], "what was read stays read"
    known.catch_up(NOW)
    assert all(known.refuse(token(f"j{n}")) for n in range(10))


async def test_each_page_has_its_own_time_and_the_last_one_is_the_proof(feed, clock) -> None:
    for n in range(4):
        await revoke(feed, f"j{n}")
    pages = Pages(feed.store, 1)
    known = Follower(pages, max_stale=S, now=lambda: NOW, monotonic=clock)
    page = feed.store.page

    async def slow(*asked: int) -> Tail:
        found = await page(*asked)
        clock.time += 1.5
        return found

    feed.store.page = slow
    await known.poll()
    assert known.age() == 1.5


async def test_another_epoch_in_the_middle_of_the_pages(feed, clock) -> None:
    for n in range(6):
        await revoke(feed, f"j{n}")
    pages = Pages(feed.store, 2)
    known = Follower(pages, max_stale=S, now=lambda: NOW, monotonic=clock)
    page = feed.store.page

    async def restored(*asked: int) -> Tail:
        if len(pages.asked) == 2:
            await feed.store.bump_epoch(NOW, end_everything=False)
        return await page(*asked)

    feed.store.page = restored
    await known.poll()
    assert (known.epoch, known.position) == await feed.store.position()
    assert all(known.refuse(token(f"j{n}")) for n in range(6))


async def test_pages_that_lead_nowhere_are_left(feed, clock) -> None:
    known = Follower(feed, max_stale=S, now=lambda: NOW, monotonic=clock)
    await revoke(feed)
    await known.poll()
    feed.altered = lambda tail: Tail(tail.epoch, tail.seq, (), more=True)
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable, match="nowhere"):
            await known.poll()


async def test_what_does_not_fit_is_refused_until_it_does(feed, clock) -> None:
    time = [NOW]
    known = Follower(feed, max_stale=S, now=lambda: time[0], monotonic=clock, most=3)
    for n in range(3):
        await revoke(feed, f"j{n}")
    await known.poll()
    for n in range(3, 6):
        assert await feed.store.revoke_token(f"j{n}", NOW + 9000, NOW + 8000)
    clock.time += S + 1
    for _ in range(3):
        with pytest.raises(Unavailable, match="more revocations than 3"):
            await known.poll()
        with pytest.raises(Stale):
            known.catch_up(NOW)
    assert all(known.refuse(token(f"j{n}")) for n in range(3)), "nothing is forgotten for it"
    time[0] += 600 + GRACE + 120
    await known.poll()
    known.catch_up(NOW)
    assert all(known.refuse(token(f"j{n}")) for n in range(3, 6))


async def test_a_poll_that_somebody_waits_for_is_told_from_others(feed, known, clock) -> None:
    seen = []
    feed.altered = lambda tail: seen.append(known.urgent) or tail
    await known.start(NOW)
    known.wake()
    async with asyncio.timeout(5):
        while len(seen) < 2:
            await asyncio.sleep(0.005)
    await polled(feed, known)
    known.wake()
    async with asyncio.timeout(5):
        while len(seen) < 4:
            await asyncio.sleep(0.005)
    assert seen == [True, False, True, False]


async def test_an_answerer_that_knows_less_than_asked_is_not_enough(feed, known, clock) -> None:
    feed.age = 0.5
    await known.start(NOW)
    known.catch_up(NOW)
    with pytest.raises(Stale, match="not known well enough"):
        await known.meet(ANEW)
    await known.meet(Asked(within=0.6))
    feed.age = 0.0
    await known.meet(ANEW)

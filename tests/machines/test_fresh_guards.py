"""No decision accepts what was revoked more than S seconds before it, whatever goes wrong.

The machine plays everyone around a guard that follows the log of a real store: people who
sign in and are signed out, a network that delays, loses, doubles and reorders, answers
that were made long before they arrive, a process that stands still, a database that is
restored from a backup. Time is the machine's own; only the guard's monotonic clock and the
store's commits count. After each step every token is tried by the guard's real verifier.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from watchword.crypto import jose
from watchword.crypto.jose import KeySet
from watchword.crypto.jwk import SigningKey, new_private_key
from watchword.errors import InvalidToken
from watchword.guard import revocations
from watchword.guard.following import Follower
from watchword.guard.freshness import HOWEVER_OLD, Stale
from watchword.guard.verifier import Verifier
from watchword.rules.access import Expectation
from watchword.rules.scopes import Scopes
from watchword.seams import NewGrant, Opened, Tail, Unavailable
from watchword.store import schema
from watchword.store.contract import a_client, a_user
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

S = 2.0
NOW = 1_800_000_000.0
LONG = 1e9
KEY = SigningKey("k1", "ES256", new_private_key("ES256"))
USERS = ("ada", "bob")


class Keys:
    set = KeySet([KEY.public()])

    def current(self, now: float) -> KeySet:
        return self.set

    load = missed = None


@dataclass
class Ask:
    """One poll on its way: what was asked, and what the server has said by now."""

    after: int
    epoch: int
    answer: asyncio.Future[Tail]
    said: Tail | None = None


@dataclass
class Token:
    text: str
    sub: str
    grant_id: bytes
    rev: int
    revoked_at: float | None = None  # when the commit was acknowledged


class FreshGuard(RuleBasedStateMachine):
    """A guard never accepts, at u, what was revoked before u - S."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.driver = Sqlite(":memory:")
        schema.prepare(self.driver, upgrade=False)
        self.store = SqlStore(self.driver, token_life=600)
        self.time = 0.0
        self.asks: list[Ask] = []
        self.polling: asyncio.Task[None] | None = None
        self.tokens: list[Token] = []
        self.backup: sqlite3.Connection | None = None
        self.restores = 0
        self.relay: tuple[float, Tail] | None = None
        self.begin_anew()

    def teardown(self) -> None:
        if self.polling is not None:
            self.polling.cancel()
            self.run(asyncio.gather(self.polling, return_exceptions=True))
        if self.backup is not None:
            self.backup.close()
        self.driver.close()
        self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def clock(self) -> float:
        return self.time

    async def tail(self, after: int, epoch: int) -> Tail:
        """The transport: an answer comes when a rule brings it."""
        self.asks.append(Ask(after, epoch, asyncio.get_running_loop().create_future()))
        return await self.asks[-1].answer

    # --- people ---

    @initialize()
    def begin(self) -> None:
        for name in USERS:
            assert self.run(self.store.add_user(a_user(name)))
        self.client = a_client("app")
        assert self.run(self.store.add_client(self.client, NOW))
        self.sign_in("ada")

    @rule(name=st.sampled_from(USERS))
    def sign_in(self, name: str) -> None:
        number = len(self.tokens) + 1
        new = NewGrant(
            id=number.to_bytes(16), user_id=f"u_{name}", client_id="app", scopes=Scopes(("me",)),
            audience="r", proof=bytes(16), auth_time=NOW, idle_until=NOW + LONG,
            expires_at=NOW + LONG, looked_at=self.run(self.store.head()),
        )  # fmt: skip
        opened = self.run(self.store.open_grant(new, NOW))
        assert isinstance(opened, Opened)
        content = {
            "iss": "i", "sub": new.user_id, "aud": ["r"], "client_id": "app", "scope": "me",
            "jti": f"j{number}", "fid": new.id.hex(), "rev": opened.rev,
            "exp": int(NOW + LONG), "iat": int(NOW),
        }  # fmt: skip
        text = jose.sign(content, KEY, "at+jwt")
        self.tokens.append(Token(text, new.user_id, new.id, opened.rev))

    @rule(which=st.integers(0, 9))
    def log_out(self, which: int) -> None:
        token = self.tokens[-1 - which % len(self.tokens)]
        if self.run(self.store.revoke_grant(token.grant_id, NOW)):
            self._ended(token)

    @rule(name=st.sampled_from(USERS))
    def sign_out_everywhere(self, name: str) -> None:
        assert self.run(self.store.revoke_user(f"u_{name}", NOW))
        self._ended(*(token for token in self.tokens if token.sub == f"u_{name}"))

    @rule()
    def end_a_client(self) -> None:
        assert self.run(self.store.revoke_client("app", NOW))
        self._ended(*self.tokens)

    def _ended(self, *tokens: Token) -> None:
        for token in tokens:
            if token.revoked_at is None:
                token.revoked_at = self.time

    # --- a guard and its network ---

    @rule()
    def ask(self) -> None:
        if self.polling is None or self.polling.done():
            self.polling = self.loop.create_task(self._poll())
            self._settle()

    async def _poll(self) -> None:
        try:
            await self.guard.poll()
        except Unavailable:
            return

    @precondition(lambda self: any(ask.said is None for ask in self.asks))
    @rule()
    def the_server_reads(self) -> None:
        ask = next(ask for ask in self.asks if ask.said is None)
        ask.said = self.run(self.store.tail(ask.after, ask.epoch))

    @rule()
    def a_relay_reads(self) -> None:
        """Somebody between the guard and the log, who answers by what it knew then."""
        self.relay = self.time, self.run(self.store.tail(0, 0))

    @precondition(lambda self: self.relay and any(ask.said is None for ask in self.asks))
    @rule()
    def a_relay_answers(self) -> None:
        read_at, known = self.relay
        ask = next(ask for ask in self.asks if ask.said is None)
        ask.said = Tail(known.epoch, known.seq, known.entries, self.time - read_at)
        if known.epoch == ask.epoch and known.seq >= ask.after:
            new = tuple(entry for entry in known.entries if entry.seq > ask.after)
            ask.said = Tail(known.epoch, known.seq, new, self.time - read_at)

    @precondition(lambda self: any(ask.said is not None for ask in self.asks))
    @rule(twice=st.booleans(), turned=st.booleans(), which=st.integers(0, 3))
    def an_answer_arrives(self, twice: bool, turned: bool, which: int) -> None:
        said = [ask for ask in self.asks if ask.said is not None]
        ask = said[which % len(said)]
        self.asks.remove(ask)
        tail = ask.said
        assert tail is not None
        entries = tail.entries * (2 if twice else 1)
        entries = entries[::-1] if turned else entries
        if not ask.answer.done():  # whoever asked may have given up
            ask.answer.set_result(Tail(tail.epoch, tail.seq, entries, tail.age))
        self._settle()

    @precondition(lambda self: self.asks)
    @rule(broken=st.booleans())
    def an_answer_is_lost(self, broken: bool) -> None:
        ask = self.asks.pop(0)
        if not ask.answer.done():
            if broken:
                ask.answer.set_exception(Unavailable("connection reset"))
            elif self.polling is not None:
                self.polling.cancel()  # its patience has ended
        self._settle()

    def _settle(self) -> None:
        for _ in range(3):
            self.run(asyncio.sleep(0))

    @rule(
        relayed=st.booleans(), ends=st.booleans(), which=st.integers(0, 9),
        seconds=st.sampled_from([0.0, 0.5, 1.5]),
    )  # fmt: skip
    def ask_and_hear(self, relayed: bool, ends: bool, which: int, seconds: float) -> None:
        """All of it at once, so that the guard decides most of the time, and not only refuses."""
        if self.asks or not (self.polling is None or self.polling.done()):
            return
        self.ask()
        if relayed and self.relay:
            self.a_relay_answers()
        else:
            self.the_server_reads()
        if ends:
            self.log_out(which)
        self.time += seconds
        self.an_answer_arrives(twice=False, turned=False, which=0)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, S - 0.25, S, S + 0.25, 60.0]))
    def pass_time(self, seconds: float) -> None:
        """Or stand still: a process that was stopped cannot tell the two apart."""
        self.time += seconds

    @precondition(lambda self: self.guard.changes > 2)
    @rule()
    def begin_anew(self) -> None:
        """The guard's process is restarted: it knows nothing."""
        if self.polling is not None:
            self.polling.cancel()
            self._settle()
        self.polling = None
        self.guard = Follower(self, max_stale=S, now=lambda: NOW, monotonic=self.clock)
        self.guard._patience = 3600.0  # of the event loop's time, which is not the machine's
        self.verify = Verifier(
            Keys(), Expectation("i", "r"), types=frozenset({"at+jwt"}), revocations=self.guard
        )

    # --- a database ---

    @rule()
    def back_up(self) -> None:
        if self.backup is not None:
            self.backup.close()
        self.backup = sqlite3.connect(":memory:")
        self.driver.connection.backup(self.backup)

    @precondition(lambda self: self.backup is not None and self.guard.changes > 1)
    @rule()
    def restore_and_say_so(self) -> None:
        """Everything of before ends, on both sides of the backup."""
        assert self.backup is not None
        self.backup.backup(self.driver.connection)
        self.driver._own_writes += 1
        self.restores += 1
        self.run(self.store.bump_epoch(NOW + self.restores, end_everything=True))
        self._ended(*self.tokens)

    # --- what must hold ---

    @invariant()
    def nobody_is_let_in_too_late(self) -> None:
        u = self.time
        fresh = self.guard.lasts() > 0 or u == self.guard.fresh_at + S
        for token in self.tokens:
            try:
                accepted = self._decide(token) is not None
            except Stale:
                assert not fresh, "it could have decided"
                continue
            except InvalidToken:
                assert token.revoked_at is not None, "a good token was refused"
                continue
            assert accepted and fresh, "without proof"
            late = token.revoked_at is not None and token.revoked_at < u - S
            assert not late, f"accepted at {u}, revoked at {token.revoked_at}"

    def _decide(self, token: Token) -> Any:
        found = self.verify.recall(token.text.encode(), NOW)  # raises Stale where it must
        if found is None:
            return self.run(self.verify(token.text, NOW))
        return found


BOUNDS = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
PLANTED = settings(
    BOUNDS,
    max_examples=3_000,  # the first that fails ends it; which that is hangs on this very text
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],  # it is enough to know that there is one
)


@pytest.mark.attack("Z-09", "Z-31", "Z-15")
def test_no_guard_accepts_what_was_revoked_longer_ago_than_its_bound():
    run_state_machine_as_test(FreshGuard, settings=BOUNDS)


def planted(message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        run_state_machine_as_test(FreshGuard, settings=PLANTED)


def test_the_machine_finds_a_lease_that_begins_with_the_answer(monkeypatch):
    async def poll(self: Follower) -> None:
        await real(self)
        self.fresh_at = self._clock()
        self._stale_at = self.fresh_at + self.bound

    real = Follower.poll
    monkeypatch.setattr(Follower, "poll", poll)
    planted("accepted at")


def test_the_machine_finds_an_age_that_is_not_counted(monkeypatch):
    real = FreshGuard.tail

    async def tail(self: FreshGuard, after: int, epoch: int) -> Tail:
        found = await real(self, after, epoch)
        return Tail(found.epoch, found.seq, found.entries)

    monkeypatch.setattr(FreshGuard, "tail", tail)
    planted("accepted at")


def test_the_machine_finds_a_guard_that_decides_however_old_its_knowledge(monkeypatch):
    real = Follower.catch_up
    monkeypatch.setattr(
        Follower, "catch_up", lambda self, now, asked=None: real(self, now, HOWEVER_OLD)
    )
    planted("accepted|without proof")


def test_the_machine_finds_cached_tokens_that_are_not_looked_at_again(monkeypatch):
    real = revocations.Revocations._take_in

    def take_in(self: Follower, tail: Tail) -> None:
        before = self.changes
        real(self, tail)
        if tail.epoch == self.epoch and before:
            self.changes = before

    monkeypatch.setattr(revocations.Revocations, "_take_in", take_in)
    planted("accepted at")

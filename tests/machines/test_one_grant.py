"""However clients behave, crash and retry, at most one refresh token of a grant works.

The machine plays every holder of every token a grant ever had, an administrator who
revokes, a clock that jumps, and a disk that loses what it had not made durable. After
each step all tokens are tried, each in a transaction that is rolled back: what may
not work must not work, and where a spent token comes back the newest dies with it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from sqlalchemy import and_, bindparam, update

from watchword.crypto.refresh_tokens import RefreshTokens
from watchword.rules.refresh import RefreshToken
from watchword.rules.scopes import Scopes
from watchword.seams import NewGrant, Opened, Refused, Repeated, Reused, Rotated
from watchword.store import grants, schema, tables
from watchword.store.contract import a_client, a_user
from watchword.store.running import run
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

WINDOW, IDLE = 30.0, 1e9
WRITTEN = RefreshTokens(["a server's secret, long enough to be one"])


def done(verb: Coroutine[Any, Any, Any]) -> Any:
    """Run a verb of a store in memory: it never suspends."""
    try:
        verb.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a store in memory does not wait")


@dataclass
class Chain:
    """What everybody together knows of one grant."""

    id: bytes
    issued: list[str]
    alive: bool = True
    spent: int = -1  # the newest generation that was presented and accepted
    spent_at: float = 0.0
    lost: bool = False  # the database forgot rotations that clients remember
    durable: list[tuple[Any, ...]] = field(default_factory=list)  # rows a crash may go back to


class OneGrant(RuleBasedStateMachine):
    """However a client behaves, at most one refresh token of a grant works."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Sqlite(":memory:")
        schema.prepare(self.driver, upgrade=False)
        self.store = SqlStore(self.driver, token_life=600)
        self.now = self.latest = 1_800_000_000.0
        self.user, self.client = a_user(), a_client()
        self.disabled = False
        self.chains: list[Chain] = []
        self.touched: Chain | None = None

    def teardown(self) -> None:
        self.driver.close()

    @initialize()
    def begin(self) -> None:
        assert done(self.store.add_user(self.user))
        assert done(self.store.add_client(self.client, self.now))
        self.sign_in()

    # --- what a client does ---

    @rule()
    def sign_in(self) -> None:
        number = len(self.chains) + 1
        token, proof = WRITTEN.first(number.to_bytes(16), number.to_bytes(16), self.client.id)
        new = NewGrant(
            id=number.to_bytes(16), user_id=self.user.account.sub, client_id=self.client.id,
            scopes=Scopes(("me",)), audience="https://api.example.com", proof=proof,
            auth_time=self.now, idle_until=self.now + IDLE, expires_at=self.now + IDLE,
            looked_at=done(self.store.head()),
        )  # fmt: skip
        opened = done(self.store.open_grant(new, self.now))
        assert isinstance(opened, Refused if self.disabled else Opened)
        if isinstance(opened, Opened):
            self.touched = Chain(new.id, [token.clear])
            self.chains.append(self.touched)
        self._all_durable()

    @rule(which=st.integers(0, 9))
    def present_the_newest(self, which: int) -> None:
        chain = self.chains[-1 - which % len(self.chains)]
        self._present(chain, len(chain.issued) - 1)

    @rule(which=st.integers(0, 9), back=st.integers(0, 9))
    def present_any(self, which: int, back: int) -> None:
        """A retry after a lost answer, a second tab, or a thief."""
        chain = self.chains[-1 - which % len(self.chains)]
        self._present(chain, max(0, len(chain.issued) - 1 - back))

    def _present(self, chain: Chain, generation: int) -> None:
        self.touched = chain
        text = chain.issued[generation]
        token = self._read(text)
        outcome = done(self.store.rotate(token, self.now, window=WINDOW, idle=IDLE))
        newest = generation == len(chain.issued) - 1
        if isinstance(outcome, Rotated | Repeated):
            assert chain.alive, "a grant that has ended mints nothing"
            self._accepted(chain, generation, outcome)
            return
        assert not (chain.alive and newest), "whoever holds the newest is never turned away"
        assert not chain.alive or isinstance(outcome, Reused)
        assert isinstance(outcome, Refused) or outcome.first
        if chain.alive:
            chain.alive = False
            self._all_durable()

    def _accepted(self, chain: Chain, generation: int, outcome: Rotated | Repeated) -> None:
        presented = WRITTEN.read(chain.issued[generation], self.client.id)
        assert presented is not None
        successor = WRITTEN.successor(presented, outcome.grant.generation).clear
        assert outcome.grant.generation == generation + 1
        if generation + 1 < len(chain.issued):
            assert chain.issued[generation + 1] == successor, "a second lineage"
        else:
            chain.issued.append(successor)
        if isinstance(outcome, Repeated):
            assert generation == chain.spent
            assert abs(self.now - chain.spent_at) <= WINDOW
            return
        assert generation > chain.spent, "spent twice"
        chain.spent, chain.spent_at = generation, self.now
        chain.lost = chain.lost and generation + 2 < len(chain.issued)
        chain.durable.append(self._row(chain))

    # --- what an administrator does ---

    @rule(which=st.integers(0, 9))
    def revoke(self, which: int) -> None:
        self.touched = chain = self.chains[-1 - which % len(self.chains)]
        had_ended = self._row(chain)[-1] is not None
        assert done(self.store.revoke_grant(chain.id, self.now)) is not had_ended
        chain.alive = False
        self._all_durable()

    @rule()
    def sign_out_everywhere(self) -> None:
        assert done(self.store.revoke_user(self.user.account.sub, self.now))
        self._all_end()

    @rule()
    def disable_or_enable(self) -> None:
        self.disabled = not self.disabled
        sub = self.user.account.sub
        assert done(self.store.set_disabled(sub, self.now, disabled=self.disabled))
        self._all_end()

    # --- what time and disks do ---

    @rule(seconds=st.sampled_from([1.0, WINDOW, WINDOW + 1, 3600.0, -600.0, -3600.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.latest = max(self.latest, self.now)

    @precondition(lambda self: len(self.chains[-1].durable) > 1 and self.chains[-1].alive)
    @rule(data=st.data())
    def lose_the_tail(self, data: st.DataObject) -> None:
        """A power cut takes rotations along, but nothing behind the last durable commit."""
        self.touched = chain = self.chains[-1]
        kept = data.draw(st.integers(1, len(chain.durable) - 1), label="rows kept")
        del chain.durable[kept:]
        row = chain.durable[-1]
        columns = [column.name for column in tables.grants.columns]
        marks = ", ".join("?" for _ in columns)
        self.driver.connection.execute(
            f"REPLACE INTO {tables.grants.name} ({', '.join(columns)}) VALUES ({marks})", row
        )
        generation, rotated_at = (row[columns.index(n)] for n in ("generation", "rotated_at"))
        chain.lost = generation + 1 < len(chain.issued)
        chain.spent, chain.spent_at = generation - 1, rotated_at

    # --- what must hold ---

    @invariant()
    def at_most_one_token_works(self) -> None:
        chain = self.touched
        if chain is None:
            return
        later = max(self.latest, chain.spent_at) + WINDOW + 1
        working = [
            generation
            for generation, text in enumerate(chain.issued)
            if isinstance(self._tried(text, later), Rotated | Repeated)
        ]
        newest = len(chain.issued) - 1
        if not chain.alive:
            assert working == [], "a deliberate revocation was undone"
        elif chain.lost:  # whatever a client holds from the lost time heals it
            assert working == list(range(chain.spent + 1, newest + 1))
        else:
            assert working == [newest], "a spent token works"
            for text in chain.issued[:-1]:
                outcome = self._tried(text, later, then=chain.issued[-1])
                assert isinstance(outcome, Refused), "the newest outlived a reuse"

    def _tried(self, text: str, now: float, then: str | None = None) -> Any:
        """The outcome of presenting a token, and then another, which leaves no trace."""
        outcome = None
        with self._undone():
            for each in [text] if then is None else [text, then]:
                verb = grants.rotate(
                    self._read(each), now, 600, window=WINDOW, idle=IDLE, durable=True
                )
                outcome = run(self.driver.connection, verb)
        return outcome

    @contextmanager
    def _undone(self) -> Any:
        self.driver.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self.driver.connection.execute("ROLLBACK")

    def _read(self, text: str) -> RefreshToken:
        found = WRITTEN.read(text, self.client.id)
        assert found is not None
        return RefreshToken(found.grant_id, found.generation, found.proof, found.client_id)

    def _row(self, chain: Chain) -> tuple[Any, ...]:
        columns = ", ".join(column.name for column in tables.grants.columns)
        return tuple(
            self.driver.connection.execute(
                f"SELECT {columns} FROM {tables.grants.name} WHERE id = ?", (chain.id,)
            ).fetchone()
        )

    def _all_durable(self) -> None:
        """A durable commit makes every earlier one durable too."""
        for chain in self.chains:
            chain.durable = [self._row(chain)]

    def _all_end(self) -> None:
        for chain in self.chains:
            chain.alive = False
        self._all_durable()


BOUNDS = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
PLANTED = settings(
    BOUNDS,
    max_examples=200,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],  # it is enough to know that there is one
)


@pytest.mark.attack("T-15", "T-21", "T-24", "Z-02", "Z-16")
def test_at_most_one_refresh_token_of_a_grant_works():
    run_state_machine_as_test(OneGrant, settings=BOUNDS)


def test_the_machine_finds_a_reuse_that_ends_nothing(monkeypatch):
    def unmoved(grant_id: bytes, now: float, life: float, *, why: str) -> Any:
        return True
        yield

    monkeypatch.setattr(grants, "revoke_grant", unmoved)
    with pytest.raises(AssertionError, match="the newest outlived a reuse"):
        run_state_machine_as_test(OneGrant, settings=PLANTED)


def test_the_machine_finds_a_spend_without_a_condition(monkeypatch):
    real = grants._ROTATE
    kept = [each for each in real.whereclause.clauses if "generation" not in str(each)]
    assert len(kept) == len(real.whereclause.clauses) - 1
    _g = tables.grants
    careless = (
        update(_g)
        .where(and_(*kept))
        .values(
            generation=_g.c.generation + 1,
            rotated_at=bindparam("now"),
            idle_until=bindparam("next_idle"),
        )
        .returning(*real._returning)
    )
    monkeypatch.setattr(grants, "_ROTATE", careless)
    with pytest.raises(AssertionError, match="a spent token works"):
        run_state_machine_as_test(OneGrant, settings=PLANTED)

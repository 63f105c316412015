"""The promises about revocation, kept by real processes over real databases.

A guard in a process of its own follows a log over a transport that may fail in every
way, and decides all the time. It reports when it accepted, by the one monotonic clock of
the machine; no acceptance may have begun later than an acknowledged revocation and S.
That a guard over SQLite is never late at all is tried in tests/store/test_workers.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import ExitStack
from typing import Any

import pytest
from cable import Cable
from processes import hear, process, say

from watchword import Auth
from watchword.guard.following import Follower
from watchword.guard.freshness import Stale
from watchword.guard.revocations import _FEW, Revocations
from watchword.rules import claims
from watchword.rules.revoking import GRACE
from watchword.rules.scopes import Scopes
from watchword.seams import Account, Revocation, StoredUser, Tail
from watchword.store import schema
from watchword.store.postgres import Postgres
from watchword.store.sql import SqlStore

pytestmark = pytest.mark.quiet

NOW = 1_800_000_000.0
S = 0.4
TOKENS = 24

GUARD = """
import asyncio, json, os, random, sys, threading, time
from watchword.crypto.jose import KeySet
from watchword.errors import InvalidToken
from watchword.guard.following import Follower
from watchword.guard.verifier import Verifier
from watchword.rules import claims
from watchword.rules.access import Expectation
from watchword.seams import Tail, Unavailable
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

told = json.loads(sys.stdin.readline())
chance = random.Random(told.get("seed"))

class Keys:
    set = KeySet.from_jwks(told["keys"])
    def current(self, now):
        return self.set

class Transport:
    store = SqlStore(Sqlite(told["path"]), token_life=600)
    earlier = None

    async def tail(self, after, epoch):
        if os.path.exists(told["cut"]):
            raise ConnectionError("cut")
        if not told["bad"]:
            return await self.store.tail(after, epoch)
        what = chance.random()
        if what < 0.15:
            raise ConnectionError("lost on the way there")
        if what < 0.2:
            await asyncio.sleep(3600)
        asked = time.monotonic()
        found = await self.store.tail(after, epoch)
        if what < 0.35:
            raise ConnectionError("lost on the way back")
        if what < 0.6:
            await asyncio.sleep(chance.uniform(0, told["S"] / 2))
        entries = found.entries
        if what > 0.8:
            entries = entries[::-1] * 2
        return Tail(found.epoch, found.seq, entries)

async def main():
    known = Follower(Transport(), max_stale=told["S"], now=lambda: told["now"])
    expected = Expectation(told["issuer"], told["issuer"])
    verify = Verifier(Keys(), expected, types=claims.TYPES, revocations=known)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    tokens = told["tokens"]
    accepted, refused, turns = [0.0] * len(tokens), [0.0] * len(tokens), []
    last, paused, after_pause = None, False, None
    print("ready", flush=True)
    while not over.is_set():
        for n, token in enumerate(tokens):
            began = time.monotonic()
            try:
                try:
                    if verify.recall(token.encode(), told["now"]) is None:
                        await verify(token, told["now"])
                except Unavailable:
                    await verify(token, told["now"])
                accepted[n], outcome = began, "accepted"
            except InvalidToken:
                refused[n], outcome = refused[n] or began, "refused"
            except Unavailable:
                outcome = "503"
            ended = time.monotonic()
            if ended - (last or began) > told["S"]:
                paused = True
            if paused and n and began - (last or began) >= 0 and ended - began <= told["S"]:
                after_pause = after_pause or outcome
            last = ended
            if n == 0 and (not turns or turns[-1][1] != outcome):
                turns.append((began, outcome))
        await asyncio.sleep(0.001)
    print(json.dumps({"accepted": accepted, "refused": refused, "turns": turns, "after_pause": after_pause}), flush=True)

asyncio.run(main())
"""


class House:
    """A server over a file, and tokens that it made; the first one is never revoked."""

    def __init__(self, directory: Any) -> None:
        self.cut = directory / "cut"
        self.auth = Auth(
            now=lambda: NOW,
            env="development",
            issuer="http://localhost:8000",
            secret="Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A",
            database_url=f"sqlite:///{directory}/w.db",
            audit_routes="off",
        )
        self.tokens: list[str] = []
        self.ended: dict[int, float] = {}

    def token(self, sub: str, jti: str, rev: int) -> str:
        content = claims.access(
            issuer=self.auth.settings.issuer, subject=sub, client_id="watchword",
            audience=self.auth.settings.audience, scopes=Scopes(("me",)), jti=jti, now=NOW,
            ttl=600, rev=rev,
        )  # fmt: skip
        return self.auth.signing.access_token(content, NOW)

    async def prepare(self) -> None:
        await self.auth.start()
        for n in range(TOKENS):
            assert await self.auth.store.add_user(
                StoredUser(Account(f"u{n}", f"user{n}", scopes=("me",)), None)
            )
        rev = await self.auth.store.head()
        self.tokens = [self.token(f"u{n}", f"j{n}", rev) for n in range(TOKENS)]

    async def end(self, n: int) -> None:
        if n % 2:
            await self.auth.store.revoke_user(f"u{n}", NOW)
        else:
            await self.auth.store.revoke_token(f"j{n}", NOW + 600, NOW)
        self.ended[n] = time.monotonic()

    def told(self, **more: Any) -> dict[str, Any]:
        return {
            "path": self.auth.driver.path, "cut": str(self.cut), "bad": False, "S": S, "now": NOW,
            "issuer": self.auth.settings.issuer, "tokens": self.tokens, "keys": self.auth.signing.ring.jwks(NOW), **more,
        }  # fmt: skip

    def nothing_late_in(self, report: dict[str, Any]) -> None:
        late = {
            n: report["accepted"][n] - ended
            for n, ended in self.ended.items()
            if report["accepted"][n] > ended + S
        }
        assert not late, late


@pytest.fixture
async def house(tmp_path):
    made = House(tmp_path)
    await made.prepare()
    yield made
    made.auth.close()


async def report_of(guard: Any) -> dict[str, Any]:
    say(guard, "over")
    return json.loads(await hear(guard))


@pytest.mark.attack("Z-09", "Z-15")
@pytest.mark.parametrize("bad", [False, True], ids=["a good network", "a bad network"])
async def test_no_guard_accepts_after_the_bound_whatever_the_network_does(house, bad) -> None:
    """G2 and G8: no hints at all, and messages that are lost, late, doubled and disordered."""
    with ExitStack() as stack:
        guards = [
            stack.enter_context(process(GUARD, house.told(bad=bad, seed=seed))) for seed in range(2)
        ]
        for guard in guards:
            assert await hear(guard) == "ready"
        await asyncio.sleep(1)
        for n in range(1, TOKENS):
            await house.end(n)
            await asyncio.sleep(0.05)
        await asyncio.sleep(2 * S)
        for guard in guards:
            report = await report_of(guard)
            house.nothing_late_in(report)
            assert all(report["accepted"]), "everybody was let in before"
            assert sum(1 for at in report["refused"][1:] if at) >= TOKENS - (4 if bad else 1)
            assert report["accepted"][0] > max(house.ended.values()), "and the others still are"


@pytest.mark.attack("Z-15")
async def test_a_guard_that_stood_still_decides_by_nothing_it_knew(house) -> None:
    """G2: stopped for longer than S, it must poll before its first decision."""
    with process(GUARD, house.told()) as guard:
        assert await hear(guard) == "ready"
        await asyncio.sleep(0.5)
        os.kill(guard.pid, signal.SIGSTOP)
        for n in range(1, TOKENS):
            await house.end(n)
        await asyncio.sleep(3 * S)
        os.kill(guard.pid, signal.SIGCONT)
        await asyncio.sleep(1)
        report = await report_of(guard)
    house.nothing_late_in(report)
    assert report["after_pause"] in ("refused", "503")
    assert all(report["refused"][1:]) and report["accepted"][0] > max(house.ended.values()) + S


async def test_a_guard_without_its_feed_refuses_in_time_and_serves_again(house) -> None:
    """G3, and G6: the barrier is the same bound."""
    with process(GUARD, house.told()) as guard:
        assert await hear(guard) == "ready"
        await asyncio.sleep(0.5)
        house.cut.touch()
        at = time.monotonic()
        await house.end(1)
        await asyncio.sleep(3 * S)
        house.cut.unlink()
        mended = time.monotonic()
        await asyncio.sleep(1)
        report = await report_of(guard)
    house.nothing_late_in(report)
    outcomes = [outcome for _, outcome in report["turns"]]
    assert outcomes in (["accepted", "503", "accepted"], ["503", "accepted"] * 2)
    (stopped, _), (served, _) = report["turns"][-2:]
    assert at < stopped < at + S + 0.3
    assert mended < served < mended + S / 4 + 0.3


async def test_a_guard_that_begins_knows_everything_or_refuses(house) -> None:
    """G4: it is killed, the log cannot be read, and it begins anew."""
    with process(GUARD, house.told()) as guard:
        assert await hear(guard) == "ready"
        await asyncio.sleep(0.3)
        guard.kill()
    await house.end(1)
    house.cut.touch()
    with process(GUARD, house.told()) as guard:
        assert await hear(guard) == "ready"
        await asyncio.sleep(2 * S)
        report = await report_of(guard)
        assert not any(report["accepted"]) and [o for _, o in report["turns"]] == ["503"]
    house.cut.unlink()
    with process(GUARD, house.told()) as guard:
        assert await hear(guard) == "ready"
        await asyncio.sleep(2 * S)
        report = await report_of(guard)
    assert not report["accepted"][1] and report["refused"][1] and report["accepted"][2]


async def test_who_signs_in_again_is_let_in_at_once_and_the_old_token_is_not(house) -> None:
    """G5: in the very same second, by a guard that hears of it and by one that begins."""
    old = house.tokens[1]
    await house.end(1)
    new = house.token("u1", "again", await house.auth.store.head())
    with process(GUARD, house.told(tokens=[new, old])) as guard:
        assert await hear(guard) == "ready"
        await asyncio.sleep(2 * S)
        report = await report_of(guard)
    accepted, refused = report["accepted"], report["refused"]
    assert accepted[0] and not refused[0] and refused[1] and not accepted[1]


async def test_after_the_barrier_nobody_accepts(house, monkeypatch) -> None:
    """G6, with a guard that cannot hear of it at all."""
    follower = Follower(house.auth.store, max_stale=S, now=lambda: NOW)
    monkeypatch.setattr(house.auth, "revocations", follower)
    with process(GUARD, house.told()) as guard:
        assert await hear(guard) == "ready"
        await asyncio.sleep(0.5)
        house.cut.touch()
        position = await house.auth.revoke(token=house.tokens[1], barrier=True)
        returned = time.monotonic()
        report = await report_of(guard)
    follower.close()
    assert report["accepted"][1] and max(report["accepted"]) < returned
    assert position == f"1.{await house.auth.store.head()}"


def test_memory_returns_to_where_it_was() -> None:
    """G7: a storm of revocations leaves nothing behind once its tokens have run out."""
    import tracemalloc

    class Log:
        tail: Tail | None = None

        def news(self, after: int, epoch: int) -> Tail | None:
            tail = self.tail
            return None if tail is None or after == tail.seq else tail

    log = Log()
    known = Revocations(log)
    many = 50_000
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    log.tail = Tail(
        1, many, tuple(Revocation(n, "jti", n, NOW + n / 100) for n in range(1, many + 1))
    )
    known.catch_up(NOW)
    log.tail = None
    assert len(known) == many
    for minute in range(60):
        known.forget(NOW + GRACE + 10 * minute)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(known) == 0
    assert peak - before > many * 100 and after - before < _FEW * 200


# --- the same over a server ---


@pytest.fixture
def cable(postgres):
    with Cable(postgres.port) as made:
        yield made


@pytest.fixture
async def over_a_network(postgres_url, postgres, cable):
    """A follower behind a cable, with hints; and a store of another node."""
    near = SqlStore(Postgres(postgres_url), token_life=600)
    schema.prepare(near.driver, upgrade=False)
    far = Postgres(postgres_url.replace(str(postgres.port), str(cable.port)), patience=1.0)
    made = Follower(SqlStore(far, token_life=600), max_stale=2.0, hints=[far.listen])
    yield near, made
    made.close()
    await asyncio.sleep(0)
    far.close()
    near.driver.close()


async def until(condition: Any, seconds: float) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        await asyncio.sleep(0.002)
    return time.monotonic() - began


@pytest.mark.attack("Z-09")
async def test_a_revocation_on_one_node_is_known_on_another(over_a_network) -> None:
    near, known = over_a_network
    known.bound = known._patience = 60.0  # so that only the hint can have told
    await known.start(NOW)
    await asyncio.sleep(0.5)  # until it listens
    for n in range(5):
        await near.revoke_token(f"j{n}", NOW + 600, NOW)
        await until(lambda n=n: len(known) == n + 1, 5)


@pytest.mark.parametrize("how", ["cut", "dead"])
async def test_a_node_that_lost_its_database_decides_no_more_and_finds_it_again(
    over_a_network, cable, how
) -> None:
    near, known = over_a_network
    await known.start(NOW)
    known.catch_up(NOW)
    if how == "cut":
        cable.cut(for_good=True)
    else:
        cable.go_dead()
    at = time.monotonic()
    await near.revoke_token("j1", NOW + 600, NOW)
    decided = at
    with pytest.raises(Stale):
        while True:
            known.catch_up(NOW)
            decided = time.monotonic()
            await asyncio.sleep(0.005)
    assert decided <= at + 2.0
    if how == "dead":
        cable.cut()
    cable.mend()
    await until(lambda: known.lasts() > 0, 10)
    assert len(known) == 1


async def test_the_primary_is_asked_now_across_a_network(over_a_network) -> None:
    from watchword.guard.freshness import Asked

    near, known = over_a_network
    known.bound = 60.0
    await known.start(NOW)
    await near.revoke_token("j1", NOW + 600, NOW)
    await known.meet(Asked(within=0))
    assert len(known) == 1


@pytest.mark.attack("Z-09")
async def test_two_servers_over_one_database(build, postgres_url) -> None:
    """What one of them ends, the other refuses: at once by a position, and soon without."""
    here, there = (build(database_url=postgres_url) for _ in range(2))
    await here.auth.start()
    await there.auth.start()
    await here.add_user("johndoe")
    for by_position in (True, False, False):
        tokens = await here.login()
        token = tokens["access_token"]
        assert (await there.get("/guarded", token)).status_code == 200
        position = await here.auth.revoke(token=token)
        assert (await here.get("/guarded", token)).status_code == 401
        if by_position:
            answer = await there.get("/guarded", token, headers={"Auth-Min-Seq": position})
            assert answer.status_code == 401
        began = time.monotonic()
        while (await there.get("/guarded", token)).status_code != 401:
            assert time.monotonic() - began < 2.5
            await asyncio.sleep(0.002)

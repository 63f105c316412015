"""A fleet of guards in simulated time: the real follower, an event loop whose clock is a number.

Nothing here waits: when every task waits for a time, the clock is set to the nearest one. So
a minute of five thousand guards, with messages lost and late, partitions, paused processes
and failovers of the database, takes as long as its own arithmetic. What is asked of it:

1. no decision at u lets a token in whose revocation was acknowledged before u - max_stale;
2. a decision awaits nothing (it is made by plain calls, so it cannot).
"""

import asyncio
import heapq
import logging
import random
import selectors
from collections import Counter, deque
from dataclasses import dataclass, field

from watchword.guard.following import Follower
from watchword.rules.access import AccessToken
from watchword.rules.revoking import key8
from watchword.rules.scopes import Scopes
from watchword.seams import Revocation, Tail, Unavailable

ISSUER = "https://id.example.com"
EPOCH_STEP = 2**20  # as the store's verb: numbers of another epoch never come again
LIFE = 900.0  # seconds that a revocation is kept
WALL = 1_800_000_000.0  # Unix seconds at the beginning


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a number that jumps to whatever is due next."""

    def __init__(self) -> None:
        super().__init__(_Jumping(self))
        self.now = 0.0

    def time(self) -> float:
        """Return the simulated seconds since the beginning."""
        return self.now


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Where a real selector would sleep, the clock goes on instead."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now; nothing that is not will ever be, but for the clock."""
        ready = super().select(0)
        if not ready and timeout:
            self._loop.now += timeout
        return ready


@dataclass
class Weather:
    """How bad it is. Chances are for each message, rates for each second of the whole run."""

    lost: float = 0.05
    slow: float = 0.05  # and then late by up to twice the bound
    delay: tuple[float, float] = (0.000_2, 0.02)  # seconds each way
    hints: float = 0.8  # the share of hints that arrive
    partitions: float = 0.2
    pauses: float = 0.3
    failovers: float = 0.05
    longest: float = 6.0  # seconds of a partition or a pause


@dataclass
class Log:
    """The database's log; what is acknowledged is in it and in its synchronous standby."""

    epoch: int = 1
    entries: list[Revocation] = field(default_factory=list)
    seq: int = 0
    away_until: float = 0.0

    def append(self, kind: str, name: str) -> int:
        """Commit one revocation and return its number."""
        self.seq += 1
        self.entries.append(Revocation(self.seq, kind, key8(kind, name), WALL + LIFE))
        return self.seq

    def tail(self, after: int, epoch: int) -> Tail:
        """Return what is behind a position, as `store/log.py` does."""
        same = epoch == self.epoch and after <= self.seq
        start = after if same else -1
        newer = []
        for entry in reversed(self.entries):
            if entry.seq <= start:
                break
            newer.append(entry)
        return Tail(self.epoch, self.seq, tuple(reversed(newer)))


class Wire:
    """The network between one guard and the log."""

    def __init__(self, fleet: "Fleet", chance: random.Random) -> None:
        self._fleet = fleet
        self._chance = chance
        self.cut_until = 0.0
        self.paused_until = 0.0

    async def tail(self, after: int, epoch: int) -> Tail:
        """Ask across the network; either way may fail."""
        await self._travel()
        if self._fleet.loop.time() < self._fleet.log.away_until:
            raise Unavailable("the database is failing over")
        found = self._fleet.log.tail(after, epoch)
        await self._travel()
        return found

    async def _travel(self) -> None:
        weather, chance, loop = self._fleet.weather, self._chance, self._fleet.loop
        took = chance.uniform(*weather.delay)
        if chance.random() < weather.slow:
            took += chance.uniform(0, 2 * self._fleet.max_stale)
        await asyncio.sleep(took)
        if chance.random() < weather.lost or loop.time() < self.cut_until:
            raise ConnectionError("lost")
        while (late := self.paused_until - loop.time()) > 0:  # whoever is paused reads later
            await asyncio.sleep(late)


@dataclass
class Seen:
    """What came of it."""

    decisions: int = 0
    accepted: int = 0
    refused: int = 0
    undecided: int = 0
    late: int = 0  # accepted beyond the bound: must stay 0
    worst: float = 0.0  # seconds after its acknowledgement that a dead token was let in
    revocations: int = 0
    storms: Counter[str] = field(default_factory=Counter)


class Fleet:
    """Many guards, one log, and what happens to them.

    Args:
        guards: how many.
        seconds: of simulated time.
        decisions: how many in all.
        seed: of everything that is left to chance.
    """

    def __init__(
        self,
        *,
        guards: int,
        seconds: float,
        decisions: int,
        seed: int,
        max_stale: float = 2.0,
        weather: Weather | None = None,
        tokens: int = 2_000,
    ) -> None:
        self.loop = SimulatedLoop()
        self.max_stale = max_stale
        self.weather = weather or Weather()
        self.log = Log()
        self.seen = Seen()
        self._chance = random.Random(seed)
        self._seconds, self._decisions = seconds, decisions
        self._wires = [Wire(self, random.Random(self._chance.random())) for _ in range(guards)]
        self._tokens = [_token(n) for n in range(tokens)]
        self._alive = list(range(tokens))
        self._dead_since: dict[int, float] = {}
        self._dying: deque[int] = deque(maxlen=40)  # those that are worth asking about
        self._guards: list[Follower] = []

    def run(self) -> Seen:
        """Simulate, and return what was seen."""
        logging.disable(logging.ERROR)  # thousands of guards would tell of every failover
        try:
            self.loop.run_until_complete(self._all())
        finally:
            logging.disable(logging.NOTSET)
            self.loop.close()
        return self.seen

    async def _all(self) -> None:
        self._guards = [
            Follower(
                wire, max_stale=self.max_stale, now=lambda: WALL + self.loop.time(),
                monotonic=self.loop.time,
            )
            for wire in self._wires
        ]  # fmt: skip
        for guard in self._guards:
            guard.wake()
            guard._be_running()  # noqa: SLF001 - without waiting for each one's first poll
        await asyncio.gather(self._decide(), self._revoke(), self._storm())
        for guard in self._guards:
            guard.close()
        await asyncio.sleep(0.1)

    async def _decide(self) -> None:
        """Decisions at random guards about random tokens, most of them about dead ones."""
        await asyncio.sleep(0.1)  # nobody is sent requests before the first poll
        steps = max(1, round(self._seconds / 0.005))
        each, left = divmod(self._decisions, steps)
        for step in range(steps):
            await asyncio.sleep(self._seconds / steps)
            for _ in range(each + (step < left)):
                self._decide_once()

    def _decide_once(self) -> None:
        number = self._chance.randrange(len(self._guards))
        if self._wires[number].paused_until > self.loop.time():
            return  # nobody decides in a process that is stopped
        guard, seen, now = self._guards[number], self.seen, self.loop.time()
        dying = self._dying if self._chance.random() < 0.7 else None
        which = self._chance.choice(dying or self._alive or [0])
        seen.decisions += 1
        try:
            guard.catch_up(WALL + now)
        except Unavailable:
            seen.undecided += 1
            return
        if guard.refuse(self._tokens[which]):
            seen.refused += 1
            return
        seen.accepted += 1
        if which in self._dead_since:
            late = now - self._dead_since[which]
            seen.worst = max(seen.worst, late)
            seen.late += late > self.max_stale

    async def _revoke(self) -> None:
        gap = self._seconds / len(self._tokens)
        while self.loop.time() < self._seconds and self._alive:
            await asyncio.sleep(self._chance.expovariate(1 / gap))
            if self.loop.time() < self.log.away_until:
                continue  # not acknowledged, so nothing is promised
            which = self._alive.pop(self._chance.randrange(len(self._alive)))
            kind = self._chance.choice(("grant", "jti", "user"))
            name = {"grant": f"{which:032x}", "jti": f"j{which}", "user": f"u{which}"}[kind]
            self.log.append(kind, name)
            self._dead_since[which] = self.loop.time()
            self._dying.append(which)
            self.seen.revocations += 1
            for guard, wire in zip(self._guards, self._wires, strict=True):
                if wire.cut_until < self.loop.time() and self._chance.random() < self.weather.hints:
                    guard.wake()

    async def _storm(self) -> None:
        """Partitions, pauses and failovers, each at its own pace."""
        due = [(self._gap(what), what) for what in ("partitions", "pauses", "failovers")]
        heapq.heapify(due)
        while due[0][0] < self._seconds:
            at, what = heapq.heappop(due)
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            self.seen.storms[what] += 1
            until = self.loop.time() + self._chance.uniform(0.1, self.weather.longest)
            some = self._chance.sample(self._wires, max(1, len(self._wires) // 10))
            if what == "failovers":
                self._fail_over()
            for wire in some:
                if what == "partitions":
                    wire.cut_until = until
                elif what == "pauses":
                    wire.paused_until = until
            heapq.heappush(due, (at + self._gap(what), what))

    def _gap(self, what: str) -> float:
        return self._chance.expovariate(getattr(self.weather, what))

    def _fail_over(self) -> None:
        """A synchronous standby takes over: nothing acknowledged is lost, the epoch is another."""
        self.log.away_until = self.loop.time() + self._chance.uniform(0.2, 3.0)
        self.log.epoch += 1
        self.log.seq += EPOCH_STEP


def _token(number: int) -> AccessToken:
    return AccessToken(
        sub=f"u{number}", client_id="app", scopes=Scopes(("me",)), issuer=ISSUER,
        audience=(ISSUER,), expires_at=WALL + LIFE, claims={}, jti=f"j{number}",
        fid=f"{number:032x}", rev=0,
    )  # fmt: skip

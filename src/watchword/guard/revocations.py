"""What is revoked, as known here, and how fresh that knowledge is.

Entries arrive in the order of commits and without gaps, so "I have seen number n"
means all before it. On one machine the log is asked on every decision (one pragma,
microseconds): a revocation that was acknowledged before a request began refuses it.
Across a network the log is followed, and the follower proves how fresh it is
(`guard/following.py`).

Knowledge only grows until it has run out. Where the log's past has changed, because its
database was restored, what either past has ended stays ended.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from watchword.guard.freshness import AS_USUAL, Asked
from watchword.rules.access import AccessToken
from watchword.rules.revoking import BY_POSITION, GRACE, names
from watchword.seams import Revocation, RevocationLog, Tail

log = logging.getLogger("watchword.guard")

_FEW = 1000
_CONFIG = ("config", "client", "all")  # a client that ended has changed as well
Name = tuple[str, int]
Wake = Callable[[], object]


class Revocations:
    """The live part of the log in memory; bounded by what was revoked in the last day."""

    __slots__ = (
        "_dead", "_ends", "_holes", "_log", "_taking", "_watched",
        "bound", "changes", "config_changes", "epoch", "position",
    )  # fmt: skip

    def __init__(self, log: RevocationLog | None) -> None:
        self._log = log
        self._dead: dict[Name, int] = {}
        self._ends: deque[Revocation] = deque()
        self._holes = 0  # entries deleted since the dict was made
        self._taking = threading.Lock()
        self._watched: dict[Name, set[Wake]] = {}
        self.bound = 0.0  # seconds that an acknowledged revocation may go unnoticed here
        self.epoch = 0  # of the log that was read
        self.position = 0  # the newest number seen in it
        self.changes = 0  # how often something was taken in; unlike numbers, it only grows
        self.config_changes = 0  # how often keys or clients have changed

    def __len__(self) -> int:
        return len(self._dead)

    def catch_up(self, now: float, asked: Asked = AS_USUAL) -> None:  # noqa: ARG002 - always fresh
        """Take in what was committed since.

        Args:
            now: Unix seconds.
            asked: what the decision asks of the knowledge behind it.

        Raises:
            Unavailable: the log cannot be read; nobody may be let in.
        """
        if self._log is None or self._log.news(self.position, self.epoch) is None:
            return
        with self._taking:  # several event loops may share one guard
            # Asked again: another one may have taken in this and more, and wait for nobody.
            tail = self._log.news(self.position, self.epoch)
            if tail is not None:
                self._take_in(tail)
                self._forget(now)

    def _take_in(self, tail: Tail) -> None:
        for entry in tail.entries:
            if entry.kind in _CONFIG:
                self.config_changes += 1
        known = [entry for entry in tail.entries if entry.kind != "config"]
        if tail.epoch == self.epoch and tail.seq >= self.position:
            for entry in known:
                if entry.seq > self._dead.get((entry.kind, entry.key), -1):  # not one seen before
                    self._dead[entry.kind, entry.key] = entry.seq
                    self._ends.append(entry)
        else:
            self._join(known, tail)
        self.epoch, self.position = tail.epoch, tail.seq
        self.changes += 1  # last: whoever sees it sees the entries
        self._tell(known)

    def _join(self, entries: list[Revocation], tail: Tail) -> None:
        """The log's past is another: nothing that either has ended lives again."""
        if tail.epoch == self.epoch:
            log.error(
                "the revocation log went back from %d to %d; if the database was restored, "
                "run: watchword restored",
                self.position,
                tail.seq,
            )
        elif self.epoch:
            self.config_changes += 1
            log.warning("the revocation log is of epoch %d now, no more %d", tail.epoch, self.epoch)
        ends: dict[Name, Revocation] = {}
        for entry in (*self._ends, *entries):
            name = entry.kind, entry.key
            other = ends.get(name, entry)
            seq, until = max(entry.seq, other.seq), max(entry.expires_at, other.expires_at)
            ends[name] = Revocation(seq, *name, until)
        self._ends = deque(sorted(ends.values(), key=lambda entry: entry.expires_at))
        self._dead = {name: entry.seq for name, entry in ends.items()}

    def refuse(self, token: AccessToken) -> bool:
        """Whether an entry seen so far ends this token."""
        if not self._dead:
            return False
        for name in names(token):
            seq = self._dead.get(name)
            if seq is None:
                continue
            # A user's or client's entry ends what was minted before it, nothing later.
            if name[0] not in BY_POSITION or token.rev is None or token.rev < seq:
                return True
        return False

    def forget(self, now: float) -> None:
        """Drop entries whose tokens have all run out by themselves."""
        with self._taking:
            self._forget(now)

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0].expires_at + GRACE < now:
            gone = self._ends.popleft()
            if self._dead.get((gone.kind, gone.key)) == gone.seq:
                del self._dead[gone.kind, gone.key]
                self._holes += 1
        if self._holes > len(self._dead) + _FEW:  # a dict does not give back what it once needed
            self._dead, self._holes = dict(self._dead), 0

    # --- those who wait for the end of a token ---

    @contextmanager
    def watching(self, token: AccessToken, wake: Wake) -> Iterator[None]:
        """Call `wake`, from whatever thread, when an entry names this token."""
        mine = names(token)
        with self._taking:
            for name in mine:
                self._watched.setdefault(name, set()).add(wake)
        try:
            yield
        finally:
            with self._taking:
                for name in mine:
                    self._watched[name].discard(wake)
                    if not self._watched[name]:
                        del self._watched[name]

    def _tell(self, entries: list[Revocation]) -> None:
        if not self._watched:
            return
        for entry in entries:
            for wake in self._watched.get((entry.kind, entry.key), ()):
                with contextlib.suppress(RuntimeError):  # its event loop has been closed
                    wake()

    # --- what a follower does and who reads the log itself need not ---

    async def start(self, now: float) -> None:
        """Begin to know: returns when decisions can be made.

        Raises:
            Unavailable: the log cannot be read.
        """
        self.catch_up(now)

    def lasts(self) -> float:
        """Seconds for which decisions can be made at least, if nothing more is heard."""
        return math.inf

    def age(self) -> float:
        """Seconds since all that was committed was known here."""
        return 0.0

    async def meet(self, asked: Asked = AS_USUAL) -> None:
        """Make knowledge as fresh as one decision asks; it always is, where the log is read."""

    async def settled(self) -> None:
        """Return when no guard accepts what was revoked before this call."""

    def wake(self) -> None:
        """Something may have been revoked."""

    def close(self) -> None:
        """Know no more."""

    async def stop(self) -> None:
        """Know no more; what ran beside the decisions has ended then."""

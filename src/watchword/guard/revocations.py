"""What is revoked, as known here, and how fresh that knowledge is.

Entries arrive in the order of commits and without gaps, so "I have seen number n"
means all before it. On one machine the log is asked on every decision (one pragma,
microseconds): a revocation that was acknowledged before a request began refuses it.
"""

from __future__ import annotations

import threading
from collections import deque

from watchword.rules.access import AccessToken
from watchword.rules.revoking import BY_POSITION, GRACE, names
from watchword.seams import Revocation, RevocationLog


class Revocations:
    """The live part of the log in memory; bounded by what was revoked in the last day."""

    __slots__ = ("_dead", "_ends", "_log", "_taking", "config_changes", "position")

    def __init__(self, log: RevocationLog) -> None:
        self._log = log
        self._dead: dict[tuple[str, int], int] = {}
        self._ends: deque[Revocation] = deque()
        self._taking = threading.Lock()
        self.position = 0  # the newest entry seen
        self.config_changes = 0  # how often keys or clients have changed

    def __len__(self) -> int:
        return len(self._dead)

    def catch_up(self, now: float) -> None:
        """Take in what was committed since.

        Raises:
            Unavailable: the log cannot be read; nobody may be let in.
        """
        news = self._log.news(self.position)
        if not news:
            return
        with self._taking:  # several event loops may share one guard
            for entry in news:
                if entry.seq > self.position:
                    self._take_in(entry)
            self._forget(now)

    def _take_in(self, entry: Revocation) -> None:
        if entry.kind in ("config", "client"):  # a client that ended has changed as well
            self.config_changes += 1
        if entry.kind != "config":
            self._dead[entry.kind, entry.key] = entry.seq
            self._ends.append(entry)
        self.position = entry.seq  # last: whoever sees it sees the entry

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

    def _forget(self, now: float) -> None:
        """Drop entries whose tokens have all run out by themselves."""
        while self._ends and self._ends[0].expires_at + GRACE < now:
            gone = self._ends.popleft()
            if self._dead.get((gone.kind, gone.key)) == gone.seq:
                del self._dead[gone.kind, gone.key]

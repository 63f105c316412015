"""Serving from memory, by another clock: what a test does to an Auth."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from watchword.auth.parts import built
from watchword.seams import Users

if TYPE_CHECKING:
    from watchword.auth import Auth


@contextmanager
def in_memory(
    self: Auth,
    now: Callable[[], float],
    *,
    secret: str | None = None,
    users: Callable[[Users], Users] = lambda own: own,
) -> Iterator[None]:
    """Serve from an empty store in memory, by another clock; for tests.

    The database, the counters and the keys in use are not opened. Hooks stay, and
    afterwards everything is as before. `start` refuses this outside pytest.

    Args:
        self: the server.
        now: the clock, Unix seconds.
        secret: the server secret meanwhile; by default the one in use.
        users: makes the test's users out of the app's own, where it has some.
    """
    before, bench, decisions = dict(vars(self)), self._bench, self._decisions
    clock, recall = decisions.now, decisions.recall
    self.settings = self.settings.model_copy(
        update={
            "database_url": "sqlite:///:memory:",
            "redis_url": "",
            "limit_backend": "memory",
            "secret": secret or self.settings.secret,
            "hash_memory_kib": 64,  # nobody attacks these hashes
            "hash_passes": 1,
            "hash_wait": 30.0,
        }
    )
    own = self._given.users
    given = dataclasses.replace(self._given, now=now, users=users(own) if own is not None else None)
    self.now = decisions.now = now
    self._started, self._in_test, decisions.recall = False, True, None
    self._starting = asyncio.Lock()  # a test's event loops are its own
    self._use(built(self.settings, given))
    self._bench.add_claims, self._bench.before_login = bench.add_claims, [*bench.before_login]
    try:
        yield
    finally:
        self._in_test = False
        self.close()
        decisions.now, decisions.recall = clock, recall
        vars(self).update(before)
        self.events.keep = self.deliveries.keep

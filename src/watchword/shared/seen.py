"""Identifiers that may be used once: proofs and assertions that name themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from watchword.crypto.secrets import digest
from watchword.shared.clients import Script
from watchword.shared.link import Fault, Shared

_PREFIX = "watchword:seen:"
_MARGIN = 1.0  # seconds: whoever judges `until` may round it

# Who asks twice because the first answer was lost brings the same mark.
_FIRST = Script("""
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
return 0
""")


class SeenIds(Protocol):
    """Which identifiers were used: each may be used once, until it runs out by itself."""

    async def first_time(self, kind: str, id_: str, until: float) -> bool:
        """Whether nobody has used the identifier before; it is used from now on.

        Args:
            kind: what it identifies; an identifier of one kind is none of another.
            id_: any text, as whoever made it up spells it.
            until: Unix seconds, after which it is refused for its age.

        Raises:
            Unavailable: nobody can say, so it must be refused.
        """
        ...


class RedisSeenIds:
    """Which identifiers were used, in Redis while it works and in `spare` while it does not.

    What Redis forgets (a restart without persistence, a failover, eviction) can be used a
    second time within its own life. So can what was used shortly before Redis went away,
    while it is away; and what was used meanwhile, with a process that never noticed.
    Kinds for which that is too much are kept in the database: `SqlStore` is a `SeenIds`.

    Args:
        shared: the connection.
        spare: asked while Redis fails, and for as long afterwards as what it was told
            then may come back.
        now: the clock, Unix seconds.
        fresh: the source of random bytes.
    """

    def __init__(
        self,
        shared: Shared,
        spare: SeenIds,
        now: Callable[[], float],
        fresh: Callable[[int], bytes],
    ) -> None:
        self._shared = shared
        self._spare = spare
        self._now = now
        self._fresh = fresh
        self._doubted_until = 0.0

    async def first_time(self, kind: str, id_: str, until: float) -> bool:
        """Whether nobody has used the identifier before; it is used from now on.

        Raises:
            Unavailable: neither Redis nor the database can say.
        """
        now = self._now()
        key = f"{_PREFIX}{kind}:{digest(id_)}"
        lasts = math.ceil((max(until - now, 0.0) + _MARGIN) * 1000)
        mark = self._fresh(16)
        try:
            answer = await self._shared.run(lambda it: _FIRST(it, [key], mark, lasts))
        except Fault:
            self._doubted_until = max(self._doubted_until, until + _MARGIN)
            return await self._spare.first_time(kind, id_, until)
        if answer == 1 and now < self._doubted_until:
            return await self._spare.first_time(kind, id_, until)
        return bool(answer == 1)

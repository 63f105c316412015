"""How often is too often: who is counted, where, and what happens when counting fails.

Counters may lose everything at any time; the only effect is a bucket that is full
again. What must never happen is that a limit silently stops being one, so a counter
that fails is replaced by a stricter one in this process until it works again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Protocol

from watchword.errors import TooManyRequests, whole_seconds
from watchword.rules.rates import UNLIMITED, Ask, Limit, Taken, gcra, in_order

__all__ = [
    "Counters",
    "Fallback",
    "Limit",
    "Limits",
    "ProcessCounters",
    "Taken",
    "gcra",
]

_log = logging.getLogger("watchword.limits")

_REST = 5.0  # seconds a failing counter is left alone: asking it may cost a lock's wait
_SILENCE = 60.0  # seconds between two complaints about it
_NOTES = 10_000


class Counters(Protocol):
    """Where buckets are kept; may lose everything at any time.

    All buckets of one attempt are asked at once, because they may be across a network.
    Where they are not, nothing is waited for.
    """

    async def take(self, asks: Sequence[Ask], now: float) -> list[Taken]:
        """Ask each bucket for one unit, atomically, in order until one refuses.

        Returns:
            The outcomes in the order of `asks`; a refusal is the last.
        """
        ...

    async def reset(self, keys: Sequence[str]) -> None:
        """Fill the buckets up again."""
        ...


class ProcessCounters:
    """Buckets in a dict of this process, of which the least used make room for new ones.

    Args:
        most: how many buckets are kept.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._tats: dict[str, float] = {}  # least recently asked first

    def __len__(self) -> int:
        return len(self._tats)

    async def take(self, asks: Sequence[Ask], now: float) -> list[Taken]:
        """Ask each bucket for one unit, in order until one refuses; never waits."""
        return in_order(asks, lambda key, limit: self.take_one(key, limit, now))

    async def reset(self, keys: Sequence[str]) -> None:
        """Fill the buckets up again; never waits."""
        for key in keys:
            self.reset_one(key)

    def take_one(self, key: str, limit: Limit, now: float) -> Taken:
        """Ask the bucket `key` for one unit."""
        before = self._tats.pop(key, None)
        after, taken = gcra(before, now, limit)
        keep = before if after is None else after
        if keep is not None:
            if len(self._tats) >= self._most:
                self._make_room(now)
            self._tats[key] = keep
        return taken

    def reset_one(self, key: str) -> None:
        """Fill the bucket `key` up again."""
        self._tats.pop(key, None)

    def _make_room(self, now: float) -> None:
        """Drop the buckets that are full anyway, then the oldest sixteenth if need be."""
        # One pass makes room for many, so a flood of new keys costs O(1) for each.
        self._tats = {key: tat for key, tat in self._tats.items() if tat > now}
        spare = self._most - max(1, self._most // 16)
        for key in list(self._tats)[: max(0, len(self._tats) - spare)]:
            del self._tats[key]


class Fallback:
    """Counters that go on counting, at half the budget, while the real ones fail.

    Args:
        primary: the counters to use while they work.
        faults: the exceptions by which they say that they do not.
        rest: seconds they are left alone then; 0 for those who see to that themselves,
            and tell of their own faults.
    """

    def __init__(
        self, primary: Counters, faults: tuple[type[Exception], ...], *, rest: float = _REST
    ) -> None:
        self._primary = primary
        self._faults = faults
        self._rest = rest
        self._spare = ProcessCounters()
        self._failed_at: float | None = None
        self._told_at: float | None = None

    async def take(self, asks: Sequence[Ask], now: float) -> list[Taken]:
        """Ask each bucket for one unit, in order until one refuses; never raises `faults`."""
        if not _within(self._rest, self._failed_at, now):
            if self._failed_at is not None:
                self._failed_at = now  # one goes and looks; the others need not wait for it
            try:
                taken = await self._primary.take(asks, now)
            except self._faults as fault:
                self._failed_at = now
                self._complain(fault, now)
            else:
                self._failed_at = None
                return taken
        return await self._spare.take([(key, _halved(limit)) for key, limit in asks], now)

    async def reset(self, keys: Sequence[str]) -> None:
        """Fill the buckets up again, wherever that is possible."""
        await self._spare.reset(keys)
        if self._failed_at is None:
            with suppress(*self._faults):  # the next take meets the same fault and tells
                await self._primary.reset(keys)

    def _complain(self, fault: Exception, now: float) -> None:
        if self._rest and not _within(_SILENCE, self._told_at, now):
            self._told_at = now
            _log.warning(
                "rate-limit counters fail (%s: %s); counting in this process at half the budget",
                type(fault).__name__,
                fault,
            )


class Limits:
    """The limits of one server, by the name of their policy.

    Args:
        counters: where the buckets are kept.
        policies: the limit of each policy; a limit that is off is not counted.
        secret: keys the hashes under which names are stored, so that who reads the
            counters cannot confirm a guessed name. Processes that share counters must
            share it.
    """

    def __init__(
        self, counters: Counters, policies: Mapping[str, Limit], *, secret: bytes = b""
    ) -> None:
        self.policies = dict(policies)
        self._counters = counters
        self._salt = blake2b(secret, digest_size=32, person=b"watchword.limits").digest()
        self._refused: dict[str, tuple[float, float, float]] = {}  # noted at, until, full at

    async def spend(self, now: float, *keys: tuple[str, str]) -> Taken:
        """Charge one unit to every key, in order, until one refuses.

        Put the widest first: then the address that floods is refused by its own
        bucket, before it can make a new one for every name it invents.

        Args:
            now: Unix seconds.
            keys: pairs of policy and value, such as `("login_ip", "203.0.113.7")`.

        Returns:
            The outcome with the fewest units remaining.

        Raises:
            TooManyRequests: a bucket is empty.
            KeyError: there is no such policy.
        """
        asks = [
            (self._key(policy, value), limit)
            for policy, value in keys
            if not (limit := self.policies[policy]).off
        ]
        for key, limit in asks:
            self._heed_note(key, limit, now)
        outcomes = await self._counters.take(asks, now) if asks else []
        tightest = UNLIMITED
        for (key, limit), taken in zip(asks, outcomes, strict=False):  # a refusal is the last
            if not taken.allowed:
                self._note(key, taken, now)
                policy = key.partition(":")[0]
                raise _refusal(limit, taken.retry_after, taken.reset, policy)
            tightest = min(tightest, taken, key=lambda it: (it.remaining, -it.reset))
        return tightest

    async def forgive(self, *keys: tuple[str, str]) -> None:
        """Fill the buckets of `keys` up again: the attempt was an honest one."""
        buckets = [
            self._key(policy, value) for policy, value in keys if not self.policies[policy].off
        ]
        for key in buckets:
            self._refused.pop(key, None)
        if buckets:
            await self._counters.reset(buckets)

    def _key(self, policy: str, value: str) -> str:
        """A key of bounded length that does not tell the name it stands for."""
        clear = value.encode("utf-8", "surrogatepass")
        return f"{policy}:{blake2b(clear, digest_size=16, key=self._salt).hexdigest()}"

    def _heed_note(self, key: str, limit: Limit, now: float) -> None:
        """Answer who was told to wait and did not, without touching the counters."""
        note = self._refused.get(key)
        if note is None:
            return
        noted, until, full = note
        if noted <= now < until:
            raise _refusal(limit, until - now, full - now)
        # It has served, or the clock has gone back and it means nothing any more.
        del self._refused[key]

    def _note(self, key: str, taken: Taken, now: float) -> None:
        if len(self._refused) >= _NOTES:
            self._refused.pop(next(iter(self._refused)), None)
        self._refused[key] = (now, now + taken.retry_after, now + taken.reset)


def _refusal(limit: Limit, retry_after: float, reset: float, policy: str = "") -> TooManyRequests:
    return TooManyRequests(
        f"Too many requests; try again in {whole_seconds(retry_after)} s.",
        retry_after=retry_after,
        limit=limit.burst,
        reset=reset,
        policy=policy,
    )


def _halved(limit: Limit) -> Limit:
    return limit if limit.off else Limit(max(1, limit.burst // 2), limit.interval)


def _within(seconds: float, since: float | None, now: float) -> bool:
    """Whether `since` lies less than `seconds` back; not so if the clock has gone back."""
    return since is not None and 0 <= now - since < seconds

"""Rate-limit counters in Redis: the rule of `rules.rates` as a script, by the server's clock.

All buckets of an attempt are asked in one round trip. A cluster keeps them on several
servers, so there each is a round trip of its own, in order, within the same deadline:
a common hash tag would make it one, and would put all counters on one server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from watchword.rules.rates import UNLIMITED, Ask, Taken, told
from watchword.shared.clients import Script
from watchword.shared.link import Fault, Shared

FAULTS: tuple[type[Exception], ...] = (Fault,)
"""What taking may raise."""

_PREFIX = "watchword:limit:"

# A double is exact to 2^53, which is enough for microseconds until the year 2255. A bucket
# that is full again and one that was never asked are the same, so it goes by itself.
_TAKE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local outcomes = {now}
for i, key in ipairs(KEYS) do
  local step, span = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local full = now + span
  local held = math.max(tonumber(redis.call('GET', key) or 0), now)
  local changed, allowed = true, 0
  if held > full then
    held = full
  elseif held + step <= full then
    held = held + step
    allowed = 1
  else
    changed = false
  end
  if changed then
    redis.call('SET', key, string.format('%.0f', held), 'PX', math.ceil((held - now) / 1000))
  end
  outcomes[i + 1] = {allowed, held}
  if allowed == 0 then break end
end
return outcomes
""")


class RedisCounters:
    """Buckets that all machines share; the clock is the server's.

    Every method may raise one of `FAULTS`; what was asked may have been charged then.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def take(self, asks: Sequence[Ask], now: float) -> list[Taken]:  # noqa: ARG002
        """Ask each bucket for one unit, atomically, in order until one refuses."""
        counted = [ask for ask in asks if not ask[1].off]
        taken = iter(await self._shared.run(lambda it: self._taken(it, counted)) if counted else ())
        outcomes = []
        for _, limit in asks:
            outcomes.append(UNLIMITED if limit.off else next(taken))
            if not outcomes[-1].allowed:
                break
        return outcomes

    async def reset(self, keys: Sequence[str]) -> None:
        """Fill the buckets up again."""

        async def delete(client: Any) -> None:
            for some in self._at_once(keys):
                await client.delete(*(_PREFIX + key for key in some))

        await self._shared.run(delete)

    async def _taken(self, client: Any, asks: Sequence[Ask]) -> list[Taken]:
        outcomes: list[Taken] = []
        for some in self._at_once(asks):
            sums = [number for _, limit in some for number in (limit.step, limit.span)]
            now, *answers = await _TAKE(client, [_PREFIX + key for key, _ in some], *sums)
            for (_, limit), (allowed, tat) in zip(some, answers, strict=False):
                outcomes.append(told(tat, now, limit, allowed=allowed == 1))
            if not outcomes[-1].allowed:
                return outcomes
        if len(outcomes) != len(asks):
            raise ValueError("it left a bucket out")
        return outcomes

    def _at_once(self, things: Sequence[Any]) -> Iterable[Sequence[Any]]:
        return [[one] for one in things] if self._shared.is_cluster else [things]

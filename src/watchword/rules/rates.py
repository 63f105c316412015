"""How often is too often: the generic cell rate algorithm, as a rule.

A limit is a bucket that holds `burst` units and gets one back every `interval`
seconds. All there is to remember of a bucket is its *tat* (theoretical arrival time):
the moment at which it will be full of room again. There is no window, so there is no
window's edge at which twice the limit fits.

Sums are made in whole microseconds, because a float of Unix seconds cannot hold a
third of one exactly: with integers this rule, the dict and the SQL statement that
say the same thing agree to the last unit.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_FORM = re.compile(r"([0-9]{1,9}) *\+ *([0-9]{1,9}) */ *(s|min|h|d)")
_FINEST = 0.000_001
_YEAR = 365 * 86_400


def ticks(seconds: float) -> int:
    """Seconds as whole microseconds."""
    return round(seconds * 1_000_000)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a bucket holds and how fast it recovers.

    Args:
        burst: units that may be spent at once; 0 means that there is no limit.
        interval: seconds in which one unit comes back.

    Attributes:
        step: microseconds in which one unit comes back, rounded to the stricter side.
        span: microseconds in which an empty bucket recovers its whole burst.

    Raises:
        ValueError: a number is out of range.
    """

    burst: int
    interval: float
    step: int = field(init=False, repr=False, compare=False)
    span: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.burst < 0 or not _FINEST <= self.interval <= _YEAR:
            raise ValueError("a limit needs a burst of 0 or more and an interval of 1 us to a year")
        if self.burst * self.interval > _YEAR:
            # Beyond this a tat would no longer be exact to the microsecond.
            raise ValueError("a limit must recover its whole burst within a year")
        step = math.ceil(self.interval * 1_000_000)
        object.__setattr__(self, "step", step)
        object.__setattr__(self, "span", self.burst * step)

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `5 + 1/min`: five at once, then one more each minute; or `off`.

        Raises:
            ValueError: the text is not of that form; says what the form is.
        """
        if text.strip() == "off":
            return cls(0, 1.0)
        found = _FORM.fullmatch(text.strip())
        if found is None or not int(found[1]) or not int(found[2]):
            raise ValueError(
                f"{text!r} is not a limit: write BURST + N/UNIT with a UNIT of s, min, h or d"
                " (5 + 1/min is five at once, then one more each minute), or off"
            )
        return cls(int(found[1]), _UNITS[found[3]] / int(found[2]))

    @property
    def off(self) -> bool:
        """Whether there is no limit at all."""
        return not self.burst


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking for one unit.

    Args:
        allowed: whether the unit was given.
        retry_after: seconds until one would be given; 0 when this one was.
        remaining: units that could be had at once right now.
        reset: seconds until the whole burst is there again.
    """

    allowed: bool
    retry_after: float
    remaining: int
    reset: float


Ask = tuple[str, Limit]
"""A bucket's key and its limit."""

UNLIMITED = Taken(allowed=True, retry_after=0.0, remaining=sys.maxsize, reset=0.0)


def told(tat: int, now: int, limit: Limit, *, allowed: bool) -> Taken:
    """Put a bucket's state into words.

    Args:
        tat: the bucket's tat after the attempt, in microseconds.
        now: the time of the attempt, in microseconds.
        limit: the limit that was applied.
        allowed: whether the attempt was given its unit.
    """
    debt = min(max(tat - now, 0), limit.span)
    return Taken(
        allowed=allowed,
        retry_after=0.0 if allowed else max(debt + limit.step - limit.span, 1) / 1_000_000,
        remaining=(limit.span - debt) // limit.step if allowed else 0,
        reset=debt / 1_000_000,
    )


def gcra(tat: float | None, now: float, limit: Limit) -> tuple[float | None, Taken]:
    """Ask a bucket for one unit.

    Args:
        tat: what is remembered of the bucket, None for an untouched one.
        now: Unix seconds.
        limit: the bucket's limit.

    Returns:
        The tat to remember from now on, or None where nothing changes: a refusal costs
        nothing, so who waits as told is let in however often they asked meanwhile.
    """
    if limit.off:
        return None, UNLIMITED
    at = ticks(now)
    full = at + limit.span
    held = at if tat is None else max(ticks(tat), at)
    if held > full:
        # The clock has gone back: no bucket is emptier than empty. Remembering that
        # now lets it recover from here instead of from the future it came from.
        return full / 1_000_000, told(full, at, limit, allowed=False)
    if held + limit.step > full:
        return None, told(held, at, limit, allowed=False)
    held += limit.step
    return held / 1_000_000, told(held, at, limit, allowed=True)


def in_order(asks: Iterable[Ask], take: Callable[[str, Limit], Taken]) -> list[Taken]:
    """Take from one bucket after the other until one refuses, whose outcome is the last."""
    outcomes = []
    for key, limit in asks:
        outcomes.append(take(key, limit))
        if not outcomes[-1].allowed:
            break
    return outcomes

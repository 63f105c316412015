"""How fresh the knowledge of revocations must be: what a route says, what a decision asks.

Where the log is read on each decision, as on one machine, everything here is granted.
"""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from watchword.errors import ConfigError, InvalidRequest
from watchword.seams import Unavailable

WhenStale = Literal["closed", "introspect", "open"]
MIN_SEQ = b"auth-min-seq"  # "decide by no older knowledge than this position of the log"
_POSITION = re.compile(rb"(\d{1,18})\.(\d{1,18})")

# A clock that goes on while the machine sleeps, where there is one: what was known before
# is then known to be old.
sleepless: Callable[[], float] = (
    functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)


class Stale(Unavailable):
    """Nobody can tell what was revoked of late, so nobody may be let in."""


class Untold(Stale):
    """There is no log to know it from: each token has to be asked about."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one decision asks of the knowledge behind it.

    Attributes:
        within: seconds that it may be old, where that is less than the guard's own bound;
            0 is knowledge that was asked for after the request had come.
        position: of the log, that it must have reached if that can be reached now.
        tolerated: seconds beyond the guard's bound that are let pass.
    """

    within: float | None = None
    position: tuple[int, int] | None = None
    tolerated: float = 0.0


AS_USUAL = Asked()
HOWEVER_OLD = Asked(tolerated=math.inf)


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a route, or a whole guard, says of the knowledge behind its decisions.

    Args:
        max_stale: seconds that it may be old; None is the guard's own bound.
        when_stale: what to do when it is older and cannot be renewed: refuse, ask the
            issuer about the one token, or let pass for `open_for` seconds more.
        open_for: seconds.
    """

    max_stale: float | None = None
    when_stale: WhenStale = "closed"
    open_for: float = 0.0

    def asked(self, position: tuple[int, int] | None) -> Asked:
        """What a decision under this policy asks."""
        if self.max_stale is None and position is None:
            return AS_USUAL
        return Asked(self.max_stale, position)

    @property
    def while_in_use(self) -> Freshness:
        """For a token that goes on being used: what to do counts, asking each time does not."""
        return Freshness(None, self.when_stale, self.open_for)

    def __str__(self) -> str:
        said = [] if self.max_stale is None else [f"max_stale={self.max_stale:g}"]
        if self.when_stale == "open":
            said.append(f"when_stale=open for {self.open_for:g} s")
        elif self.when_stale != "closed":
            said.append(f"when_stale={self.when_stale}")
        return ", ".join(said)


def declared(
    max_stale: float | None, when_stale: str | None, open_for: float | None, usual: WhenStale
) -> Freshness | None:
    """What a route declares; None when it declares nothing of the kind.

    Raises:
        ConfigError: it cannot be meant.
    """
    if max_stale is None and when_stale is None and open_for is None:
        return None
    if max_stale is not None and not 0 <= max_stale < math.inf:
        raise ConfigError(f"max_stale={max_stale} is no number of seconds.", fix="max_stale=0")
    if when_stale is not None and when_stale not in get_args(WhenStale):
        raise ConfigError(
            f'There is no when_stale="{when_stale}".',
            fix='when_stale="closed", "introspect", or "open" with open_for=60',
        )
    if (when_stale == "open") != (open_for is not None and 0 < open_for < math.inf):
        raise ConfigError(
            'when_stale="open" and open_for=<seconds> belong together.',
            why="a route that stays open without an end would never notice a revocation",
            fix='when_stale="open", open_for=60',
        )
    return Freshness(max_stale, when_stale or usual, open_for or 0.0)  # type: ignore[arg-type]


def position_in(scope: Mapping[str, Any]) -> tuple[int, int] | None:
    """The position of the log that a request names, `epoch.seq`.

    Raises:
        InvalidRequest: it is not of that form, or there are two.
    """
    found = [value for name, value in scope["headers"] if name == MIN_SEQ]
    if not found:
        return None
    numbers = _POSITION.fullmatch(found[0])
    if numbers is None or len(found) > 1:
        raise InvalidRequest("The Auth-Min-Seq header is not one position, as in 1.42.")
    return int(numbers[1]), int(numbers[2])

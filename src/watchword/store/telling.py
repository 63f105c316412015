"""Whom a store tells of what it has done, and what it keeps of that for later.

Listeners are told at once, after the commit. What functions of the app wait for goes
to the outbox in the transaction itself; so a command, which knows no app, has to
know what apps want: they say so in a table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import Executable

from watchword.events import Event
from watchword.store import tables
from watchword.store.outbox import KEPT_IF_ENTERED, kept
from watchword.store.verbs import Ask, Take, Verb

_h = tables.hooks
_DAY = 86_400.0
_NOTED_AGAIN = _DAY  # seconds after which an app says once more what its functions want
FORGOTTEN = 7 * _DAY  # seconds after which nobody believes that they still do


def _nobody(event: Event) -> None:
    del event


async def _nothing() -> None:
    return


class Telling:
    """Whom a store tells of what it does: listeners at once, functions by the outbox.

    Args:
        listeners: told of every event after its commit.
        wanted: the kinds that are kept in the transaction as well; asked each time.
        committed: awaited after a commit in which something was kept.
    """

    def __init__(
        self,
        listeners: Callable[[Event], None] = _nobody,
        *,
        wanted: Container[str] = (),
        committed: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._listeners = listeners
        self._wanted = wanted
        self._committed = committed

    def kept(self, event: Event, *, by: Executable = KEPT_IF_ENTERED) -> tuple[Ask, ...]:
        """What a verb has to do beside its change: nothing, where nobody waits for the event."""
        return (kept(event, by=by),) if event.kind in self._wanted else ()

    async def __call__(self, event: Event) -> None:
        """Tell of what has been committed."""
        self._listeners(event)
        if event.kind in self._wanted:
            await self._committed()


_NOTE = postgresql.insert(_h).values(kind=bindparam("kind"), seen_at=bindparam("seen_at"))
_NOTE = _NOTE.on_conflict_do_update(
    index_elements=["kind"], set_={"seen_at": _NOTE.excluded.seen_at}
)
_NOTED = select(_h.c.kind).where(_h.c.seen_at >= bindparam("since")).order_by(_h.c.kind)


def wanted(now: float) -> Verb[frozenset[str]]:
    """The kinds that apps on this database want to be told of."""
    rows = yield _NOTED, {"since": now - FORGOTTEN}
    return frozenset(row["kind"] for row in rows)


def lately_noted(now: float) -> Verb[frozenset[str]]:
    """The kinds that need not be noted again."""
    rows = yield _NOTED, {"since": now - _NOTED_AGAIN}
    return frozenset(row["kind"] for row in rows)


def note(some: Iterable[str], now: float) -> Verb[None]:
    """Say that functions of an app want these kinds."""
    yield Take((_NOTE, {"kind": kind, "seen_at": now}) for kind in sorted(some))

"""Events on their way to the app's functions, kept with the change that they tell of.

A row is written in the transaction of the change, leased by one process, and deleted
when every function has heard of it. Meanwhile `due_at` is when the lease runs out:
whoever dies over a row leaves it to others. What is written on a row afterwards asks
for the lease, so a process that was too slow changes nothing of its successor's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

from sqlalchemy import bindparam, delete, exists, func, literal, null, or_, select, update
from sqlalchemy.sql import ColumnElement, Executable

from watchword.events import Event, HookAbandoned, kinds
from watchword.store import tables
from watchword.store.verbs import ENTERED, Ask, Row, Take, Verb, given, insert_where

LATE = 600.0  # seconds after which somebody should look why an event is still here

_o, _h = tables.outbox, tables.hooks

# --- keeping ---


def kept_where(*conditions: Any) -> Executable:
    """An INSERT into the outbox that takes place where the conditions hold."""
    row = given(_o, "kind", "payload", "created_at", "due_at")
    return insert_where(_o, {**row, "tries": literal(0), "heard": literal("")}, *conditions)


KEPT = kept_where()
KEPT_IF_ENTERED = kept_where(ENTERED)


def kept(event: Event, *, by: Executable = KEPT) -> Ask:
    """Keep an event, `by` an INSERT of `kept_where` that has the conditions of its change."""
    return by, {
        "kind_": event.kind,
        "payload_": json.dumps(asdict(event)),
        "created_at_": event.at,
        "due_at_": event.at,
    }


def keep(some: Iterable[Ask]) -> Verb[None]:
    """Keep events, each an ask of `kept`, that belong to no change of state."""
    yield Take(some)


# --- delivering ---


@dataclass(frozen=True, slots=True)
class Kept:
    """An event in the hands of the one process that holds its lease.

    Attributes:
        tries: how often it was leased, this time included.
        heard: the names of the functions that need not be told again.
    """

    id: int
    lease: str
    kind: str
    payload: str
    created_at: float
    tries: int
    heard: frozenset[str]

    @property
    def event_id(self) -> str:
        """The event's own id, whatever else of it can be read."""
        return str(json.loads(self.payload).get("id", ""))

    @property
    def event(self) -> Event:
        """The event as it was told.

        Raises:
            ValueError: this version knows no such event.
        """
        event = kinds().get(self.kind)
        if event is None:
            raise ValueError(f"no event is called {self.kind}")
        payload = json.loads(self.payload)
        known = {field.name for field in fields(event)}  # a newer version may tell more
        try:
            return event(**{name: value for name, value in payload.items() if name in known})
        except TypeError as error:
            raise ValueError(f"not all of {self.kind} is there: {error}") from error


def _any_of(wanted: Iterable[str]) -> ColumnElement[bool]:
    return or_(*(_o.c.kind == literal(kind) for kind in wanted))


@cache  # so that each is compiled once
def _due(wanted: tuple[str, ...]) -> Executable:
    return (
        select(literal(1))
        .select_from(_o)
        .where(_o.c.due_at <= bindparam("now"), _any_of(wanted))
        .limit(1)
    )


@cache
def _lease(wanted: tuple[str, ...]) -> Executable:
    is_due = _o.c.due_at <= bindparam("now")
    some = (
        select(_o.c.id)
        .where(is_due, _any_of(wanted))
        .order_by(_o.c.due_at, _o.c.id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
    )
    return (
        update(_o)
        .where(_o.c.id.in_(some), is_due)
        .values(lease=bindparam("new_lease"), due_at=bindparam("until"), tries=_o.c.tries + 1)
        .returning(_o)
    )


_MINE = (_o.c.id == bindparam("which"), _o.c.lease == bindparam("held"))
_DONE = delete(_o).where(*_MINE).returning(_o.c.id)
_POSTPONE = (
    update(_o)
    .where(*_MINE)
    .values(lease=null(), due_at=bindparam("again_at"), heard=bindparam("so_far"))
)
_PUT_BACK = (
    update(_o)
    .where(*_MINE)
    .values(lease=null(), due_at=bindparam("again_at"), tries=_o.c.tries - 1)
)


def is_due(wanted: Sequence[str], now: float) -> Verb[bool]:
    """Whether there is anything of these kinds to deliver."""
    return bool((yield _due(tuple(wanted)), {"now": now}))


def lease(
    wanted: Sequence[str], now: float, *, until: float, by: str, most: int
) -> Verb[list[Kept]]:
    """Take up to `most` events of these kinds, the oldest first; nobody else has them then.

    Args:
        wanted: kinds.
        now: Unix seconds.
        until: when others may take them, because whoever did is dead.
        by: a name that was never used before.
        most: how many.
    """
    values = {"now": now, "until": until, "new_lease": by, "most": most}
    rows = yield _lease(tuple(wanted)), values
    return sorted((_read(row) for row in rows), key=lambda one: (one.created_at, one.id))


def _read(row: Row) -> Kept:
    return Kept(
        id=row["id"],
        lease=row["lease"] or "",
        kind=row["kind"],
        payload=row["payload"],
        created_at=row["created_at"],
        tries=row["tries"],
        heard=frozenset(row["heard"].split()),
    )


def _mine(one: Kept) -> dict[str, Any]:
    return {"which": one.id, "held": one.lease}


def done(one: Kept) -> Verb[bool]:
    """Everybody has heard of it."""
    return bool((yield _DONE, _mine(one)))


def postpone(one: Kept, again_at: float, heard: Iterable[str]) -> Verb[None]:
    """Somebody has to be told again; those of `heard` have not."""
    so_far = " ".join(sorted({*one.heard, *heard}))
    yield _POSTPONE, {**_mine(one), "again_at": again_at, "so_far": so_far}


def put_back(some: Iterable[Kept], now: float) -> Verb[None]:
    """Leave them to others at once, as if nobody had taken them."""
    for one in some:
        yield _PUT_BACK, {**_mine(one), "again_at": now}


def abandon(one: Kept, *more: Ask) -> Verb[bool]:
    """Give up; `more` is what to do in the same transaction."""
    rows = yield _DONE, _mine(one)
    if not rows:
        return False
    for ask in more:  # noqa: UP028 - a tuple cannot be sent rows
        yield ask
    return True


# --- what nobody takes ---

_IS_OVERDUE = (
    _o.c.due_at < bindparam("since"),
    ~exists().where(_h.c.kind == _o.c.kind, _h.c.seen_at >= bindparam("seen_since")).correlate(_o),
)
_ANY_OVERDUE = select(literal(1)).select_from(_o).where(*_IS_OVERDUE).limit(1)
_OVERDUE = (
    delete(_o)
    .where(_o.c.id.in_(select(_o.c.id).where(*_IS_OVERDUE).limit(bindparam("most"))), *_IS_OVERDUE)
    .returning(_o)
)
_WAITING = (
    select(
        _o.c.kind,
        func.count().label("rows"),
        func.min(_o.c.created_at).label("oldest"),
        func.max(_o.c.tries).label("tries"),
    )
    .where(_o.c.created_at < bindparam("since"))
    .group_by(_o.c.kind)
    .order_by(_o.c.kind)
)


def is_overdue(since: float, *, wanted_since: float) -> Verb[bool]:
    """Whether `abandon_overdue` would find anything."""
    return bool((yield _ANY_OVERDUE, {"since": since, "seen_since": wanted_since}))


def abandon_overdue(
    since: float, now: float, *, wanted_since: float, most: int = 500
) -> Verb[list[HookAbandoned]]:
    """Give up what was due before `since`, if no app has wanted its kind after `wanted_since`."""
    values = {"since": since, "seen_since": wanted_since, "most": most}
    rows = yield _OVERDUE, values
    return [
        HookAbandoned(
            now,
            event_kind=row["kind"],
            event_id=_read(row).event_id,
            functions=row["heard"],
            tries=row["tries"],
            reason="nobody takes it",
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Events of one kind that wait."""

    kind: str
    count: int
    oldest: float
    tries: int


def waiting(since: float) -> Verb[list[Waiting]]:
    """What was kept before `since` and is still here."""
    rows = yield _WAITING, {"since": since}
    return [Waiting(row["kind"], row["rows"], row["oldest"], row["tries"]) for row in rows]

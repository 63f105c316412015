"""Rate-limit counters in PostgreSQL, for nodes that share no Redis or Valkey.

The table is unlogged: it costs no write-ahead log, is empty after a crash and absent
on replicas, all of which a counter may be. The buckets of one attempt are taken in one
statement, each only if the one before it gave its unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    exists,
    func,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import Executable

from watchword.rules.rates import UNLIMITED, Ask, Taken, ticks, told
from watchword.seams import Unavailable
from watchword.store.tables import PREFIX
from watchword.store.verbs import Driver, Row, Take, Verb

FAULTS: tuple[type[Exception], ...] = (Unavailable,)
"""What taking from a server may raise."""

limits = Table(
    PREFIX + "limits",
    MetaData(),
    Column("k", Text, primary_key=True),
    Column("tat", BigInteger, nullable=False),  # microseconds
    prefixes=["UNLOGGED"],
)
_now = bindparam("now", type_=BigInteger)
_LOWER = (
    update(limits)
    .where(limits.c.k == bindparam("key", type_=Text), limits.c.tat > bindparam("full"))
    .values(tat=bindparam("full"))
)
_RESET = delete(limits).where(limits.c.k == bindparam("key", type_=Text))
_FULL_AGAIN = (
    select(limits.c.k)
    .where(limits.c.tat < _now)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)  # waits for no attempt, which may hold what it wants
)
_SWEEP = (
    delete(limits).where(limits.c.k.in_(_FULL_AGAIN), limits.c.tat < _now).returning(limits.c.k)
)


class ServerCounters:
    """Buckets in a table of the database.

    Every method may raise one of `FAULTS`.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def take(self, asks: Sequence[Ask], now: float) -> list[Taken]:
        """Ask each bucket for one unit, in order until one refuses; one round trip."""
        limited = [ask for ask in asks if not ask[1].off]
        if not limited:
            return [UNLIMITED] * len(asks)
        taken = iter(await self._driver.write(_taken(limited, ticks(now)), durable=False))
        answers = []
        for _, limit in asks:
            one = UNLIMITED if limit.off else next(taken)
            answers.append(one)
            if not one.allowed:
                break
        return answers

    async def reset(self, keys: Sequence[str]) -> None:
        """Fill the buckets up again, in the order in which an attempt takes them: else the two
        could wait for each other."""  # noqa: D205, D209
        await self._driver.write(_reset(keys), durable=False)

    async def sweep(self, now: float, most: int = 500) -> int:
        """Delete up to `most` buckets that are full again; returns how many went."""
        values = {"now": ticks(now), "most": most}
        return len(await self._driver.write(_once(_SWEEP, values), durable=False))


def _once(statement: Executable, values: dict[str, Any]) -> Verb[Sequence[Row]]:
    (rows,) = yield Take(((statement, values),))
    found: Sequence[Row] = rows
    return found


def _reset(keys: Sequence[str]) -> Verb[None]:
    yield Take((_RESET, {"key": key}) for key in keys)


def _taken(asks: Sequence[Ask], at: int) -> Verb[list[Taken]]:
    values: dict[str, Any] = {"now": at}
    for n, (key, limit) in enumerate(asks):
        values |= {f"key{n}": key, f"step{n}": limit.step, f"span{n}": limit.span}
    (rows,) = yield Take(((_statement(len(asks)), values),))
    given = {row["n"]: row["tat"] for row in rows if row["given"]}
    before = {row["n"]: row["tat"] for row in rows if not row["given"]}
    answers = []
    for n, (key, limit) in enumerate(asks):
        if n in given:
            answers.append(told(given[n], at, limit, allowed=True))
            continue
        full = at + limit.span
        tat = before.get(n, full)
        if tat > full:  # the clock has gone back; see rules.rates.gcra
            yield Take(((_LOWER, {"key": key, "full": full}),))
        answers.append(told(tat, at, limit, allowed=False))
        break
    return answers


@lru_cache(maxsize=16)
def _statement(count: int) -> Executable:
    """The taking of so many buckets; what each held before is told beside what it holds now."""
    parts: list[Any] = []
    before: Any = None
    for n in range(count):
        key, step = bindparam(f"key{n}", type_=Text), bindparam(f"step{n}", type_=BigInteger)
        row = select(key.label("k"), (_now + step).label("tat"))
        if before is not None:
            row = row.where(exists(select(literal(1)).select_from(before)))
        held = func.greatest(limits.c.tat, _now)
        take = (
            postgresql.insert(limits)
            .from_select(["k", "tat"], row)
            .on_conflict_do_update(
                index_elements=[limits.c.k],
                set_={"tat": held + step},
                where=held + step - _now <= bindparam(f"span{n}", type_=BigInteger),
            )
            .returning(limits.c.tat)
            .cte(f"taken{n}")
        )
        number = literal(n).label("n")
        parts.append(select(number, take.c.tat, literal(value=True).label("given")))
        parts.append(
            select(number, limits.c.tat, literal(value=False).label("given")).where(
                limits.c.k == key
            )
        )
        before = take
    return union_all(*parts)

"""The oldest code that may serve: how two versions share a database while one replaces the other.

A revision of the schema only adds, as a rule, so code of the revision before goes on
serving it. One that takes away what older code needs, or that adds what older code would
have to obey, says so:

    serves_from = "0004"  # code of an older revision than this may not serve any more

The floor rises with it, in the same transaction as an entry of the revocation log that
every process reads; those of older code then refuse whatever they are asked.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, exists, select, text, update

from watchword.rules.revoking import LONGEST_LIFE
from watchword.seams import Unavailable
from watchword.store import schema, tables
from watchword.store.revocations import enter_where, entered
from watchword.store.verbs import ENTERED, RECORDED_IF_ENTERED, Take, Verb, audited

_column = tables.floor.c.serves_from
_FLOOR = select(_column)
_ENTER = enter_where(exists().where(_column != bindparam("floor", type_=_column.type)))
_RAISE = update(tables.floor).where(ENTERED).values(serves_from=bindparam("floor"))
_NOW = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::float8",
}


class Superseded(Unavailable):
    """A newer version has changed the database so that this code may not serve it."""

    def __init__(self) -> None:
        super().__init__("a newer version has taken over the database; replace this process")


def must_serve() -> Verb[None]:
    """Nothing, as long as this code may serve.

    Raises:
        Superseded: it may not any more.
    """
    rows = yield _FLOOR, {}
    if rows[0]["serves_from"] not in schema.REVISIONS:
        raise Superseded


def raised(revision: str, now: float) -> Verb[bool]:
    """Code of revisions before this one may not serve from now on; False when it could not.

    Args:
        revision: one that is no older than the floor is now.
        now: Unix seconds.
    """
    which = {"floor": revision}
    record = audited(now, "schema.floor_raised", detail=revision, by=RECORDED_IF_ENTERED)
    return entered((_ENTER, which), "config", "", now, LONGEST_LIFE, (_RAISE, which), record)


def raised_by(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:  # noqa: ARG001 - Alembic's
    """Called by Alembic after each revision, in its transaction."""
    revision: str | None = getattr(step.up_revision.module, "serves_from", None)
    if revision is not None:
        _run(ctx.connection, revision)


def _run(connection: Connection, revision: str) -> None:
    now: float = connection.execute(text(_NOW[connection.dialect.name])).scalar_one()
    take = next(raised(revision, now))
    assert isinstance(take, Take)  # noqa: S101 - what enters the log is one
    for statement, values in take:
        connection.execute(statement, values)

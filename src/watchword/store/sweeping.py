"""Clean-up: dead rows go in small batches, by an index on their end.

A row leaves only after everything it could still refuse has run out by itself.
"""

from __future__ import annotations

from sqlalchemy import Table, bindparam, delete, select
from sqlalchemy.sql import Executable

from watchword.store import tables
from watchword.store.verbs import Verb

AUDIT_DAYS = 400


def _dead(table: Table, key: str, end: str) -> Executable:
    column = table.c[key]
    some = select(column).where(table.c[end] < bindparam("until")).limit(bindparam("most"))
    return delete(table).where(column.in_(some)).returning(column)


_GRANTS = _dead(tables.grants, "id", "expires_at")
_REV = _dead(tables.rev, "seq", "expires_at")
_ONCE = _dead(tables.once, "id", "expires_at")
_KEYS = _dead(tables.signing_keys, "kid", "verifies_until")
_AUDIT = _dead(tables.audit, "id", "at")


def sweep(now: float, most: int) -> Verb[int]:
    """Delete up to `most` rows of each kind; returns how many went."""
    gone = 0
    for statement in (_GRANTS, _REV, _ONCE, _KEYS):
        rows = yield statement, {"until": now, "most": most}
        gone += len(rows)
    rows = yield _AUDIT, {"until": now - AUDIT_DAYS * 86_400, "most": most}
    return gone + len(rows)

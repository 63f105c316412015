"""Clean-up: dead rows go in small batches, by an index on their end.

A row leaves only after everything it could still refuse has run out by itself, and
an hour later than that (`GRACE`).
"""

from __future__ import annotations

from sqlalchemy import Table, bindparam, delete, select
from sqlalchemy.sql import Executable

from watchword.rules.revoking import GRACE
from watchword.store import tables
from watchword.store.verbs import Verb

AUDIT_DAYS = 400


def _dead(table: Table, key: str, end: str) -> Executable:
    column = table.c[key]
    over = table.c[end] < bindparam("until")
    some = select(column).where(over).limit(bindparam("most"))
    # `over` again, because the column alone need not name one row.
    return delete(table).where(column.in_(some), over).returning(column)


_GRANTS = _dead(tables.grants, "id", "expires_at")
_REV = _dead(tables.rev, "seq", "expires_at")
_ONCE = _dead(tables.once, "id", "expires_at")
_KEYS = _dead(tables.signing_keys, "kid", "verifies_until")
_AUDIT = _dead(tables.audit, "id", "at")


def sweep(now: float, most: int) -> Verb[int]:
    """Delete up to `most` rows of each kind; returns how many went."""
    gone = 0
    for statement in (_GRANTS, _REV, _ONCE, _KEYS):
        rows = yield statement, {"until": now - GRACE, "most": most}
        gone += len(rows)
    rows = yield _AUDIT, {"until": now - AUDIT_DAYS * 86_400, "most": most}
    return gone + len(rows)

"""Verbs on things that work once: a kind and a digest, consumed by deleting the row.

The kind is part of the key, so that a thing of one kind never answers for another. What
others made up and may show us once is the other way round: spent by the row's being there.
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete
from sqlalchemy.dialects import postgresql

from watchword.store import tables
from watchword.store.verbs import Verb, insert_into

_o = tables.once
_TAKE = (
    delete(_o)
    .where(
        _o.c.kind == bindparam("kind"),
        _o.c.id == bindparam("id"),
        _o.c.expires_at > bindparam("now"),
    )
    .returning(_o.c.payload)
)
_SEEN = (
    postgresql.insert(_o)
    .values({name: bindparam(name) for name in ("kind", "id", "payload", "expires_at")})
    .on_conflict_do_nothing()
    .returning(_o.c.kind)
)


def put(kind: str, key: bytes, payload: str, expires_at: float) -> Verb[None]:
    """Keep `payload` under the digest `key`."""
    yield (
        insert_into(_o, "kind", "id", "payload", "expires_at"),
        {"kind": kind, "id": key, "payload": payload, "expires_at": expires_at},
    )


def take(kind: str, key: bytes, now: float) -> Verb[str | None]:
    """Consume it: the deleted row decides who got it."""
    rows = yield _TAKE, {"kind": kind, "id": key, "now": now}
    return str(rows[0]["payload"]) if rows else None


def see(kind: str, key: bytes, until: float) -> Verb[bool]:
    """Note that `key` was shown; false when it was before. The row is kept until after `until`."""
    rows = yield _SEEN, {"kind": f"seen:{kind}", "id": key, "payload": "", "expires_at": until}
    return bool(rows)

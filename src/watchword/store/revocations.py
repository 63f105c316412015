"""The revocation log: every revocation, at whatever level, is one sequence number.

`rev_head` is locked before anything else, so the log has no gaps and its order is
the order of commits; a guard that has seen number n has seen all before it. Ending
a user's sessions everywhere is one number in one row, however many there are.
"""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, update

from watchword.rules.revoking import key8
from watchword.seams import Revocation
from watchword.store import tables
from watchword.store.verbs import HEAD, HEAD_ADVANCED, HEAD_LOCKED, Verb, audit, insert_into

_TAIL = (
    select(tables.rev.c.seq, tables.rev.c.kind, tables.rev.c.key8, tables.rev.c.expires_at)
    .where(tables.rev.c.log_id == 0, tables.rev.c.seq > bindparam("after"))
    .order_by(tables.rev.c.seq)
)
_END_GRANT = (
    update(tables.grants)
    .where(tables.grants.c.id == bindparam("grant_id"), tables.grants.c.revoked_seq.is_(None))
    .values(revoked_seq=bindparam("seq"))
    .returning(tables.grants.c.user_id, tables.grants.c.client_id)
)
_END_USER = (
    update(tables.users)
    .where(tables.users.c.id == bindparam("user_id"))
    .values(rev_seq=bindparam("seq"))
    .returning(tables.users.c.id)
)
_END_CLIENT = (
    update(tables.clients)
    .where(tables.clients.c.id == bindparam("client_id"))
    .values(rev_seq=bindparam("seq"))
    .returning(tables.clients.c.id)
)
_JTI_KNOWN = select(func.count().label("known")).where(
    tables.rev.c.log_id == 0,
    tables.rev.c.kind == "jti",
    tables.rev.c.key8 == bindparam("key8"),
)


def head() -> Verb[int]:
    """The log's newest number."""
    rows = yield HEAD, {}
    return int(rows[0]["seq"])


def tail(after: int) -> Verb[list[Revocation]]:
    """The entries behind `after`, oldest first."""
    rows = yield _TAIL, {"after": after}
    return [Revocation(r["seq"], r["kind"], r["key8"], r["expires_at"]) for r in rows]


def next_number() -> Verb[int]:
    """Lock the log and say which number the next entry gets."""
    rows = yield HEAD_LOCKED, {}
    return int(rows[0]["seq"]) + 1


def append(kind: str, name: str, now: float, life: float) -> Verb[None]:
    """Write the entry whose number `next_number` told."""
    yield HEAD_ADVANCED, {}
    rows = yield HEAD, {}
    yield (
        insert_into(tables.rev, "log_id", "seq", "at", "kind", "key8", "expires_at"),
        {
            "log_id": 0,
            "seq": rows[0]["seq"],
            "at": now,
            "kind": kind,
            "key8": key8(kind, name),
            "expires_at": now + life,
        },
    )


def revoke_grant(grant_id: bytes, now: float, life: float, *, why: str = "revoked") -> Verb[bool]:
    """End one grant; False when it was already dead or never was."""
    seq = yield from next_number()
    rows = yield _END_GRANT, {"grant_id": grant_id, "seq": seq}
    if not rows:
        return False
    yield from append("grant", grant_id.hex(), now, life)
    yield from audit(
        now,
        f"grant.{why}",
        sub=rows[0]["user_id"],
        client_id=rows[0]["client_id"],
        detail=grant_id.hex(),
    )
    return True


def revoke_user(user_id: str, now: float, life: float) -> Verb[bool]:
    """End every grant the user has now, in O(1); grants opened later live."""
    seq = yield from next_number()
    rows = yield _END_USER, {"user_id": user_id, "seq": seq}
    if not rows:
        return False
    yield from append("user", user_id, now, life)
    yield from audit(now, "user.signed_out_everywhere", sub=user_id)
    return True


def revoke_client(client_id: str, now: float, life: float) -> Verb[bool]:
    """End every grant and token of a client, in O(1)."""
    seq = yield from next_number()
    rows = yield _END_CLIENT, {"client_id": client_id, "seq": seq}
    if not rows:
        return False
    yield from append("client", client_id, now, life)
    yield from audit(now, "client.revoked", client_id=client_id)
    return True


def revoke_token(jti: str, expires_at: float, now: float, life: float) -> Verb[bool]:
    """End one access token that belongs to no grant."""
    if expires_at + life <= now:
        return False
    yield from next_number()
    rows = yield _JTI_KNOWN, {"key8": key8("jti", jti)}
    if rows[0]["known"]:
        return False
    yield from append("jti", jti, now, life)
    yield from audit(now, "token.revoked", detail=jti)
    return True


def config_changed(now: float, life: float) -> Verb[None]:
    """Tell every process that keys or clients have changed."""
    yield from next_number()
    yield from append("config", "", now, life)

"""The revocation log: every revocation, at whatever level, is one sequence number.

`rev_head` is locked before anything else, so the log has no gaps and its order is
the order of commits; a guard that has seen number n has seen all before it. Ending
a user's sessions everywhere is one number in one row, however many there are.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, bindparam, case, exists, literal, literal_column, update
from sqlalchemy.sql import Executable

from watchword.rules.revoking import key8
from watchword.store import tables
from watchword.store.log import POSITION
from watchword.store.verbs import (
    ENTERED,
    HEAD,
    HEAD_ADVANCED,
    HEAD_LOCKED,
    NEXT,
    RECORDED_IF_ENTERED,
    Ask,
    Take,
    Verb,
    audited,
    given,
    insert_where,
)


def enter_where(*conditions: Any) -> Executable:
    """An INSERT of the log's next entry, where the conditions hold."""
    return insert_where(
        tables.rev,
        {
            "log_id": literal(0),
            "seq": NEXT,
            **given(tables.rev, "at", "kind", "key8", "expires_at"),
        },
        *conditions,
    )


_ENTER_GRANT = enter_where(
    exists().where(
        tables.grants.c.id == bindparam("grant_id"), tables.grants.c.revoked_seq.is_(None)
    )
)
_END_GRANT = (
    update(tables.grants)
    .where(tables.grants.c.id == bindparam("grant_id"), ENTERED)
    .values(revoked_seq=NEXT)
)
_RECORD_GRANT = insert_where(
    tables.audit,
    {
        **given(tables.audit, "at", "kind", "detail"),
        "sub": tables.grants.c.user_id,
        "client_id": tables.grants.c.client_id,
    },
    tables.grants.c.id == bindparam("grant_id"),
    ENTERED,
)


class _Holder:
    """Who holds grants and tokens, and where it is written that those so far have ended.

    Args:
        table: has an `id` and a `rev_seq`.
        kind: of the log's entry.
        told: the audit trail's word for it.
        column: of the audit trail, for the name.
    """

    def __init__(self, table: Any, kind: str, told: str, column: str) -> None:
        its_own = table.c.id == bindparam("whose")
        self.enter = enter_where(exists().where(its_own))
        self.end = update(table).where(its_own, ENTERED).values(rev_seq=NEXT)
        self.kind, self.told, self.column = kind, told, column


USER = _Holder(tables.users, "user", "user.signed_out_everywhere", "sub")
CLIENT = _Holder(tables.clients, "client", "client.revoked", "client_id")
_ENTER_TOKEN = enter_where(
    ~exists().where(
        tables.rev.c.log_id == literal(0),
        tables.rev.c.kind == literal_column("'jti'"),  # said in full, as the index says it
        tables.rev.c.key8 == bindparam("key8_"),
    )
)


_head = tables.rev_head
_EPOCH = bindparam("epoch_", type_=BigInteger)
_FLOOR = bindparam("floor", type_=BigInteger)
_MARGIN = literal(2**20)
_MOVE = (
    update(_head)
    .where(_head.c.log_id == 0)
    .values(
        epoch=case((_head.c.epoch < _EPOCH, _EPOCH), else_=_head.c.epoch + 1),
        seq=case((_head.c.seq + _MARGIN < _FLOOR, _FLOOR), else_=_head.c.seq + _MARGIN),
    )
)
_ENTER = enter_where()
_END_CLIENTS = update(tables.clients).where(ENTERED).values(rev_seq=NEXT)


def head() -> Verb[int]:
    """The log's newest number."""
    rows = yield HEAD, {}
    return int(rows[0]["seq"])


def bump_epoch(now: float, life: float, *, end_everything: bool) -> Verb[tuple[int, int]]:
    """Begin a new epoch; returns its number and the log's newest.

    Both move to where the clock puts them, unless they are there already: so a number
    is not given twice, even when one backup is restored several times, and each is
    greater than any `rev` in a token of the time that was lost.

    Args:
        now: Unix seconds.
        life: seconds that the entry is kept.
        end_everything: whether every grant and token of before is over.
    """
    kind = "all" if end_everything else "config"
    entry = {"at_": now, "kind_": kind, "key8_": key8(kind, ""), "expires_at_": now + life}
    detail = "everything ended" if end_everything else "nothing ended"
    ends: tuple[Ask, ...] = ((_END_CLIENTS, {}),) if end_everything else ()
    answers = yield Take(
        (
            (HEAD_LOCKED, {}),
            (_MOVE, {"epoch_": int(now), "floor": int(now) << 20}),
            (_ENTER, entry),
            *ends,
            audited(now, "log.restored", detail=detail),
            (HEAD_ADVANCED, {}),
            (POSITION, {}),
        )
    )
    return answers[-1][0]["epoch"], answers[-1][0]["seq"]


def entered(enter: Ask, kind: str, name: str, now: float, life: float, *changes: Ask) -> Verb[bool]:
    """Write the log's next entry and what goes with it, or nothing.

    The head is locked first, so that those who come together take turns and each sees
    what the one before has done.

    Args:
        enter: an INSERT of `enter_where`, which decides, and the values of its conditions.
        kind: of the entry.
        name: of what is ended.
        now: Unix seconds.
        life: seconds that the entry is kept.
        changes: what else to do, each on the condition `ENTERED`.
    """
    statement, values = enter
    entry = {"at_": now, "kind_": kind, "key8_": key8(kind, name), "expires_at_": now + life}
    answers = yield Take(
        ((HEAD_LOCKED, {}), (statement, {**values, **entry}), *changes, (HEAD_ADVANCED, {}))
    )
    return bool(answers[-1])


def revoke_grant(
    grant_id: bytes, now: float, life: float, *more: Ask, why: str = "revoked"
) -> Verb[bool]:
    """End one grant; False when it was already dead or never was."""
    which = {"grant_id": grant_id}
    record = {"at_": now, "kind_": f"grant.{why}", "detail_": grant_id.hex()}
    return entered(
        (_ENTER_GRANT, which),
        "grant",
        grant_id.hex(),
        now,
        life,
        (_END_GRANT, which),
        (_RECORD_GRANT, {**which, **record}),
        *more,
    )


def revoke_all(holder: _Holder, name: str, now: float, life: float, *more: Ask) -> Verb[bool]:
    """End every grant and token that a user or client has now, in O(1); later ones live.

    Args:
        holder: `USER` or `CLIENT`.
        name: the subject, or the client's id.
        now: Unix seconds.
        life: seconds that the entry is kept.
        more: what else changes about the holder, each on the condition `ENTERED`.
    """
    whose = {"whose": name}
    record = audited(now, holder.told, by=RECORDED_IF_ENTERED, **{holder.column: name})
    enter, end = (holder.enter, whose), (holder.end, whose)
    return entered(enter, holder.kind, name, now, life, end, record, *more)


def revoke_token(jti: str, expires_at: float, now: float, life: float, *more: Ask) -> Verb[bool]:
    """End one access token that belongs to no grant."""
    if expires_at + life <= now:
        return False
    record = audited(now, "token.revoked", detail=jti, by=RECORDED_IF_ENTERED)
    return (yield from entered((_ENTER_TOKEN, {}), "jti", jti, now, life, record, *more))

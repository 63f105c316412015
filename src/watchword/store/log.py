"""The revocation log as guards read it: all that is new in one statement.

How it is written, and why its numbers have no gaps, is in `store/revocations.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Integer, bindparam, case, exists, literal, or_, select

from watchword.rules.revoking import key8
from watchword.seams import Revocation, Tail
from watchword.store import tables
from watchword.store.verbs import Row, Verb

_head, _rev = tables.rev_head, tables.rev
_AFTER = bindparam("after", type_=BigInteger)
_TAIL = (
    # One statement, hence one snapshot. Where the log is not the one that was read before, or
    # has lost its end since, a position says nothing and all entries are read.
    select(
        _head.c.epoch,
        _head.c.seq.label("head"),
        _rev.c.seq,
        _rev.c.kind,
        _rev.c.key8,
        _rev.c.expires_at,
    )
    .select_from(
        _head.outerjoin(
            _rev,
            (_rev.c.log_id == _head.c.log_id)
            & (
                _rev.c.seq
                > case(
                    (
                        (_head.c.epoch == bindparam("epoch", type_=BigInteger))
                        & (_head.c.seq >= _AFTER),
                        _AFTER,
                    ),
                    else_=literal(-1),
                )
            ),
        )
    )
    .where(_head.c.log_id == 0)
    .order_by(_rev.c.seq)
)
_PAGE = _TAIL.limit(bindparam("most", type_=Integer))
POSITION = select(_head.c.epoch, _head.c.seq).where(_head.c.log_id == 0)
_IS_REVOKED = select(
    case(
        (
            or_(
                # Grants that a restored database does not know are as dead as those it knows dead.
                (bindparam("has_grant", type_=Integer) == 1)
                & ~exists().where(
                    tables.grants.c.id == bindparam("grant_id"),
                    tables.grants.c.revoked_seq.is_(None),
                ),
                exists().where(
                    tables.users.c.id == bindparam("user_id"),
                    tables.users.c.rev_seq > bindparam("rev"),
                ),
                ~exists().where(
                    tables.clients.c.id == bindparam("client_id"),
                    tables.clients.c.rev_seq <= bindparam("rev"),
                ),
                exists().where(
                    _rev.c.log_id == literal(0),
                    _rev.c.kind == literal("jti"),
                    _rev.c.key8 == bindparam("key8_"),
                ),
            ),
            literal(1),
        ),
        else_=literal(0),
    ).label("ended")
)


def tail(after: int, epoch: int) -> Verb[Tail]:
    """The log behind a position, as `seams.Tail` has it."""
    rows = yield _TAIL, {"after": after, "epoch": epoch}
    return Tail(rows[0]["epoch"], rows[0]["head"], _entries(rows))


def page(after: int, epoch: int, most: int) -> Verb[Tail]:
    """As `tail`, but at most that many entries: where there are more it ends with the last."""
    rows = yield _PAGE, {"after": after, "epoch": epoch, "most": most + 1}
    entries = _entries(rows[:most])
    if len(rows) > most:
        return Tail(rows[0]["epoch"], entries[-1].seq, entries, more=True)
    return Tail(rows[0]["epoch"], rows[0]["head"], entries)


def _entries(rows: Sequence[Row]) -> tuple[Revocation, ...]:
    return tuple(
        Revocation(r["seq"], r["kind"], r["key8"], r["expires_at"])
        for r in rows
        if r["seq"] is not None  # no entry, only the head
    )


def position() -> Verb[tuple[int, int]]:
    """Where the log ends: its epoch and its newest number."""
    rows = yield POSITION, {}
    return rows[0]["epoch"], rows[0]["seq"]


def is_revoked(
    grant_id: bytes | None, user_id: str, client_id: str, jti: str, rev: int
) -> Verb[bool]:
    """Whether anything has ended a token: its grant, its user, its client, or itself."""
    values = {
        "has_grant": int(grant_id is not None),
        "grant_id": grant_id or b"",
        "user_id": user_id,
        "client_id": client_id,
        "key8_": key8("jti", jti),
        "rev": rev,
    }
    rows = yield _IS_REVOKED, values
    return bool(rows[0]["ended"])

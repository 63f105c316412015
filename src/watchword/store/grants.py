"""Verbs on grants: opening one, rotating its refresh token, finding it.

Only the conditional UPDATE decides which presented token is the newest. When it
matches no row, one SELECT in the same transaction says why, and the pure rule in
`rules/refresh.py` names the consequence.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import bindparam, exists, literal, select, update
from sqlalchemy.dialects import postgresql

from watchword.rules.refresh import Grant, RefreshToken, Standing, judged
from watchword.rules.scopes import Scopes
from watchword.seams import NewGrant, Opened, Refused, Repeated, Reused, Rotated
from watchword.store import tables
from watchword.store.outbox import kept_where
from watchword.store.revocations import revoke_grant
from watchword.store.verbs import HEAD, Ask, Row, Take, Verb, audited, recorded_where

_g, _u, _c = tables.grants, tables.users, tables.clients
_REV = HEAD.scalar_subquery().label("rev")
_OWNER_LIVES = exists().where(
    _u.c.id == _g.c.user_id, _u.c.disabled == 0, _u.c.rev_seq <= _g.c.opened_rev
).correlate(_g) & exists().where(
    _c.c.id == _g.c.client_id, _c.c.disabled == 0, _c.c.rev_seq <= _g.c.opened_rev
).correlate(_g)
_FACTS = (_g, (~_OWNER_LIVES).label("owner_is_dead"), _REV)

_OPEN = (
    postgresql.insert(_g)
    .from_select(
        [
            "id", "user_id", "client_id", "scopes", "audience", "generation", "rotated_at",
            "proof", "opened_rev", "auth_time", "created_at", "idle_until", "expires_at",
        ],
        select(
            bindparam("id"),
            _u.c.id,
            bindparam("client_id"),
            bindparam("scopes"),
            bindparam("audience"),
            literal(0),
            bindparam("now"),
            bindparam("proof"),
            HEAD.scalar_subquery(),
            bindparam("auth_time"),
            bindparam("now"),
            bindparam("idle_until"),
            bindparam("expires_at"),
        ).where(
            _u.c.id == bindparam("user_id"),
            _u.c.disabled == 0,
            # The password was checked against what was true at `looked_at`; whoever was
            # signed out everywhere since then must prove themselves again.
            _u.c.rev_seq <= bindparam("looked_at"),
        ),
    )
    .on_conflict_do_nothing()
    .returning(_g.c.opened_rev)
)  # fmt: skip
_OPENED = exists().where(
    _g.c.id == bindparam("opened_id"),
    _g.c.proof == bindparam("opened_proof"),
    _g.c.created_at == bindparam("at_"),
)
_RECORD_OPENED = recorded_where(_OPENED)
KEPT_IF_OPENED = kept_where(_OPENED)
_ROTATE = (
    update(_g)
    .where(
        _g.c.id == bindparam("grant_id"),
        _g.c.generation == bindparam("presented"),
        _g.c.proof == bindparam("presented_proof"),
        _g.c.client_id == bindparam("by_client"),
        _g.c.revoked_seq.is_(None),
        _g.c.expires_at > bindparam("now"),
        _g.c.idle_until > bindparam("now"),
        _OWNER_LIVES,
    )
    .values(
        generation=_g.c.generation + 1,
        rotated_at=bindparam("now"),
        idle_until=bindparam("next_idle"),
    )
    .returning(_g, literal(0).label("owner_is_dead"), _REV)
)
_HEAL = (
    update(_g)
    .where(
        _g.c.id == bindparam("grant_id"),
        _g.c.generation < bindparam("presented"),
        _g.c.revoked_seq.is_(None),
        _OWNER_LIVES,  # a token minted by the number told here would survive a logout before it
    )
    .values(
        generation=bindparam("presented") + 1,
        rotated_at=bindparam("now"),
        idle_until=bindparam("next_idle"),
    )
    .returning(_g, literal(0).label("owner_is_dead"), _REV)
)
_BY_ID = select(*_FACTS).where(_g.c.id == bindparam("grant_id"))
_OF_USER = select(*_FACTS).where(_g.c.user_id == bindparam("user_id")).order_by(_g.c.created_at)


def grant(row: Row) -> Grant:
    """A grant's row as a value."""
    return Grant(
        id=row["id"],
        user_id=row["user_id"],
        client_id=row["client_id"],
        scopes=Scopes(row["scopes"].split()),
        audience=row["audience"],
        generation=row["generation"],
        rotated_at=row["rotated_at"],
        proof=row["proof"],
        opened_rev=row["opened_rev"],
        auth_time=row["auth_time"],
        created_at=row["created_at"],
        idle_until=row["idle_until"],
        expires_at=row["expires_at"],
        revoked_seq=row["revoked_seq"],
        owner_is_dead=bool(row["owner_is_dead"]),
    )


def by_id(grant_id: bytes) -> Verb[Grant | None]:
    """The grant of that id."""
    rows = yield _BY_ID, {"grant_id": grant_id}
    return grant(rows[0]) if rows else None


def of_user(user_id: str) -> Verb[list[Grant]]:
    """A user's grants, oldest first, dead ones included until they are swept."""
    rows = yield _OF_USER, {"user_id": user_id}
    return [grant(row) for row in rows]


def open_grant(new: NewGrant, now: float, *more: Ask) -> Verb[Opened | Refused]:
    """Record what a user allowed a client, if the user may still sign in.

    Args:
        new: the grant.
        now: Unix seconds.
        more: what else to do, each by `KEPT_IF_OPENED`.
    """
    values = {
        "id": new.id,
        "user_id": new.user_id,
        "client_id": new.client_id,
        "scopes": str(new.scopes),
        "audience": new.audience,
        "proof": new.proof,
        "auth_time": new.auth_time,
        "idle_until": new.idle_until,
        "expires_at": new.expires_at,
        "looked_at": new.looked_at,
        "now": now,
    }
    statement, record = audited(
        now,
        "login.succeeded",
        sub=new.user_id,
        client_id=new.client_id,
        ip=new.ip or None,
        detail=new.id.hex(),
        by=_RECORD_OPENED,
    )
    opened = {"opened_id": new.id, "opened_proof": new.proof, "at_": now}
    told = ((then, {**what, **opened}) for then, what in ((statement, record), *more))
    rows, *_ = yield Take(((_OPEN, values), *told))
    if not rows:
        return Refused("the user is gone, disabled, or was signed out meanwhile")
    return Opened(rows[0]["opened_rev"])


def rotate(  # noqa: PLR0911 - one return per standing
    token: RefreshToken,
    now: float,
    life: float,
    *,
    window: float,
    idle: float,
    durable: bool,
    if_reused: Callable[[Grant], tuple[Ask, ...]] = lambda _: (),
) -> Verb[Rotated | Repeated | Reused | Refused | None]:
    """Spend a refresh token: the newest generation gives way to the next.

    A token that came back after its window ends the grant in this same transaction;
    that is returned, not raised, so that the ending is committed. An ending must
    outlive a power cut, unlike a rotation: where the transaction is not `durable`
    nothing is changed and None says that it must be run again in one that is. What
    `if_reused` asks is done with the ending.
    """
    change = {
        "grant_id": token.grant_id,
        "presented": token.generation,
        "now": now,
        "next_idle": now + idle,
    }
    presented = {**change, "presented_proof": token.proof, "by_client": token.client_id}
    (rows,) = yield Take(((_ROTATE, presented),))
    if rows:
        return Rotated(grant(rows[0]), rows[0]["rev"])
    (rows,) = yield Take(((_BY_ID, {"grant_id": token.grant_id}),))
    if not rows:
        return Refused("no such grant")
    found = grant(rows[0])
    match judged(token, found, now, window):
        case Standing.JUST_SPENT:
            return Repeated(found, rows[0]["rev"])
        case Standing.REUSED:
            if not durable:
                return None
            first = yield from revoke_grant(found.id, now, life, *if_reused(found), why="reused")
            return Reused(found, first=first)
        case Standing.AHEAD:
            (rows,) = yield Take(((_HEAL, change),))
            if rows:
                lost = token.generation - found.generation
                return Rotated(grant(rows[0]), rows[0]["rev"], healed=lost)
            return Refused("another request healed it first")
        case standing:
            return Refused(standing.value)

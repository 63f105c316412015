"""Verbs on signing keys: published before they sign, verified after they stop."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, exists, or_, select, update

from watchword.crypto.keys import NEVER, StoredKey
from watchword.rules.claims import DEV_KID
from watchword.store import floor, tables
from watchword.store.revocations import enter_where, entered
from watchword.store.verbs import (
    ENTERED,
    RECORDED_IF_ENTERED,
    Ask,
    Verb,
    audited,
    given,
    insert_where,
)

_k = tables.signing_keys
_ALL = select(_k).order_by(_k.c.signs_from)
# Development's keys neither stand in for production's nor retire them: a database often
# begins its life in development.
_OF_MODE = _k.c.kid.startswith(DEV_KID) == bindparam("development")
_ENTER_UNLESS_NEWER = enter_where(
    ~exists().where(
        _k.c.alg == bindparam("alg"), _k.c.signs_from > bindparam("unless_newer_than"), _OF_MODE
    )
)
_RETIRE = (
    update(_k)
    .where(_k.c.alg == bindparam("of_alg"), _k.c.verifies_until.is_(None), _OF_MODE, ENTERED)
    .values(verifies_until=bindparam("retire_at"))
)
_WITHDRAW = (  # a successor that waits for its time has signed nothing
    update(_k)
    .where(
        _k.c.alg == bindparam("of_alg"),
        _k.c.signs_from > bindparam("signs_from"),
        _OF_MODE,
        ENTERED,
    )
    .values(verifies_until=NEVER)
)
_ADD = insert_where(_k, given(_k, "kid", "alg", "signs_from", "sealed", "public"), ENTERED)

_LASTS_LONGER = (
    _k.c.kid == bindparam("which"),
    or_(_k.c.verifies_until.is_(None), _k.c.verifies_until > bindparam("until")),
)
_other = _k.alias()
_ENTER_SOONER = enter_where(exists().where(*_LASTS_LONGER))
_ENTER_SOONER_IF_ANOTHER_SIGNS = enter_where(
    exists().where(
        *_LASTS_LONGER,
        _other.c.kid != _k.c.kid,
        _other.c.alg == _k.c.alg,
        _other.c.kid.startswith(DEV_KID) == _k.c.kid.startswith(DEV_KID),
        _other.c.signs_from <= bindparam("now"),
        _other.c.verifies_until.is_(None),  # one that was replaced is no successor
    )
)
_END = (
    update(_k)
    .where(_k.c.kid == bindparam("which"), ENTERED)
    .values(verifies_until=bindparam("until"))
)
_RESEAL = (
    update(_k)
    .where(_k.c.kid == bindparam("which"), _k.c.sealed == bindparam("instead_of"))
    .values(sealed=bindparam("new"))
    .returning(_k.c.kid)
)


def every() -> Verb[list[StoredKey]]:
    """All keys, oldest first.

    Raises:
        Superseded: to code that may not serve any more none are given.
    """
    yield from floor.must_serve()
    rows = yield _ALL, {}
    return [
        StoredKey(
            kid=row["kid"],
            alg=row["alg"],
            signs_from=row["signs_from"],
            verifies_until=row["verifies_until"],
            sealed=row["sealed"],
            public=row["public"],
        )
        for row in rows
    ]


def add(
    key: StoredKey,
    *more: Ask,
    unless_newer_than: float,
    retire_at: float,
    now: float,
    life: float,
) -> Verb[bool]:
    """Publish a key, unless another process has published one of its kind already."""
    development = {"development": key.kid.startswith(DEV_KID)}
    newer = {**development, "alg": key.alg, "unless_newer_than": unless_newer_than}
    values = {
        "kid_": key.kid,
        "alg_": key.alg,
        "signs_from_": key.signs_from,
        "sealed_": key.sealed,
        "public_": key.public,
    }
    return entered(
        (_ENTER_UNLESS_NEWER, newer),
        "config",
        "",
        now,
        life,
        (_RETIRE, {**development, "of_alg": key.alg, "retire_at": retire_at}),
        (_WITHDRAW, {**development, "of_alg": key.alg, "signs_from": key.signs_from}),
        (_ADD, values),
        audited(now, "key.published", detail=key.kid, by=RECORDED_IF_ENTERED),
        *more,
    )


def retire(kid: str, *, until: float, even_last: bool, now: float, life: float) -> Verb[bool]:
    """Let a key verify nothing after `until`; False when that changes nothing, or when nobody
    else of its kind signs."""  # noqa: D205, D209
    ending: dict[str, Any] = {"which": kid, "until": until}
    enter = (_ENTER_SOONER, ending)
    if not even_last:
        enter = (_ENTER_SOONER_IF_ANOTHER_SIGNS, {**ending, "now": now})
    record = audited(now, "key.retired", detail=kid, by=RECORDED_IF_ENTERED)
    return entered(enter, "config", "", now, life, (_END, ending), record)


def reseal(kid: str, new: bytes, *, instead_of: bytes, now: float) -> Verb[bool]:
    """Replace a sealed private key, if it is still the one that was opened. Nobody needs to
    be told: what the key signs and verifies stays the same."""  # noqa: D205, D209
    rows = yield _RESEAL, {"which": kid, "new": new, "instead_of": instead_of}
    if not rows:
        return False
    yield audited(now, "key.resealed", detail=kid)
    return True

"""Verbs on signing keys: published before they sign, verified after they stop."""

from __future__ import annotations

from sqlalchemy import bindparam, exists, select, update

from watchword.crypto.keys import StoredKey
from watchword.rules.claims import DEV_KID
from watchword.store import tables
from watchword.store.revocations import enter_where, entered
from watchword.store.verbs import (
    ENTERED,
    RECORDED_IF_ENTERED,
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
_ADD = insert_where(_k, given(_k, "kid", "alg", "signs_from", "sealed", "public"), ENTERED)


def every() -> Verb[list[StoredKey]]:
    """All keys, oldest first."""
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
    key: StoredKey, *, unless_newer_than: float, retire_at: float, now: float, life: float
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
        (_ADD, values),
        audited(now, "key.published", detail=key.kid, by=RECORDED_IF_ENTERED),
    )

"""Verbs on signing keys: published before they sign, verified after they stop."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, update

from watchword.crypto.keys import StoredKey
from watchword.rules.claims import DEV_KID
from watchword.store import tables
from watchword.store.revocations import config_changed
from watchword.store.verbs import HEAD_LOCKED, Verb, audit, insert_into

_k = tables.signing_keys
_ALL = select(_k).order_by(_k.c.signs_from)
# Development's keys neither stand in for production's nor retire them: a database often
# begins its life in development.
_OF_MODE = _k.c.kid.startswith(DEV_KID) == bindparam("development")
_NEWER = select(func.count().label("newer")).where(
    _k.c.alg == bindparam("alg"), _k.c.signs_from > bindparam("unless_newer_than"), _OF_MODE
)
_RETIRE = (
    update(_k)
    .where(_k.c.alg == bindparam("of_alg"), _k.c.verifies_until.is_(None), _OF_MODE)
    .values(verifies_until=bindparam("retire_at"))
)


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
    yield HEAD_LOCKED, {}  # racing processes take turns here
    development = key.kid.startswith(DEV_KID)
    rows = yield (
        _NEWER,
        {
            "alg": key.alg,
            "unless_newer_than": unless_newer_than,
            "development": development,
        },
    )
    if rows[0]["newer"]:
        return False
    yield _RETIRE, {"of_alg": key.alg, "retire_at": retire_at, "development": development}
    yield (
        insert_into(_k, "kid", "alg", "signs_from", "verifies_until", "sealed", "public"),
        {
            "kid": key.kid,
            "alg": key.alg,
            "signs_from": key.signs_from,
            "verifies_until": None,
            "sealed": key.sealed,
            "public": key.public,
        },
    )
    yield from config_changed(now, life)
    yield from audit(now, "key.published", detail=key.kid)
    return True

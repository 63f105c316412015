"""Verbs on users and their credentials."""

from __future__ import annotations

import json

from sqlalchemy import bindparam, exists, literal, select, update
from sqlalchemy.dialects import postgresql

from watchword.rules.logins import folded
from watchword.rules.scopes import Scopes
from watchword.seams import Account, StoredUser
from watchword.store import tables
from watchword.store.revocations import USER, enter_where, entered, revoke_all
from watchword.store.verbs import (
    ENTERED,
    NEXT,
    RECORDED_IF_ENTERED,
    Ask,
    Row,
    Verb,
    audited,
    given,
    insert_into,
)

_u, _c = tables.users, tables.credentials
_WITH_PASSWORD = select(_u, _c.c.secret.label("password")).select_from(
    _u.outerjoin(_c, (_c.c.user_id == _u.c.id) & (_c.c.kind == "password"))
)
_BY_LOGIN = _WITH_PASSWORD.where(_u.c.login == bindparam("login"))
_BY_ID = _WITH_PASSWORD.where(_u.c.id == bindparam("user_id"))
_PAGE = (
    select(_u).where(_u.c.login > bindparam("after")).order_by(_u.c.login).limit(bindparam("most"))
)
_ADD = (
    postgresql.insert(_u)
    .values(
        {
            name: bindparam(name)
            for name in (
                "id", "login", "username", "email", "name", "disabled", "scopes", "roles",
                "claims", "created_at", "rev_seq",
            )
        }
    )
    .on_conflict_do_nothing()
    .returning(_u.c.id)
)  # fmt: skip
_SECRET = {
    "user_id": bindparam("user_id", type_=_c.c.user_id.type),
    "kind": literal("password"),
    **given(_c, "secret", "updated_at"),
}
_SET_SECRET = (
    postgresql.insert(_c)
    .from_select(
        list(_SECRET),
        select(*(value.label(name) for name, value in _SECRET.items())).where(ENTERED),
        include_defaults=False,
    )
    .on_conflict_do_update(
        index_elements=["user_id", "kind"],
        set_={"secret": bindparam("secret_"), "updated_at": bindparam("updated_at_")},
    )
)
_UPGRADE_SECRET = (
    update(_c)
    .where(
        _c.c.user_id == bindparam("of_user"),
        _c.c.kind == "password",
        _c.c.secret == bindparam("instead_of"),
    )
    .values(secret=bindparam("secret"), updated_at=bindparam("updated_at"))
    .returning(_c.c.user_id)
)
_SET_SCOPES = (
    update(_u)
    .where(_u.c.id == bindparam("user_id"))
    .values(scopes=bindparam("now_scopes"))
    .returning(_u.c.id)
)
_ENTER_OTHERWISE = enter_where(
    exists().where(_u.c.id == bindparam("user_id"), _u.c.disabled != bindparam("now_disabled"))
)
_SET_DISABLED = (
    update(_u)
    .where(_u.c.id == bindparam("user_id"), ENTERED)
    .values(disabled=bindparam("now_disabled"), rev_seq=NEXT)
)


def account(row: Row) -> Account:
    """The public half of a user's row."""
    return Account(
        sub=row["id"],
        username=row["username"],
        email=row["email"],
        name=row["name"],
        disabled=bool(row["disabled"]),
        scopes=tuple(row["scopes"].split()),
        roles=tuple(row["roles"].split()),
        created_at=row["created_at"],
        claims=json.loads(row["claims"]),
    )


def _stored(row: Row) -> StoredUser:
    return StoredUser(account(row), row["password"], row["rev_seq"])


def by_login(login: str) -> Verb[StoredUser | None]:
    """The user a person means by what they typed."""
    rows = yield _BY_LOGIN, {"login": folded(login)}
    return _stored(rows[0]) if rows else None


def by_id(user_id: str) -> Verb[StoredUser | None]:
    """The user of that subject."""
    rows = yield _BY_ID, {"user_id": user_id}
    return _stored(rows[0]) if rows else None


def page(after: str, most: int) -> Verb[list[Account]]:
    """Users in the order of their logins, behind `after`."""
    rows = yield _PAGE, {"after": folded(after), "most": most}
    return [account(row) for row in rows]


def add(user: StoredUser) -> Verb[bool]:
    """Create a user; False when the login is taken: one of many racers wins."""
    who = user.account
    rows = yield (
        _ADD,
        {
            "id": who.sub,
            "login": folded(who.username),
            "username": who.username,
            "email": who.email,
            "name": who.name,
            "disabled": int(who.disabled),
            "scopes": " ".join(who.scopes),
            "roles": " ".join(who.roles),
            "claims": json.dumps(dict(who.claims)),
            "created_at": who.created_at,
            "rev_seq": 0,
        },
    )
    if not rows:
        return False
    if user.password is not None:
        yield (
            insert_into(_c, "user_id", "kind", "secret", "updated_at"),
            {
                "user_id": who.sub,
                "kind": "password",
                "secret": user.password,
                "updated_at": who.created_at,
            },
        )
    yield audited(who.created_at, "user.created", sub=who.sub)
    return True


def ensure(user_id: str, now: float) -> Verb[None]:
    """Note a subject an embedder vouches for, so that its grants can be ended in O(1)."""
    yield (
        _ADD,
        {
            "id": user_id,
            "login": None,
            "username": user_id,
            "email": None,
            "name": None,
            "disabled": 0,
            "scopes": "",
            "roles": "",
            "claims": "{}",
            "created_at": now,
            "rev_seq": 0,
        },
    )


def set_password(
    user_id: str, new: str, now: float, life: float, *more: Ask, instead_of: str | None
) -> Verb[bool]:
    """Change a hash. An upgrade is a compare-and-swap; a change ends every grant, and does `more`
    on the condition `ENTERED`."""  # noqa: D205, D209
    if instead_of is not None:
        rows = yield (
            _UPGRADE_SECRET,
            {"of_user": user_id, "instead_of": instead_of, "secret": new, "updated_at": now},
        )
        return bool(rows)
    record = audited(now, "user.password_changed", sub=user_id, by=RECORDED_IF_ENTERED)
    secret = {"user_id": user_id, "secret_": new, "updated_at_": now}
    return (yield from revoke_all(USER, user_id, now, life, (_SET_SECRET, secret), record, *more))


def set_scopes(user_id: str, scopes: Scopes, now: float) -> Verb[bool]:
    """Change what a user may have; a grant made before is narrowed at its next refresh."""
    rows = yield _SET_SCOPES, {"user_id": user_id, "now_scopes": str(scopes)}
    if not rows:
        return False
    yield audited(now, "user.scopes_changed", sub=user_id, detail=str(scopes))
    return True


def set_disabled(user_id: str, now: float, life: float, *more: Ask, disabled: bool) -> Verb[bool]:
    """Disable or enable; either way what was granted before stays dead."""
    change = {"user_id": user_id, "now_disabled": int(disabled)}
    return entered(
        (_ENTER_OTHERWISE, change),
        "user",
        user_id,
        now,
        life,
        (_SET_DISABLED, change),
        audited(
            now,
            "user.disabled" if disabled else "user.enabled",
            sub=user_id,
            by=RECORDED_IF_ENTERED,
        ),
        *more,
    )

"""Verbs on clients."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, exists, select, update

from watchword.rules.clients import Client
from watchword.rules.scopes import Scopes
from watchword.store import tables
from watchword.store.revocations import enter_where, entered
from watchword.store.verbs import (
    ENTERED,
    HEAD,
    NEXT,
    RECORDED_IF_ENTERED,
    Ask,
    Row,
    Verb,
    audited,
    given,
    insert_where,
)

_c = tables.clients
_REV = HEAD.scalar_subquery().label("rev")
_BY_ID = select(_c, _REV).where(_c.c.id == bindparam("client_id"))
_ALL = select(_c, _REV).order_by(_c.c.created_at, _c.c.id)
_IS_THERE = exists().where(_c.c.id == bindparam("client_id"))
_ENTER_NEW = enter_where(~_IS_THERE)
_ADD = insert_where(
    _c,
    {
        **given(
            _c, "id", "name", "auth_method", "secrets", "grants", "scopes", "resources",
            "introspects", "disabled", "created_at",
        ),
        "rev_seq": NEXT,
    },
    ENTERED,
)  # fmt: skip
_ENTER_AS_LOOKED_AT = enter_where(
    exists().where(_c.c.id == bindparam("client_id"), _c.c.secrets == bindparam("instead_of"))
)
_SET_SECRETS = (
    update(_c).where(_c.c.id == bindparam("client_id"), ENTERED).values(secrets=bindparam("new"))
)
_ENTER_THERE = enter_where(_IS_THERE)
_SET_SCOPES = (
    update(_c)
    .where(_c.c.id == bindparam("client_id"), ENTERED)
    .values(scopes=bindparam("now_scopes"))
)
_ENTER_OTHERWISE = enter_where(
    exists().where(_c.c.id == bindparam("client_id"), _c.c.disabled != bindparam("now_disabled"))
)
_SET_DISABLED = (
    update(_c)
    .where(_c.c.id == bindparam("client_id"), ENTERED)
    .values(disabled=bindparam("now_disabled"), rev_seq=NEXT)
)
_REMOVE = delete(_c).where(_c.c.id == bindparam("client_id"), ENTERED)


def client(row: Row) -> Client:
    """A client's row as a value, with the log position of the same snapshot."""
    return Client(
        id=row["id"],
        name=row["name"],
        auth_method=row["auth_method"],
        grants=frozenset(row["grants"].split()),
        scopes=Scopes(row["scopes"].split()),
        secrets=tuple(row["secrets"].split()),
        resources=tuple(row["resources"].split()),
        introspects=tuple(row["introspects"].split()),
        disabled=bool(row["disabled"]),
        created_at=row["created_at"],
        seen_rev=row["rev"],
    )


def by_id(client_id: str) -> Verb[Client | None]:
    """The client of that id."""
    rows = yield _BY_ID, {"client_id": client_id}
    return client(rows[0]) if rows else None


def every() -> Verb[list[Client]]:
    """All clients, oldest first."""
    rows = yield _ALL, {}
    return [client(row) for row in rows]


def add(new: Client, now: float, life: float) -> Verb[bool]:
    """Register a client; False when the id is taken.

    It starts at the entry that announces it: whatever an earlier client of this id was
    granted stays dead.
    """
    values = {
        "id_": new.id,
        "name_": new.name,
        "auth_method_": new.auth_method,
        "secrets_": " ".join(new.secrets),
        "grants_": " ".join(sorted(new.grants)),
        "scopes_": str(new.scopes),
        "resources_": " ".join(new.resources),
        "introspects_": " ".join(new.introspects),
        "disabled_": int(new.disabled),
        "created_at_": now,
    }
    record = audited(now, "client.created", client_id=new.id, by=RECORDED_IF_ENTERED)
    enter = _ENTER_NEW, {"client_id": new.id}
    return entered(enter, "config", "", now, life, (_ADD, values), record)


def set_secrets(
    client_id: str, new: tuple[str, ...], now: float, life: float, instead_of: tuple[str, ...]
) -> Verb[bool]:
    """Replace the digests, only if they are still those that were looked at."""
    which = {"client_id": client_id}
    return entered(
        (_ENTER_AS_LOOKED_AT, {**which, "instead_of": " ".join(instead_of)}),
        "config",
        "",
        now,
        life,
        (_SET_SECRETS, {**which, "new": " ".join(new)}),
        audited(now, "client.secret_changed", client_id=client_id, by=RECORDED_IF_ENTERED),
    )


def set_scopes(client_id: str, scopes: Scopes, now: float, life: float) -> Verb[bool]:
    """Change what a client may have for itself; the tokens it holds stay as they are."""
    which = {"client_id": client_id}
    return entered(
        (_ENTER_THERE, which),
        "config",
        "",
        now,
        life,
        (_SET_SCOPES, {**which, "now_scopes": str(scopes)}),
        audited(
            now,
            "client.scopes_changed",
            client_id=client_id,
            detail=str(scopes),
            by=RECORDED_IF_ENTERED,
        ),
    )


def set_disabled(client_id: str, now: float, life: float, *more: Ask, disabled: bool) -> Verb[bool]:
    """Disable or enable; either way what it was granted before stays dead."""
    change = {"client_id": client_id, "now_disabled": int(disabled)}
    kind = "client.disabled" if disabled else "client.enabled"
    record = audited(now, kind, client_id=client_id, by=RECORDED_IF_ENTERED)
    enter = _ENTER_OTHERWISE, change
    return entered(enter, "client", client_id, now, life, (_SET_DISABLED, change), record, *more)


def remove(client_id: str, now: float, life: float, *more: Ask) -> Verb[bool]:
    """Delete a client; its tokens die with it."""
    which = {"client_id": client_id}
    record = audited(now, "client.deleted", client_id=client_id, by=RECORDED_IF_ENTERED)
    enter = _ENTER_THERE, which
    return entered(enter, "client", client_id, now, life, (_REMOVE, which), record, *more)

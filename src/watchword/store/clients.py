"""Verbs on clients."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import sqlite

from watchword.rules.clients import Client
from watchword.rules.scopes import Scopes
from watchword.store import tables
from watchword.store.revocations import append, config_changed, next_number
from watchword.store.verbs import HEAD, Row, Verb, audit

_c = tables.clients
_REV = HEAD.scalar_subquery().label("rev")
_BY_ID = select(_c, _REV).where(_c.c.id == bindparam("client_id"))
_ALL = select(_c, _REV).order_by(_c.c.created_at, _c.c.id)
_COLUMNS = (
    "id", "name", "auth_method", "secrets", "grants", "scopes", "resources", "introspects",
    "disabled", "rev_seq", "created_at",
)  # fmt: skip
_ADD = (
    sqlite.insert(_c)
    .values({name: bindparam(name) for name in _COLUMNS})
    .on_conflict_do_nothing()
    .returning(_c.c.id)
)
_SET_SECRETS = (
    update(_c)
    .where(_c.c.id == bindparam("client_id"), _c.c.secrets == bindparam("instead_of"))
    .values(secrets=bindparam("new"))
    .returning(_c.c.id)
)
_SET_SCOPES = (
    update(_c)
    .where(_c.c.id == bindparam("client_id"))
    .values(scopes=bindparam("now_scopes"))
    .returning(_c.c.id)
)
_REMOVE = delete(_c).where(_c.c.id == bindparam("client_id")).returning(_c.c.id)


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
    seq = yield from next_number()
    rows = yield (
        _ADD,
        {
            "id": new.id,
            "name": new.name,
            "auth_method": new.auth_method,
            "secrets": " ".join(new.secrets),
            "grants": " ".join(sorted(new.grants)),
            "scopes": str(new.scopes),
            "resources": " ".join(new.resources),
            "introspects": " ".join(new.introspects),
            "disabled": int(new.disabled),
            "rev_seq": seq,
            "created_at": now,
        },
    )
    if not rows:
        return False
    yield from config_changed(now, life)
    yield from audit(now, "client.created", client_id=new.id)
    return True


def set_secrets(
    client_id: str, new: tuple[str, ...], now: float, life: float, instead_of: tuple[str, ...]
) -> Verb[bool]:
    """Replace the digests, only if they are still those that were looked at."""
    rows = yield (
        _SET_SECRETS,
        {"client_id": client_id, "new": " ".join(new), "instead_of": " ".join(instead_of)},
    )
    if not rows:
        return False
    yield from config_changed(now, life)
    yield from audit(now, "client.secret_changed", client_id=client_id)
    return True


def set_scopes(client_id: str, scopes: Scopes, now: float) -> Verb[bool]:
    """Change what a client may have for itself; the tokens it holds stay as they are."""
    rows = yield _SET_SCOPES, {"client_id": client_id, "now_scopes": str(scopes)}
    if not rows:
        return False
    yield from audit(now, "client.scopes_changed", client_id=client_id, detail=str(scopes))
    return True


def remove(client_id: str, now: float, life: float) -> Verb[bool]:
    """Delete a client; its tokens die with it."""
    yield from next_number()
    rows = yield _REMOVE, {"client_id": client_id}
    if not rows:
        return False
    yield from append("client", client_id, now, life)
    yield from audit(now, "client.deleted", client_id=client_id)
    return True

"""Clients as they are kept in a process: read once, and never believed beyond a change."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from watchword import Auth, clients
from watchword.clients import Clients
from watchword.crypto.secrets import fresh
from watchword.guard.revocations import Revocations
from watchword.rules.clients import Client
from watchword.rules.scopes import Scopes
from watchword.seams import Unavailable
from watchword.store import schema
from watchword.store.clients import set_scopes
from watchword.store.contract import NOW, a_client
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

LIFE = 600.0


@dataclass
class Looks:
    """The client look-up of a store, counted; `away` is a log that cannot be read."""

    store: SqlStore
    revocations: Revocations
    asked: list[str] = field(default_factory=list)
    away: bool = False

    async def read(self, client_id: str) -> Client | None:
        self.asked.append(client_id)
        return await self.store.client(client_id)

    def changes(self) -> int | None:
        if self.away:
            return None
        self.revocations.catch_up(NOW)
        return self.revocations.config_changes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.db"


@pytest.fixture
def stores(path):
    """Two drivers over one file, as two processes have them."""
    with closing(Sqlite(path)) as one, closing(Sqlite(path)) as other:
        schema.prepare(one, upgrade=False)
        yield [SqlStore(driver, token_life=LIFE) for driver in (one, other)]


@pytest.fixture
def looks(stores) -> Looks:
    return Looks(stores[0], Revocations(stores[0]))


@pytest.fixture
def known(looks) -> Clients:
    return Clients(looks.read, looks.changes)


async def test_a_client_is_read_once(stores, looks, known):
    client = a_client()
    await stores[0].add_client(client, NOW)
    for _ in range(5):
        assert replace(await known.find(client.id, NOW), seen_rev=0) == client
    assert looks.asked == [client.id]
    await stores[1].ensure_user("u_1", NOW)
    await stores[1].revoke_user("u_1", NOW)  # no client has changed
    await known.find(client.id, NOW)
    assert looks.asked == [client.id]


@pytest.mark.attack("T-14")
@pytest.mark.parametrize("by", [0, 1], ids=["by this process", "by another"])
async def test_every_change_is_obeyed_at_the_next_look_up(stores, looks, known, by):
    client, store = a_client(auth_method="client_secret", secrets=("old",)), stores[by]
    await store.add_client(client, NOW)
    await known.find(client.id, NOW)
    assert await store.set_client_secrets(client.id, ("new",), NOW, instead_of=("old",))
    assert (await known.find(client.id, NOW)).secrets == ("new",)
    await store.driver.write(set_scopes(client.id, Scopes(("other",)), NOW, LIFE))
    assert (await known.find(client.id, NOW)).scopes == Scopes(("other",))
    assert await store.revoke_client(client.id, NOW)
    # What it is given from now on must be younger than its ending.
    assert (await known.find(client.id, NOW)).seen_rev == await store.head()
    assert await store.set_client_disabled(client.id, NOW, disabled=True)
    assert (await known.find(client.id, NOW)).disabled
    assert await store.remove_client(client.id, NOW)
    assert await known.find(client.id, NOW) is None
    assert await store.add_client(client, NOW)
    assert await known.find(client.id, NOW) is not None


@pytest.mark.attack("T-14")
async def test_a_change_during_the_look_up_is_not_missed(stores, looks, known):
    client = a_client(auth_method="client_secret", secrets=("old",))
    await stores[0].add_client(client, NOW)
    real = stores[0].client

    async def read_and_then_changed(client_id: str) -> Client | None:
        found = await real(client_id)
        await stores[1].set_client_secrets(client_id, ("new",), NOW, instead_of=("old",))
        looks.changes()  # as another task does meanwhile
        return found

    stores[0].client = read_and_then_changed
    assert (await known.find(client.id, NOW)).secrets == ("old",), "read before the change"
    stores[0].client = real
    assert (await known.find(client.id, NOW)).secrets == ("new",)


async def test_when_the_log_cannot_tell_the_store_is_asked(stores, looks, known):
    client = a_client()
    await stores[0].add_client(client, NOW)
    await known.find(client.id, NOW)
    looks.away = True
    for _ in range(3):
        assert await known.find(client.id, NOW) is not None
    assert looks.asked == [client.id] * 4

    async def gone(client_id: str) -> Client | None:
        raise Unavailable("away")

    stores[0].client = gone
    with pytest.raises(Unavailable):
        await known.find(client.id, NOW)


@pytest.mark.attack("D-08")
async def test_ids_that_nobody_has_take_no_room(looks, known):
    for n in range(300):
        assert await known.find(f"ghost{n}", NOW) is None
    assert len(known) == 0
    assert len(looks.asked) == 300


@pytest.mark.attack("D-08")
async def test_room_is_bounded(looks, known, monkeypatch):
    monkeypatch.setattr(clients, "_MOST", 8)

    async def anything(client_id: str) -> Client:
        return a_client(client_id)

    looks.store.client = anything
    for n in range(100):
        assert (await known.find(f"c{n}", NOW)).id == f"c{n}"
        assert len(known) <= 8


async def test_nothing_is_kept_for_longer_than_the_log_remembers(stores, looks, known):
    """An entry that was swept is heard of by nobody who slept meanwhile."""
    client = a_client(auth_method="client_secret", secrets=("old",))
    await stores[0].add_client(client, NOW)
    await known.find(client.id, NOW)
    await stores[1].set_client_secrets(client.id, ("new",), NOW, instead_of=("old",))
    later = NOW + 100_000
    await stores[1].sweep(later)
    assert (await stores[1].tail(0, (await stores[1].position())[0])).entries == ()
    assert (await known.find(client.id, later)).secrets == ("new",)
    assert (await known.find(client.id, later - 7200)).secrets == ("new",)
    assert len(looks.asked) == 3, "nor is one believed that comes from the future"


OTHER = """
import asyncio, sys
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

async def main(path, verb, *names):
    store = SqlStore(Sqlite(path), token_life=600)
    now = 1_800_000_000.0
    if verb == "rotate":
        assert await store.set_client_secrets("job", names[1:], now, instead_of=names[:1])
    elif verb == "disable":
        assert await store.set_client_disabled("job", now, disabled=True)
    else:
        assert await store.remove_client("job", now)
    store.driver.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.attack("T-14", "T-33")
@pytest.mark.parametrize("verb", ["rotate", "disable", "delete"])
async def test_what_another_process_did_to_a_client_holds_in_two_servers_at_once(path, verb):
    secret, successor = fresh("gs"), fresh("gs")
    options: dict[str, Any] = {
        "env": "development", "issuer": "http://localhost:8000", "audit_routes": "off",
        "database_url": f"sqlite:///{path}", "scopes": {"items": "Items"}, "now": lambda: NOW,
        "secret": "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A",
    }  # fmt: skip
    apps = [FastAPI(), FastAPI()]
    servers = [Auth(app, **options) for app in apps]
    job = a_client(
        "job", auth_method="client_secret", secrets=(secret.digest,),
        grants=frozenset({"client_credentials"}), scopes=Scopes(("items",)),
    )  # fmt: skip

    async def asked(app: FastAPI, clear: str) -> int:
        form = {"grant_type": "client_credentials", "client_id": "job", "client_secret": clear}
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000") as to:
            return (await to.post("/token", data=form)).status_code

    try:
        await servers[0].start()
        await servers[0].store.add_client(job, NOW)
        for _ in range(2):
            assert [await asked(app, secret.clear) for app in apps] == [200, 200]
        command = [sys.executable, "-c", OTHER, str(path), verb, secret.digest, successor.digest]
        subprocess.run(command, check=True, timeout=60)
        assert [await asked(app, secret.clear) for app in apps] == [401, 401]
        now_good = 200 if verb == "rotate" else 401
        assert [await asked(app, successor.clear) for app in apps] == [now_good, now_good]
    finally:
        for server in servers:
            server.close()

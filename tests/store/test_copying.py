"""A database that moves: every row arrives, every token stays good, a broken copy goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from watchword import Auth
from watchword.errors import ConfigError
from watchword.rules.clients import Client
from watchword.rules.scopes import Scopes
from watchword.seams import Account, StoredUser
from watchword.store import copying, schema, tables
from watchword.store.copying import Differs, copy
from watchword.store.databases import driver_of

SECRET = "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A"


def server(url: str) -> Auth:
    return Auth(
        env="development",
        issuer="http://localhost:8000",
        secret=SECRET,
        database_url=url,
        hash_memory_kib=64,
        hash_passes=1,
        audit_routes="off",
    )


@pytest.fixture
def source(tmp_path) -> str:
    """Users, clients, grants, revocations, keys."""
    url = f"sqlite:///{tmp_path}/source.db"

    async def filled() -> None:
        auth = server(url)
        await auth.start()
        now = auth.now()
        for n in range(25):
            name = f"u{n} ö'\\"
            account = Account(f"u_{n}", name, scopes=("me",), claims={"n": n}, created_at=now)
            assert await auth.store.add_user(StoredUser(account, f"hash {n}" if n % 2 else None))
        client = Client("job", "Job", "client_secret", frozenset({"x"}), Scopes(("me",)), ("s",))
        assert await auth.store.add_client(client, now)
        await auth.store.revoke_user("u_3", now)
        await auth.store.revoke_token("jti", now + 600, now)
        await auth.store.put_once("kind", b"\0\xff", "payload", now + 600)
        auth.close()

    with ThreadPoolExecutor(1) as thread:  # some tests have an event loop already
        thread.submit(asyncio.run, filled()).result()
    return url


def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    else:
        connection = psycopg.connect(url)
    found = {}
    for table in tables.metadata.sorted_tables:
        names = ", ".join(column.name for column in table.columns)
        everything = connection.execute(f"SELECT {names} FROM {table.name}").fetchall()
        found[table.name] = sorted(map(tuple, everything), key=repr)
    connection.close()
    return found


def test_there_and_back_is_the_same(source, postgres_url, tmp_path):
    counts = copy(source, postgres_url)
    assert counts[tables.users.name] == 25
    assert rows(postgres_url) == rows(source)
    back = f"sqlite:///{tmp_path}/back.db"
    assert copy(postgres_url, back) == counts
    assert rows(back) == rows(source)


@pytest.mark.sqlite
async def test_what_was_issued_stays_valid(source, postgres_url, build):
    before = build(database_url=source)
    await before.auth.start()
    await before.add_user("ada")
    tokens = await before.login("ada")
    before.auth.close()
    await asyncio.to_thread(copy, source, postgres_url)
    after = build(database_url=postgres_url)
    await after.auth.start()
    assert (await after.get("/guarded", tokens["access_token"])).status_code == 200
    assert (await after.refresh(tokens["refresh_token"])).status_code == 200
    await after.add_user("later")  # numbers that the database gives go on
    assert (await after.login("later"))["access_token"]


class BrokenOff(Exception):
    pass


def _after(pages: int):
    def tell(name: str, done: int, total: int) -> None:
        nonlocal pages
        pages -= 1
        if not pages:
            raise BrokenOff

    return tell


def test_a_copy_goes_on_where_it_broke_off(source, postgres_url, monkeypatch):
    monkeypatch.setattr(copying, "PAGE", 4)
    told = []
    for pages in (1, 3, 6):
        with pytest.raises(BrokenOff):
            copy(source, postgres_url, _after(pages))
        with pytest.raises(ConfigError, match="not been finished"):
            schema.prepare(driver_of(postgres_url), upgrade=True)
    copy(source, postgres_url, lambda *page: told.append(page))
    assert told[0][1] > 4 or told[0][0] != tables.users.name  # not from the beginning
    assert rows(postgres_url) == rows(source)
    schema.prepare(driver_of(postgres_url), upgrade=False)


def test_a_source_that_changed_is_copied_anew(source, postgres_url, monkeypatch):
    monkeypatch.setattr(copying, "PAGE", 4)
    with pytest.raises(BrokenOff):
        copy(source, postgres_url, _after(8))

    async def changed() -> None:
        auth = server(source)
        await auth.start()
        await auth.store.set_disabled("u_1", auth.now(), disabled=True)
        auth.close()

    asyncio.run(changed())
    copy(source, postgres_url)
    assert rows(postgres_url) == rows(source)


def test_what_holds_data_is_no_target(source, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    copy(source, other)
    before = rows(other)
    for target in (other, source, "sqlite:///:memory:"):
        with pytest.raises(ConfigError):
            copy(source, target)
    assert rows(other) == before


def test_an_old_source_is_migrated_first(tmp_path):
    with pytest.raises(ConfigError, match="migrate"):
        copy(f"sqlite:///{tmp_path}/nothing.db", f"sqlite:///{tmp_path}/w.db")


def test_a_row_that_is_missing_in_the_end_is_told(source, postgres_url, monkeypatch):
    def loses(name: str, done: int, total: int) -> None:
        if name == tables.users.name and done == total:
            with psycopg.connect(postgres_url) as connection:
                connection.execute(f"DELETE FROM {name} WHERE id = 'u_1'")

    with pytest.raises(Differs, match=tables.users.name):
        copy(source, postgres_url, loses)
    with pytest.raises(ConfigError, match="not been finished"):
        schema.prepare(driver_of(postgres_url), upgrade=True)


def test_nobody_writes_meanwhile(source, tmp_path):
    def writes(name: str, done: int, total: int) -> None:
        connection = sqlite3.connect(source.removeprefix("sqlite:///"), timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.execute("DELETE FROM watchword_users")
        connection.close()

    copy(source, f"sqlite:///{tmp_path}/w.db", writes)

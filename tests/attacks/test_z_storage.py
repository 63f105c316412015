"""Rows Z-04, Z-05 and Z-30 of the attack catalogue on real disks and real servers: what
cannot be written is refused, what is known goes on, and nothing of it needs a restart."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from node import SECRET, Node
from pg import PostgresServer
from processes import set_off

from watchword import Auth
from watchword.rules.revoking import GRACE
from watchword.seams import Account, Reused, StoredUser
from watchword.store import schema, tables
from watchword.store.contract import NOW, WINDOW, a_grant, another_grant, spend, token_of
from watchword.store.databases import driver_of
from watchword.store.sql import SqlStore

STALE = 1.0


@pytest.fixture
def disk():
    """A small disk of its own, which can be filled; whoever serves from it may be anybody."""
    where = Path(tempfile.mkdtemp(prefix="wdisk-"))
    words = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "none", str(where)]
    if shutil.which("mount") is None or subprocess.run(words, check=False).returncode:
        where.rmdir()
        pytest.skip("nothing can be mounted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)
    where.rmdir()


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                continue
    assert shutil.disk_usage(disk).free == 0


@pytest.fixture(params=["sqlite", "postgresql"])
def on_disk(request, disk):
    """The URL of a database on that disk."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{disk}/w.db"
        else:
            server = stack.enter_context(served())
            (disk / "space").mkdir()
            if os.geteuid() == 0:
                shutil.chown(disk / "space", "nobody")
            server.ask(f"CREATE TABLESPACE small LOCATION '{disk}/space'")
            server.ask("CREATE DATABASE w TABLESPACE small")
            url = server.url("w")
        asyncio.run(with_a_user(url))
        yield url


class served(PostgresServer):  # noqa: N801 - a server for as long as a block lasts
    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def with_a_user(url: str) -> None:
    cheap = {"hash_memory_kib": 64, "hash_passes": 1}
    auth = Auth(env="development", database_url=url, secret=SECRET, **cheap)
    await auth.start()
    account = Account("u_ada", "ada", scopes=("me", "items"))
    await auth.store.add_user(StoredUser(account, await auth.passwords.hash("secret")))
    await auth.stop()


class Client:
    """One person at one node."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http

    def login(self) -> httpx2.Response:
        return self.http.post("/token", data={"username": "ada", "password": "secret"})

    def refresh(self, tokens) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        return self.http.post("/token", data=form)

    def revoke(self, tokens) -> httpx2.Response:
        return self.http.post("/revoke-token", headers=self._bearer(tokens))

    def guarded(self, tokens) -> httpx2.Response:
        return self.http.get("/guarded", headers=self._bearer(tokens))

    def _bearer(self, tokens) -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens['access_token']}"}


def unavailable(answer: httpx2.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


def goes_on(client: Client, tokens) -> None:
    for _ in range(4):
        assert client.guarded(tokens).status_code == 200
        assert client.http.get("/.well-known/jwks.json").status_code == 200
        assert client.http.get("/auth/health/live").status_code == 200
        time.sleep(STALE / 2)


def has_healed(client: Client, tokens) -> None:
    end = time.monotonic() + 15
    while (answer := client.login()).status_code != 200:
        assert unavailable(answer)
        assert time.monotonic() < end
        time.sleep(0.1)
    fresh = client.refresh(tokens).json()
    assert client.revoke(fresh).status_code == 200
    assert client.guarded(tokens).status_code == 401


@pytest.fixture
def client():
    with ExitStack() as stack:
        yield lambda node: Client(stack.enter_context(httpx2.Client(base_url=node.url, timeout=20)))


@pytest.mark.attack("Z-04")
def test_a_full_disk_refuses_writes_and_nothing_else(on_disk, disk, client):
    quiet = {"max_stale": f"{STALE}s", "limit_login_device": "off"}
    with Node(on_disk, **quiet) as node:
        ada = client(node)
        known = [ada.login().json() for _ in range(60)]
        fill(disk)
        opened = refused = 0
        while refused < 5:
            answer = ada.login()
            assert answer.status_code == 200 or unavailable(answer), answer.text
            opened += answer.status_code == 200
            refused += answer.status_code == 503
            assert opened < 3000
        ended = []
        for tokens in known[1:]:  # there may be room for some
            answer = ada.revoke(tokens)
            assert answer.status_code == 200 or unavailable(answer), answer.text
            if answer.status_code == 503:
                break
            ended.append(tokens)
        assert len(ended) < len(known) - 1
        goes_on(ada, known[0])
        assert {ada.guarded(tokens).status_code for tokens in ended} <= {401}
        (disk / "ballast").unlink()
        has_healed(ada, known[0])
        assert {ada.guarded(tokens).status_code for tokens in ended} <= {401}
        assert ada.guarded(known[-1]).status_code == 200
        assert "Traceback" not in node.said()
    assert len(grants(on_disk)) >= 60 + opened


def grants(url: str) -> list[object]:
    from sqlalchemy import select

    def every():
        return (yield select(tables.grants.c.id, tables.grants.c.user_id), {})

    driver = driver_of(url)
    try:
        return asyncio.run(read(driver, every()))
    finally:
        driver.close()


async def read(driver, verb):
    found = await driver.read(verb)
    driver.close()
    return found


@pytest.mark.attack("Z-05", "Z-04")
def test_a_server_that_takes_no_writes_is_read_from(client):
    with served() as server:
        url = server.database("w")
        asyncio.run(with_a_user(url))
        with Node(url, max_stale=f"{STALE}s", limit_login_device="off") as node:
            ada = client(node)
            tokens = ada.login().json()
            server.ask("ALTER SYSTEM SET default_transaction_read_only = on")
            server.ask("SELECT pg_reload_conf()")
            time.sleep(0.5)
            for answer in (ada.login(), ada.refresh(tokens), ada.revoke(tokens)):
                assert unavailable(answer), answer.text
            goes_on(ada, tokens)
            started = Node(url, max_stale=f"{STALE}s")  # one that comes up meanwhile
            with started:
                goes_on(client(started), tokens)
            server.ask("ALTER SYSTEM RESET default_transaction_read_only")
            server.ask("SELECT pg_reload_conf()")
            has_healed(ada, tokens)
            assert "Traceback" not in node.said()


# --- Z-30: clean-up that dies, and clean-up twice ---

SWEEPS = """
import asyncio, sys
from watchword.store.databases import driver_of
from watchword.store.sql import SqlStore

async def main():
    store = SqlStore(driver_of(sys.argv[1]), token_life=600)
    print("ready", flush=True)
    sys.stdin.readline()
    gone = 0
    while swept := await store.sweep(float(sys.argv[2]), most=25):
        gone += swept
        print("swept", flush=True)
    print(gone, flush=True)
    store.driver.close()

asyncio.run(main())
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/w.db"


@pytest.mark.attack("Z-30")
async def test_clean_up_that_is_killed_and_clean_up_twice_take_each_dead_row_once(url):
    driver = driver_of(url)
    schema.prepare(driver, upgrade=False)
    store = SqlStore(driver, token_life=600)
    kept = await a_grant(store)
    await spend(store, token_of(kept))
    dead = 400
    for _ in range(dead):
        await another_grant(store, kept.user_id, kept.client_id, expires_at=NOW + 60)
    doomed, *others = set_off(SWEEPS, url, str(NOW + 61 + GRACE))
    assert doomed.stdout.readline().strip() in ("swept", "0")
    doomed.send_signal(signal.SIGKILL)
    doomed.communicate()
    said = [one.communicate(timeout=60)[0].splitlines() for one in others]
    assert [one.returncode for one in others] == [0, 0, 0]
    taken = sum(int(lines[-1]) for lines in said)
    assert taken <= dead  # the doomed one may have had a share
    while await store.sweep(NOW + 61 + GRACE):
        pass
    assert await store.grants_of(kept.user_id) == [await store.grant(kept.id)]
    outcome = await spend(store, token_of(kept), NOW + WINDOW + 1)
    assert isinstance(outcome, Reused), "what was spent is remembered"
    driver.close()

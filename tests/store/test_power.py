"""Power lost, disks full or read-only, databases locked: what was promised is kept, the rest refused."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from watchword.rules.clients import FIRST_PARTY
from watchword.store import schema, tables
from watchword.store.contract import a_client, a_user
from watchword.store.opening import connected
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

pytestmark = pytest.mark.sqlite
COPIES = 20

_WRITES = """
import asyncio, sys
from watchword.store.contract import NOW, another_grant, spend, token_of
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

async def main():
    store = SqlStore(Sqlite(sys.argv[1]), token_life=600)
    sys.setswitchinterval(1e-4)
    async def one(n):
        for _ in range(1_000_000):
            new = await another_grant(store, "u_writer", "writer", ip="x" * 2000)
            print("opened", new.id.hex(), flush=True)
            await spend(store, token_of(new))
            if await store.revoke_grant(new.id, NOW):
                print("revoked", new.id.hex(), flush=True)
    await asyncio.gather(*(one(n) for n in range(8)))
asyncio.run(main())
"""


class Writer:
    """A process that opens, rotates and revokes without end, and says what it was promised."""

    def __init__(self, path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITES, path], stdout=subprocess.PIPE
        )
        self.promised: set[tuple[str, str]] = set()
        self._rest = b""

    def hear(self, least: int) -> None:
        wanted = len(self.promised) + least
        while len(self.promised) < wanted:
            self._take(os.read(self.process.stdout.fileno(), 65_536))

    @contextmanager
    def frozen(self):
        """Stopped between two system calls: the files are what a power cut would leave."""
        self.process.send_signal(signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(self.process.pid, os.WUNTRACED)[1])
        os.set_blocking(self.process.stdout.fileno(), False)
        while heard := self.process.stdout.read(65_536):
            self._take(heard)
        os.set_blocking(self.process.stdout.fileno(), True)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _take(self, heard: bytes) -> None:
        assert heard, "the writer has gone"
        *lines, self._rest = (self._rest + heard).split(b"\n")
        self.promised |= {tuple(line.decode().split()) for line in lines}


@pytest.fixture
async def writer(tmp_path):
    with closing(Sqlite(tmp_path / "w.db")) as driver:
        schema.prepare(driver, upgrade=False)
        store = SqlStore(driver, token_life=600)
        await store.add_user(a_user("writer"))
        await store.add_client(a_client("writer"), 0.0)
    made = Writer(tmp_path / "w.db")
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.mark.attack("Z-03")
async def test_a_power_cut_takes_back_nothing_that_was_promised(tmp_path, writer):
    for n in range(COPIES):
        writer.hear(secrets.randbelow(60) + 1)
        place = tmp_path / f"copy{n}"
        place.mkdir()
        with writer.frozen():
            promised = set(writer.promised)
            for suffix in ("", "-wal"):
                shutil.copy(tmp_path / f"w.db{suffix}", place / f"w.db{suffix}")
        if n % 2:  # a frame that was being written, torn
            with (place / "w.db-wal").open("ab") as wal:
                wal.write(secrets.token_bytes(3000))
        with closing(connected(str(place / "w.db"))) as db:
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            revoked = {
                row["id"].hex(): row["revoked_seq"]
                for row in db.execute(f"SELECT id, revoked_seq FROM {tables.grants.name}")
            }
            log = [row["seq"] for row in db.execute(f"SELECT seq FROM {tables.rev.name}")]
            head = db.execute(f"SELECT seq FROM {tables.rev_head.name}").fetchone()["seq"]
        assert log == list(range(1, head + 1))
        for what, grant in promised:
            assert grant in revoked
            assert what != "revoked" or revoked[grant] is not None
    assert len(writer.promised) > COPIES


# --- the same faults as a client sees them ---

UNLIMITED = {
    f"limit_{name}": "off" for name in ("login_account_ip", "login_ip", "login_account", "token")
}


@pytest.fixture
async def on_disk(build, tmp_path):
    made = build(database_url=f"sqlite:///{tmp_path}/w.db", **UNLIMITED)
    await made.auth.start()
    await made.add_user("johndoe", email="johndoe@example.com")
    return made


def unavailable(answer) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


async def asks(server, tokens):
    """Everything that would have to write."""
    credentials = {"username": "johndoe", "password": "secret"}
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    return [
        await server.post("/token", credentials),
        await server.refresh(tokens["refresh_token"]),
        await server.post("/revoke", {"token": tokens["refresh_token"], "client_id": FIRST_PARTY}),
        await server.post("/revoke-token", headers=bearer),
    ]


async def goes_on(server, tokens) -> None:
    assert (await server.get("/guarded", tokens["access_token"])).status_code == 200
    assert (await server.get("/.well-known/jwks.json")).status_code == 200


async def has_healed(server, tokens) -> None:
    fresh = (await server.refresh(tokens["refresh_token"])).json()
    assert fresh["refresh_token"] != tokens["refresh_token"]
    await server.login()
    bearer = {"Authorization": f"Bearer {fresh['access_token']}"}
    assert (await server.post("/revoke-token", headers=bearer)).status_code == 200
    assert (await server.get("/guarded", tokens["access_token"])).status_code == 401


@pytest.mark.attack("Z-05", "Z-04")
async def test_a_read_only_database_answers_503_and_guards_go_on(on_disk):
    tokens = await on_disk.login()
    before = on_disk.snapshot()
    on_disk.auth.driver._writer.execute("PRAGMA query_only=ON")
    for answer in await asks(on_disk, tokens):
        assert unavailable(answer), answer.text
    assert on_disk.snapshot() == before
    await goes_on(on_disk, tokens)
    on_disk.auth.driver._writer.execute("PRAGMA query_only=OFF")
    await has_healed(on_disk, tokens)


@pytest.mark.attack("Z-32")
async def test_a_locked_database_answers_503_and_guards_go_on(on_disk):
    tokens = await on_disk.login()
    on_disk.auth.driver._writer.execute("PRAGMA busy_timeout=20")
    with closing(connected(on_disk.auth.driver.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        for answer in await asks(on_disk, tokens):
            assert unavailable(answer), answer.text
        await goes_on(on_disk, tokens)
        other.execute("ROLLBACK")
    await has_healed(on_disk, tokens)


@pytest.mark.attack("Z-04")
async def test_a_full_disk_leaves_no_half_a_grant_and_heals(on_disk):
    tokens = await on_disk.login()
    writer = on_disk.auth.driver._writer
    writer.execute(f"PRAGMA max_page_count={writer.execute('PRAGMA page_count').fetchone()[0]}")
    credentials = {"username": "johndoe", "password": "secret"}
    opened, refused = 1, 0
    while refused < 3:
        answer = await on_disk.post("/token", credentials)
        opened += answer.status_code == 200
        refused += unavailable(answer)
        assert opened < 2000
    assert len(on_disk.rows(f"SELECT 1 FROM {tables.grants.name}")) == opened
    recorded = on_disk.rows(f"SELECT 1 FROM {tables.audit.name} WHERE kind = 'login.succeeded'")
    assert len(recorded) == opened
    await goes_on(on_disk, tokens)
    writer.execute("PRAGMA max_page_count=1000000")
    await has_healed(on_disk, tokens)


@pytest.mark.attack("Z-05")
async def test_a_log_that_cannot_be_read_lets_nobody_in(on_disk, tmp_path):
    tokens = await on_disk.login()
    await goes_on(on_disk, tokens)
    on_disk.auth.driver.close()
    (tmp_path / "w.db").rename(tmp_path / "away.db")
    (tmp_path / "w.db").mkdir()
    assert unavailable(await on_disk.get("/guarded", tokens["access_token"]))
    (tmp_path / "w.db").rmdir()
    (tmp_path / "away.db").rename(tmp_path / "w.db")
    await goes_on(on_disk, tokens)

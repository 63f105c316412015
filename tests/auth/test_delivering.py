"""Functions under `after`: each hears of each event, whatever dies in between."""

import asyncio
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any, Self

import psycopg
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from watchword import Auth
from watchword.auth import delivering, listening
from watchword.auth.delivering import LEASE, MOST_TRIES, OVERDUE, Deliveries
from watchword.auth.listening import LONGEST_PAUSE, Hooks
from watchword.events import Event, Events, LimitReached, Revoked, TokenIssued
from watchword.store import outbox, schema, tables
from watchword.store.contract import NOW, a_client, a_user, another_grant
from watchword.store.opening import connected
from watchword.store.postgres import Postgres
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite
from watchword.store.telling import FORGOTTEN, Telling

SOON = 10.0  # seconds that a delivery may take on the slowest machine


async def until(true, within: float = SOON) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


@pytest.fixture
def never_looks(monkeypatch) -> None:
    """Whatever is delivered was delivered because somebody said that it is there."""
    monkeypatch.setattr(delivering, "LOOK_EVERY", 3600.0)


@pytest.fixture
def on_disk(build, kept_url):
    """Builds servers over one database that outlives them."""
    return lambda **more: build(database_url=kept_url, **more)


@contextmanager
def nobody_writes(driver) -> Iterator[None]:
    if driver.is_local:
        with closing(connected(driver.path)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
    else:
        with psycopg.connect(driver.conninfo) as other:
            other.execute(f"LOCK TABLE {tables.outbox.name} IN EXCLUSIVE MODE")
            yield


def waiting(server) -> list[dict]:
    return [dict(row) for row in server.rows(f"SELECT * FROM {tables.outbox.name}")]


# --- at once ---


async def test_after_a_commit_nobody_waits_for_the_next_look(on_disk, never_looks):
    server, heard = on_disk(), []

    @server.auth.after("login.succeeded", "token.revoked", "login.failed")
    async def tell(event: Event) -> None:
        heard.append(event)

    await server.auth.start()
    await server.add_user("johndoe")
    tokens = await server.login()
    for told_of in (
        server.post("/token", {"username": "johndoe", "password": "wrong"}),
        server.post("/revoke", {"token": tokens["refresh_token"]}),
        server.auth.revoke(user="u_johndoe"),
    ):
        await until(lambda: not waiting(server))
        await asyncio.sleep(0.05)  # and everybody is asleep again
        before = len(heard)
        await told_of
        await until(lambda: len(heard) > before)  # noqa: B023 - awaited at once
    told = [event for event in server.events if event.kind != "keys.rotated"]
    assert Counter(event.id for event in heard) == Counter(event.id for event in told)
    assert sorted(heard, key=lambda event: event.id) == sorted(told, key=lambda event: event.id)
    await until(lambda: not waiting(server))


async def test_an_answer_does_not_wait_for_functions_nor_for_the_row_of_a_failed_login(on_disk):
    server, heard, enough = on_disk(), [], asyncio.Event()

    @server.auth.after("login.failed", "token.revoked")
    async def slow(event: Event) -> None:
        heard.append(event.kind)
        await enough.wait()

    await server.auth.start()
    await server.add_user("johndoe")
    tokens = await server.login()
    await server.post("/revoke", {"token": tokens["refresh_token"]})
    await until(lambda: heard)
    with nobody_writes(server.auth.driver):
        began = time.monotonic()
        answer = await server.post("/token", {"username": "johndoe", "password": "wrong"})
        assert answer.status_code == 401
        assert time.monotonic() - began < 2
        await asyncio.sleep(0.1)
        assert heard == ["token.revoked"]
    await until(lambda: len(heard) == 2)
    enough.set()


@pytest.mark.sqlite
async def test_what_cannot_be_written_down_yet_is_kept_until_it_can(on_disk, monkeypatch, caplog):
    monkeypatch.setattr(delivering, "LOOK_EVERY", 0.02)
    server, heard = on_disk(), []

    @server.auth.after("login.failed")
    async def tell(event: Event) -> None:
        heard.append(event.id)

    await server.auth.start()
    server.auth.driver._writer.execute("PRAGMA query_only=ON")
    for _ in range(3):
        await server.post("/token", {"username": "johndoe", "password": "wrong"})
    await until(lambda: "nothing can be delivered" in caplog.text)
    server.auth.driver._writer.execute("PRAGMA query_only=OFF")
    await until(lambda: len(heard) == 3)
    assert heard == [event.id for event in server.told("login.failed")]


async def test_a_database_that_takes_nothing_is_not_waited_for_without_end(monkeypatch, caplog):
    monkeypatch.setattr(delivering, "MOST_PENDING", 2)
    with closing(Sqlite(":memory:")) as driver:
        schema.prepare(driver, upgrade=False)
        hooks = Hooks()
        hooks.add(("limit.reached",), print)
        deliveries = Deliveries(driver, hooks, Events(), now=lambda: NOW, fresh=os.urandom)
        for _ in range(3):
            deliveries.keep(LimitReached(NOW, "login_ip", "203.0.113.1"))
        await deliveries.deliver()
    assert caplog.text.count("limit.reached is lost") == 1


async def test_an_event_from_a_thread_of_the_app_is_delivered(on_disk, never_looks):
    server, heard = on_disk(), []

    @server.auth.after("token.issued")
    async def tell(event: Event) -> None:
        heard.append(event)

    await server.auth.start()
    await asyncio.to_thread(server.auth.events, TokenIssued(NOW, "client", "jti"))
    await until(lambda: heard)


async def test_an_app_without_functions_does_nothing(on_disk):
    server = on_disk()
    await server.auth.start()
    await server.add_user("johndoe")
    await server.login()
    assert server.auth.deliveries._task is None
    assert not waiting(server)
    assert not server.rows(f"SELECT * FROM {tables.hooks.name}")


# --- again ---


def refusing(times: int, heard: list) -> Any:
    left = times

    async def function(event: Event) -> None:
        nonlocal left
        heard.append(event.id)
        left -= 1
        if left >= 0:
            raise ConnectionError("the siem is away")

    return function


@pytest.mark.sqlite
@pytest.mark.attack("Z-26", "Z-27")
async def test_a_function_that_fails_is_called_again_and_no_other(build, caplog):
    server, broken, fine = build(database_url="sqlite:///:memory:"), [], []
    server.auth.after("token.revoked")(refusing(2, broken))
    server.auth.after("token.revoked")(lambda event: fine.append(event.id))
    await server.auth.start()
    await server.auth.store.revoke_token("jti", server.clock() + 600, server.clock())
    settle = server.auth.deliveries.settle
    assert (len(broken), len(fine)) == (1, 1)
    await settle()
    assert len(broken) == 1  # not yet
    server.clock.tick(1)
    await settle()
    assert len(broken) == 2
    server.clock.tick(1)
    server.clock.tick(1)
    await settle()
    assert (len(broken), len(fine)) == (3, 1)
    assert set(broken) == set(fine) == {server.events[-1].id}
    assert not waiting(server)
    assert caplog.text.count("failed on token.revoked") == 2
    assert caplog.text.count("Traceback") == 1


@pytest.mark.sqlite
async def test_after_a_day_of_tries_it_is_given_up_loudly(build, caplog):
    server, tries, gaveup = build(database_url="sqlite:///:memory:"), [], []
    server.auth.after("token.revoked")(refusing(1000, tries))
    server.auth.after("token.revoked")(lambda event: None)
    server.auth.after("hook.abandoned")(gaveup.append)
    await server.auth.start()
    began = server.clock()
    await server.auth.revoke(user=(await server.add_user("johndoe")).sub)
    pauses = []
    while rows := waiting(server):
        assert rows[0]["lease"] is None
        pauses.append(rows[0]["due_at"] - server.clock())
        server.clock.tick(pauses[-1])
        await server.auth.deliveries.settle()
    assert len(tries) == MOST_TRIES
    assert 0.5 <= pauses[0] <= 1
    assert max(pauses) <= LONGEST_PAUSE
    assert 8 * 3600 < server.clock() - began < 30 * 3600
    (given_up,) = server.told("hook.abandoned")
    assert gaveup == [given_up]
    assert given_up.id == gaveup[0].id
    assert (given_up.event_kind, given_up.tries) == ("token.revoked", MOST_TRIES)
    assert given_up.event_id == tries[0]
    assert given_up.functions.endswith("refusing.<locals>.function")
    assert given_up.reason == "ConnectionError"  # what it says may be a secret
    assert [record.levelno for record in caplog.records if record.msg == "hook.abandoned"] == [
        logging.ERROR
    ]


@pytest.mark.sqlite
async def test_what_is_told_of_giving_up_has_an_end_too(build):
    server = build(database_url="sqlite:///:memory:")
    server.auth.after("token.revoked", "hook.abandoned")(refusing(1000, []))
    await server.auth.start()
    await server.auth.store.revoke_token("jti", server.clock() + 600, server.clock())
    for _ in range(3 * MOST_TRIES):
        server.clock.tick(LONGEST_PAUSE)
        await server.auth.deliveries.settle()
    assert not waiting(server)
    assert [event.event_kind for event in server.told("hook.abandoned")] == [
        "token.revoked",
        "hook.abandoned",
    ]


async def test_a_function_that_hangs_is_a_function_that_fails(on_disk, monkeypatch, caplog):
    monkeypatch.setattr(listening, "PATIENCE", 0.05)
    server = on_disk()

    @server.auth.after("token.revoked")
    async def hangs(event: Event) -> None:
        await asyncio.sleep(60)

    await server.auth.start()
    await server.auth.store.revoke_token("jti", server.clock() + 600, server.clock())
    await until(lambda: [(row["lease"], row["tries"]) for row in waiting(server)] == [(None, 1)])
    assert "TimeoutError" in caplog.text


@pytest.mark.sqlite
async def test_what_no_version_can_read_is_given_up_at_once(build):
    server, heard = build(database_url="sqlite:///:memory:"), []
    server.auth.after("token.revoked")(heard.append)
    await server.auth.start()
    statement, values = outbox.kept(Revoked(NOW, "token", "x"))
    torn = statement, {**values, "payload_": json.dumps({"id": "torn"})}
    await server.auth.driver.write(outbox.keep([torn]))
    await server.auth.deliveries.settle()
    assert [event.event_id for event in server.told("hook.abandoned")] == ["torn"]
    assert not heard
    assert not waiting(server)


@pytest.mark.sqlite
async def test_an_event_that_is_no_json_is_said_to_be_and_stops_nothing(build, caplog):
    @dataclasses.dataclass(frozen=True, slots=True)
    class Odd(Event):
        kind = "test.odd"
        what: object

    server, heard = build(database_url="sqlite:///:memory:"), []
    server.auth.after("test.odd")(heard.append)
    await server.auth.start()
    server.auth.events(Odd(NOW, object()))
    server.auth.events(Odd(NOW, "even"))
    await server.auth.deliveries.settle()
    assert [event.what for event in heard] == ["even"]
    assert "a listener failed on test.odd" in caplog.text


@pytest.mark.sqlite
async def test_what_nobody_listens_to_any_more_is_given_up_after_a_month(build):
    server = build(database_url="sqlite:///:memory:")
    server.auth.after("login.failed")(lambda event: None)
    await server.auth.start()
    now = server.clock()
    orphans = [Revoked(now, "token", "of an app that was changed"), Revoked(now, "token", "too")]
    await server.auth.driver.write(outbox.keep(outbox.kept(event) for event in orphans))
    server.clock.tick(OVERDUE)
    await server.auth.tidy()
    assert len(waiting(server)) == 2
    server.clock.tick(1)
    await server.auth.tidy()
    assert not waiting(server)
    assert {event.event_id for event in server.told("hook.abandoned")} == {e.id for e in orphans}


@pytest.mark.sqlite
async def test_an_app_says_every_day_what_it_wants(build):
    server = build(database_url="sqlite:///:memory:")
    server.auth.after("login.failed", "token.revoked")(print)
    await server.auth.start()
    server.clock.tick(FORGOTTEN)
    await server.auth.tidy()
    seen = {row["kind"]: row["seen_at"] for row in server.rows("SELECT * FROM watchword_hooks")}
    assert seen == {"login.failed": server.clock(), "token.revoked": server.clock()}


# --- the end ---


async def test_what_is_at_work_when_the_app_stops_is_finished(on_disk, never_looks):
    server, heard = on_disk(), []

    @server.auth.after("token.revoked")
    async def tell(event: Event) -> None:
        heard.append("begun")
        await asyncio.sleep(0.2)
        heard.append("done")

    async with server.app.router.lifespan_context(server.app):
        await server.auth.store.revoke_token("jti", server.clock() + 600, server.clock())
        await until(lambda: heard)
    assert heard == ["begun", "done"]
    assert not waiting(server)


async def test_what_does_not_finish_is_left_to_the_next_start(on_disk, monkeypatch):
    monkeypatch.setattr(delivering, "FAREWELL", 0.05)
    server, begun, heard = on_disk(), [], []

    @server.auth.after("token.revoked")
    async def hangs(event: Event) -> None:
        begun.append(event.id)
        await asyncio.sleep(60)

    async with server.app.router.lifespan_context(server.app):
        await server.auth.store.revoke_token("jti", server.clock() + 600, server.clock())
        await until(lambda: begun)
    assert [(row["lease"], row["tries"]) for row in waiting(server)] == [(None, 0)]
    assert not [task for task in asyncio.all_tasks() if "deliver" in repr(task).lower()]
    server.auth.close()

    other = on_disk()
    other.auth.after("token.revoked")(lambda event: heard.append(event.id))
    async with other.app.router.lifespan_context(other.app):
        await until(lambda: heard)
    assert heard == begun


async def test_no_function_is_called_before_the_app_is_up_nor_after_it_is_down(build, tmp_path):
    """What the app opens in its own lifespan is there whenever a function runs."""
    seen, up = [], []

    @asynccontextmanager
    async def opens(app):
        await asyncio.sleep(0.1)
        up.append(True)
        yield
        up.clear()

    with closing(Sqlite(tmp_path / "w.db")) as driver:
        schema.prepare(driver, upgrade=False)
        left = outbox.kept(Revoked(time.time(), "token", "left by another"))
        await driver.write(outbox.keep([left]))
    app = FastAPI(lifespan=opens)
    auth = Auth(app, env="development", database_url=f"sqlite:///{tmp_path}/w.db")

    @auth.after("token.revoked", "keys.rotated")
    async def tell(event: Event) -> None:
        seen.append(bool(up))
        await asyncio.sleep(0.1)
        seen.append(bool(up))

    async with app.router.lifespan_context(app):
        await until(lambda: seen)
    assert len(seen) >= 4
    assert all(seen)


def test_in_memory_functions_have_run_when_the_answer_is_there():
    """Without a lifespan each request of a test client has an event loop of its own."""
    app, heard, told = FastAPI(), [], []
    auth = Auth(app, env="development", database_url="sqlite:///:memory:", hash_memory_kib=64)
    auth.events.listen(lambda event: told.append(event.kind))

    @auth.after("login.failed", "login.succeeded", "limit.reached")
    async def tell(event: Event) -> None:
        await asyncio.sleep(0.01)
        heard.append(event.kind)

    client = TestClient(app, base_url="http://localhost:8000")
    client.get("/.well-known/jwks.json")  # starts it
    user = a_user("johndoe", password=asyncio.run(auth.passwords.hash("secret")))
    asyncio.run(auth.store.add_user(user))
    client.post("/token", data={"username": "johndoe", "password": "secret"})
    assert heard == ["login.succeeded"]
    while "limit.reached" not in told:
        client.post("/token", data={"username": "johndoe", "password": "wrong"})
        assert heard == [kind for kind in told if kind != "keys.rotated"]
    assert heard.count("login.failed") >= 5
    auth.close()


@pytest.mark.sqlite
async def test_a_function_may_do_what_is_told_of_again(build):
    server, heard = build(database_url="sqlite:///:memory:"), []

    @server.auth.after("login.succeeded", "token.revoked")
    async def one_login_is_enough(event: Event) -> None:
        heard.append(event.kind)
        if event.kind == "login.succeeded":
            await server.auth.revoke(user=event.sub)

    await server.auth.start()
    await server.add_user("johndoe")
    await server.login()
    assert heard == ["login.succeeded", "token.revoked"]


# --- processes ---

APP = """
import asyncio, json, os, signal, sys, time
from fastapi import FastAPI
from watchword import Auth
from watchword.auth.delivering import Deliveries
from watchword.events import Event

path, log, now, dies = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
app = FastAPI()
auth = Auth(app, env="development", database_url=f"sqlite:///{path}",
            now=(lambda: now) if now else time.time)

def say(*words):
    with open(log, "a") as file:
        file.write(" ".join(map(str, words)) + chr(10))

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)

@auth.after("token.revoked")
def tell(event: Event) -> None:
    say(event.target, event.id, os.getpid())
    if dies == "in the function":
        die()

async def main():
    async with app.router.lifespan_context(app):
        print("ready", flush=True)
        if dies == "before delivery":
            Deliveries._wake = die
        if dies != "never":
            await auth.store.revoke_token("precious", auth.now() + 600, auth.now())
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


class Process:
    """An app that delivers until its stdin is closed."""

    def __init__(self, place, *, now: float = 0, dies: str = "never") -> None:
        self.log = place / "heard"
        self.process = subprocess.Popen(
            [sys.executable, "-c", APP, place / "w.db", self.log, str(now), dies],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def ready(self) -> None:
        assert self.process.stdout.readline() == b"ready\n", self.process.stderr.read().decode()

    def __exit__(self, *failure) -> None:
        if self.process.poll() is None and failure[0] is not None:
            self.process.kill()
        _, errors = self.process.communicate(timeout=60)
        if failure[0] is None:
            assert self.process.returncode in (0, -signal.SIGKILL), errors.decode()
            assert b"Traceback" not in errors, errors.decode()


def heard(place) -> list[list[str]]:
    log = place / "heard"
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.attack("Z-27")
async def test_who_is_killed_between_commit_and_delivery_is_survived_by_the_event(tmp_path):
    with Process(tmp_path, now=NOW, dies="before delivery") as killed:
        killed.ready()
        assert killed.process.wait(60) == -signal.SIGKILL
    assert heard(tmp_path) == []
    with Process(tmp_path, now=NOW) as next_start:
        next_start.ready()
        await until(lambda: heard(tmp_path), within=60)
    assert [line[0] for line in heard(tmp_path)] == ["precious"]
    with closing(connected(str(tmp_path / "w.db"))) as db:
        assert db.execute(f"SELECT COUNT(*) FROM {tables.outbox.name}").fetchone()[0] == 0


async def test_who_is_killed_over_an_event_is_followed_by_another_when_the_lease_is_out(tmp_path):
    with Process(tmp_path, now=NOW, dies="in the function") as killed:
        killed.ready()
        assert killed.process.wait(60) == -signal.SIGKILL
    with Process(tmp_path, now=NOW + LEASE - 1) as too_early:
        too_early.ready()
        await asyncio.sleep(0.5)
    assert len(heard(tmp_path)) == 1
    with Process(tmp_path, now=NOW + LEASE) as next_start:
        next_start.ready()
        await until(lambda: len(heard(tmp_path)) == 2, within=60)
    (first, first_id, _), (again, again_id, _) = heard(tmp_path)
    assert (first, first_id) == (again, again_id)


async def test_several_processes_over_one_file_tell_each_event_once(tmp_path):
    count = 300
    with closing(Sqlite(tmp_path / "w.db")) as driver:
        schema.prepare(driver, upgrade=False)
        store = SqlStore(driver, token_life=600, telling=Telling(wanted={"token.revoked"}))
        with Process(tmp_path) as one, Process(tmp_path) as other:
            one.ready()
            other.ready()
            for n in range(count):
                await store.revoke_token(f"t{n}", time.time() + 600, time.time())
            await until(lambda: len(heard(tmp_path)) >= count, within=90)
    told = heard(tmp_path)
    assert Counter(line[0] for line in told) == Counter({f"t{n}": 1 for n in range(count)})
    assert len({line[1] for line in told}) == count


async def test_a_command_is_told_of_to_the_functions_of_a_running_app(tmp_path):
    settings = {
        "WATCHWORD_ENV": "development",
        "WATCHWORD_DATABASE_URL": f"sqlite:///{tmp_path}/w.db",
        "WATCHWORD_HASH_MEMORY_KIB": "64",
        "WATCHWORD_HASH_PASSES": "1",
        "MARY": "correct horse battery",
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WATCHWORD_")}

    def run(*words: str) -> str:
        command = [sys.executable, "-c", "from watchword.cli import main; main()", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env={**kept, **settings}, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    with Process(tmp_path) as app:
        app.ready()
        run("user", "create", "mary", "--password", "env:MARY")
        sub = json.loads(run("user", "show", "mary", "--json"))["sub"]
        run("user", "revoke-all", "mary", "--yes")
        await until(lambda: heard(tmp_path), within=60)
    assert [line[0] for line in heard(tmp_path)] == [sub]


# --- across a network ---


async def test_an_app_on_a_server_tells_at_once(build, postgres_url, never_looks):
    server, heard = build(database_url=postgres_url), []

    @server.auth.after("login.succeeded", "login.failed", "token.revoked")
    def tell(event: Event) -> None:
        heard.append(event.kind)

    async with server.app.router.lifespan_context(server.app):
        await server.add_user("johndoe")
        await server.login()
        await until(lambda: heard == ["login.succeeded"])
        await server.post("/token", {"username": "johndoe", "password": "wrong"})
        await until(lambda: heard[1:] == ["login.failed"])
        await server.auth.revoke(user="u_johndoe")
        await until(lambda: heard[2:] == ["token.revoked"])
    with closing(Postgres(postgres_url)) as driver:
        assert await driver.read(outbox.waiting(NOW * 2)) == []


async def test_nodes_over_a_server_tell_each_event_once(postgres_url):
    told = Counter()

    async def tell(event: Event) -> None:
        await asyncio.sleep(0.001)
        told[event.id] += 1

    hooks = Hooks()
    hooks.add(("token.revoked", "login.succeeded"), tell)
    drivers = [Postgres(postgres_url) for _ in range(3)]
    schema.prepare(drivers[0], upgrade=False)
    nodes = [
        Deliveries(driver, hooks, Events(), now=lambda: NOW, fresh=os.urandom) for driver in drivers
    ]
    telling = Telling(wanted=hooks.kinds)
    store = SqlStore(drivers[0], token_life=600, telling=telling)
    user, client = a_user(), a_client()
    await store.add_user(user)
    await store.add_client(client, NOW)
    for _ in range(20):
        await another_grant(store, user.account.sub, client.id)
    await asyncio.gather(*(store.revoke_token(f"t{n}", NOW + 600, NOW) for n in range(80)))
    await asyncio.gather(*(node.deliver() for node in nodes))
    assert len(told) == 100
    assert set(told.values()) == {1}
    for driver in drivers:
        driver.close()

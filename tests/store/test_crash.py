"""Processes that are killed, and power that fails, between any two steps of a rotation.

A nursery imports everything once and forks one process after the other. Each is what
comes up after the last one's death, where the client tries again with the token it
holds; then it serves one more refresh and kills itself at the chosen point.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from watchword.store import schema, tables
from watchword.store.opening import connected
from watchword.store.sqlite import Sqlite

NOW = 1_800_000_000.0

NURSERY = """
import asyncio, json, os, signal, sys, time
from urllib.parse import urlencode
from fastapi import FastAPI
from watchword import Account, Auth
from watchword.seams import StoredUser

told = json.loads(sys.stdin.readline())

def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)

class Mortal:
    '''A coroutine that dies at one of its suspensions: as it waits, or as it goes on.'''
    def __init__(self, coroutine, step, delay):
        self.coroutine, self.step, self.delay = coroutine, step, delay
    def __await__(self):
        steps, at = self.coroutine.__await__(), 0
        while True:
            try:
                future = next(steps)
            except StopIteration as end:
                return end.value
            if at == self.step:
                time.sleep(self.delay)
                die()
            yield future
            if at + 1 == self.step:
                die()
            at += 2

def mortal_writer(driver, where, step):
    left = step
    def tick(*_):
        nonlocal left
        left -= 1
        if left < 0:
            die()
    driver.open()
    if where == "statement":
        driver._writer.set_trace_callback(tick)
    elif where == "opcode":
        driver._writer.set_progress_handler(tick, 1)

async def post(**fields):
    body, sent = urlencode(fields).encode(), []
    async def receive():
        await asyncio.sleep(0)
        return {"type": "http.request", "body": body, "more_body": False}
    async def send(message):
        await asyncio.sleep(0)
        sent.append(message)
    await app({
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/token", "raw_path": b"/token", "query_string": b"",
        "root_path": "", "client": ("127.0.0.1", 50000), "server": ("localhost", 8000),
        "headers": [(b"host", b"localhost:8000"),
                    (b"content-type", b"application/x-www-form-urlencoded"),
                    (b"content-length", str(len(body)).encode())],
    }, receive, send)
    return sent[0]["status"], json.loads(b"".join(m.get("body", b"") for m in sent[1:]))

def refreshed(token):
    return post(grant_type="refresh_token", refresh_token=token)

async def dying(run, token, answer):
    global now
    if run["reuse"]:
        answer((await refreshed(token))[1]["refresh_token"])
        now += 60
    mortal_writer(auth.driver, run["where"], run["step"])
    step = run["step"] if run["where"] == "await" else -1
    _, body = await Mortal(refreshed(token), step, run["delay"])
    answer(body.get("refresh_token"))

async def serve(run, answer):
    '''What comes up after the last death; then, where one is wanted, the next.'''
    global now
    now = run["now"]
    await auth.start()
    if run["first"]:
        hashed = await auth.passwords.hash("secret")
        await auth.store.add_user(StoredUser(Account("u1", "johndoe", scopes=("me",)), hashed))
    answers = []
    for token in run["held"]:
        status, body = await refreshed(token)
        answers.append((status, body.get("refresh_token")))
    if answers and answers[-1][1]:
        answers.append(((await refreshed(answers[-1][1]))[0], None))
    answer(answers)
    if run["dying"]:
        _, body = await post(username="johndoe", password="secret")
        answer(body["refresh_token"])
        await dying(run["dying"], body["refresh_token"], answer)
    auth.close()

now, app = 0.0, FastAPI()
auth = Auth(app, now=lambda: now, **told)

for line in sys.stdin:
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        answer = lambda found: os.write(theirs, json.dumps(found).encode() + b"\\n")
        asyncio.run(serve(json.loads(line), answer))
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as lines:
        answers = [json.loads(each) for each in lines]
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    print(json.dumps({"killed": killed, "answers": answers}), flush=True)
"""


@dataclass
class Run:
    """One process: how it ended, what the tokens held were answered, what it said since."""

    killed: bool
    answers: list[tuple[int, str | None]]
    rest: list[str]


class Nursery:
    """Starts processes over one file, each from the same imports."""

    def __init__(self, path) -> None:
        self.path = str(path)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", NURSERY],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._say({
            "env": "development", "issuer": "http://localhost:8000",
            "secret": "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A", "database_url": f"sqlite:///{path}",
            "hash_memory_kib": 64, "hash_passes": 1, "audit_routes": "off",
            "limit_backend": "memory",
        })  # fmt: skip

    def _say(self, told: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def run(self, *held: str, now: float = NOW, first: bool = False, **dying: Any) -> Run:
        """Present the tokens held; then sign in anew and die, if told where."""
        assert self._process.stdout is not None
        self._say({"held": held, "now": now, "first": first, "dying": dying})
        told = json.loads(self._process.stdout.readline())
        answers, *rest = told["answers"]
        return Run(told["killed"], [tuple(answer) for answer in answers], rest)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def nursery(tmp_path):
    with closing(Nursery(tmp_path / "main.db")) as made:
        yield made


def points() -> list[tuple[str, int, float]]:
    """200 places to die at: awaits (with the writer a little further each time), statements,
    and single steps of SQLite's machine."""
    awaits = [("await", step, delay / 10_000) for step in range(12) for delay in range(0, 40, 4)]
    statements = [("statement", step, 0.0) for step in range(8)] * 2
    opcodes = [("opcode", step, 0.0) for step in range(0, 192, 3)]
    return awaits + statements + opcodes


def rows(path: str, sql: str) -> list[Any]:
    with closing(connected(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return [tuple(row) for row in db.execute(sql)]


@pytest.mark.attack("Z-01", "Z-02")
def test_who_is_killed_while_rotating_costs_the_client_nothing(nursery):
    """It gets in once with the token it holds; never two lineages, never a dead family."""
    died: Counter[str] = Counter()
    places, held = points(), []
    assert len(places) == 200
    for number, (where, step, delay) in enumerate([*places, ("await", -1, 0.0)]):
        place = (where, step, delay)
        dying = {"where": where, "step": step, "delay": delay, "reuse": False}
        run = nursery.run(*held, first=not number, **dying)
        assert [status for status, _ in run.answers] == [200] * (len(held) + bool(held)), place
        assert len({successor for _, successor in run.answers[:-1]}) == bool(held), place
        died[where] += run.killed
        assert run.killed or len(run.rest) == 2, place
        # An answer may have been lost: then two requests of the client hold the old token.
        held = [run.rest[0]] * 2 if run.killed else [run.rest[1]]
    _all_live(nursery.path, len(places) + 1)
    assert died["await"] >= 80
    assert died["statement"] >= 10
    assert died["opcode"] >= 30


def _all_live(path: str, families: int) -> None:
    """One row for every login, none ended, none further than its client went."""
    found = rows(path, f"SELECT generation, revoked_seq FROM {tables.grants.name}")
    assert len(found) == families
    assert {revoked for _, revoked in found} == {None}
    assert {generation for generation, _ in found} <= {1, 2, 3}


@pytest.mark.attack("Z-01", "T-24")
def test_who_is_killed_while_ending_a_grant_ends_it_on_the_next_try(nursery):
    """A replayed token after the window: all of the ending is there, or nothing yet."""
    held: list[str] = []
    steps = range(22)
    for step in [*steps, 99]:
        dying = {"where": "statement", "step": step, "delay": 0, "reuse": True}
        run = nursery.run(*held, now=NOW + 100 * step, first=not step, **dying)
        assert run.answers == [(400, None)] * len(held), step
        held = run.rest[:2]
        assert run.killed or step >= 18, step
    path = nursery.path
    log = rows(path, f"SELECT seq FROM {tables.rev.name} WHERE kind = 'grant' ORDER BY seq")
    ended = rows(
        path,
        f"SELECT revoked_seq FROM {tables.grants.name} WHERE revoked_seq IS NOT NULL ORDER BY 1",
    )
    assert log == ended
    assert len(ended) == len(steps) + 1


REVOKER = """
import asyncio, sys
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite

async def main():
    store, number = SqlStore(Sqlite(sys.argv[1]), token_life=600), 0
    while True:
        names = range(number, number + 4)
        await asyncio.gather(*(store.revoke_token(f"jti{n}", 2e9, 1.8e9) for n in names))
        number += 4
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.attack("Z-03")
def test_every_copy_taken_at_any_moment_holds_what_was_acknowledged(tmp_path):
    """The database and its WAL as they stand at one instant, and nothing else."""
    path = tmp_path / "w.db"
    with closing(Sqlite(path)) as driver:
        schema.prepare(driver, upgrade=False)
    with subprocess.Popen(
        [sys.executable, "-c", REVOKER, str(path)], stdout=subprocess.PIPE
    ) as writer:
        try:
            heard = os.read(writer.stdout.fileno(), 65_536)
            os.set_blocking(writer.stdout.fileno(), False)
            for moment in range(25):
                time.sleep(0.003 + moment % 7 / 900)
                os.kill(writer.pid, signal.SIGSTOP)
                os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
                heard += _rest(writer.stdout.fileno())
                copy = tmp_path / f"copy{moment}.db"
                shutil.copy(path, copy)
                shutil.copy(f"{path}-wal", f"{copy}-wal")
                os.kill(writer.pid, signal.SIGCONT)
                acknowledged = int(heard.split()[-1])
                seqs = rows(str(copy), f"SELECT seq FROM {tables.rev.name} ORDER BY seq")
                assert [seq for (seq,) in seqs] == list(range(1, len(seqs) + 1))
                assert len(seqs) >= acknowledged > 0
                assert rows(str(copy), f"SELECT seq FROM {tables.rev_head.name}") == [seqs[-1]]
        finally:
            writer.kill()


def _rest(pipe: int) -> bytes:
    """All that was said before now; whole lines, because each is one write."""
    try:
        return os.read(pipe, 1_000_000)
    except BlockingIOError:
        return b""

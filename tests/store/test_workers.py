"""Several worker processes over one file: what one of them acknowledged binds them all."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack, closing
from typing import Any

import httpx2
import pytest
from processes import hear, process, say

from watchword import Auth
from watchword.rules import claims
from watchword.rules.scopes import Scopes
from watchword.seams import Account, StoredUser
from watchword.store import tables
from watchword.store.opening import connected

NOW = 1_800_000_000.0
ISSUER = "http://localhost:8000"
CLIENT = "first-party"
FAMILIES = 100_000  # and as many users
VICTIMS = 150
WORKERS, CHECKS = 4, 30_000

GUARD = """
import asyncio, json, sys, threading, time
from watchword import Auth
from watchword.errors import InvalidToken

async def main(told):
    auth = Auth(now=lambda: told["now"], **told["options"])
    await auth.start()
    verify, tokens = auth._bench.verify, told["tokens"]
    for token in tokens:
        await verify(token)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
    print("ready", flush=True)
    accepted, checks, last_round = [0.0] * len(tokens), 0, False
    while not last_round or checks < told["checks"]:
        last_round = over.is_set()
        for n, token in enumerate(tokens):
            checks += 1
            began = time.monotonic()
            try:
                await verify(token)
            except InvalidToken:
                continue
            accepted[n] = began
    print(json.dumps({"checks": checks, "accepted": accepted}), flush=True)
    auth.close()

asyncio.run(main(json.loads(sys.stdin.readline())))
"""

SERVER = """
import json, socket, sys
import uvicorn
from fastapi import FastAPI
from watchword import Auth

told = json.loads(sys.stdin.readline())

def now():
    with open(told["clock"]) as clock:
        return float(clock.read())

def tell(event):
    with open(told["events"], "a") as events:
        events.write(event.kind + "\\n")

app = FastAPI()
auth = Auth(app, now=now, **told["options"])
auth.events.listen(tell)
door = socket.create_server(("127.0.0.1", 0), backlog=256)
print(door.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[door])
"""


@pytest.fixture
def options(tmp_path) -> dict[str, Any]:
    return {
        "env": "development",
        "issuer": ISSUER,
        "secret": "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A",
        "database_url": f"sqlite:///{tmp_path}/main.db",
        "hash_memory_kib": 64,
        "hash_passes": 1,
        "audit_routes": "off",
    }


def family(n: int) -> bytes:
    return n.to_bytes(16)


def load(path: str) -> None:
    """Users and families in bulk, one of each per number."""
    users = ("id", "username", "disabled", "scopes", "roles", "claims", "rev_seq", "created_at")
    grants = [column.name for column in tables.grants.columns]
    rows = [
        (f"u{n}", f"user{n}", 0, "me", "", "{}", 0, NOW)
        for n in range(FAMILIES)
    ]  # fmt: skip
    families = [
        (family(n), f"u{n}", CLIENT, "me", ISSUER, 0, NOW, b"p", 0, NOW, NOW, NOW * 2, NOW * 2, None)
        for n in range(FAMILIES)
    ]  # fmt: skip
    with closing(connected(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        for table, columns, values in (
            (tables.users, users, rows),
            (tables.grants, grants, families),
        ):
            marks = ", ".join("?" for _ in columns)
            db.executemany(
                f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})", values
            )
        db.execute("COMMIT")


def access_token(auth: Auth, n: int, rev: int) -> str:
    content = claims.access(
        issuer=ISSUER, subject=f"u{n}", client_id=CLIENT, audience=auth.settings.audience,
        scopes=Scopes(("me",)), jti=f"jti{n}", now=NOW, ttl=600, rev=rev, fid=family(n).hex(),
    )  # fmt: skip
    return auth.signing.access_token(content, NOW)


@pytest.mark.attack("Z-15")
async def test_no_worker_accepts_what_anybody_was_told_is_revoked(options):
    """A check that begins after the answer refuses; 100,000 families stand in the file."""
    auth = Auth(now=lambda: NOW, **options)
    await auth.start()
    load(auth.driver.path)
    store = auth.store
    rev = await store.head()
    victims = range(0, FAMILIES, FAMILIES // VICTIMS)[:VICTIMS]
    told = {
        "options": options, "now": NOW, "checks": CHECKS,
        "tokens": [access_token(auth, n, rev) for n in victims],
    }  # fmt: skip
    acknowledged = []
    with ExitStack() as stack:
        workers = [stack.enter_context(process(GUARD, told)) for _ in range(WORKERS)]
        for worker in workers:
            assert await hear(worker) == "ready"
        for n in victims:
            ending = (
                store.revoke_grant(family(n), NOW),
                store.revoke_user(f"u{n}", NOW),
                store.revoke_token(f"jti{n}", NOW + 600, NOW),
            )
            assert await ending[n % 3]
            acknowledged.append(time.monotonic())
            for other in ending:
                other.close()
        for worker in workers:
            say(worker, "over")
        reports = [json.loads(await hear(worker)) for worker in workers]
    auth.close()
    assert sum(report["checks"] for report in reports) >= WORKERS * CHECKS
    late = [
        accepted - answered
        for report in reports
        for accepted, answered in zip(report["accepted"], acknowledged, strict=True)
        if accepted > answered
    ]
    assert not late
    assert all(any(report["accepted"]) for report in reports)  # they did let people in before


@pytest.mark.attack("T-19", "Z-15", "T-24")
async def test_two_servers_refresh_one_token_for_fifty(options, tmp_path):
    """One lineage and nobody turned away; after the window, one ending, told once."""
    clock, events = tmp_path / "clock", tmp_path / "events"
    clock.write_text(str(NOW))
    events.touch()
    auth = Auth(now=lambda: NOW, scopes={"me": "You"}, **options)
    await auth.start()
    account = Account("u_johndoe", "johndoe", scopes=("me",))
    hashed = await auth.passwords.hash("secret")
    assert await auth.store.add_user(StoredUser(account, hashed))
    told = {"options": options, "clock": str(clock), "events": str(events)}
    with ExitStack() as stack:
        servers = [stack.enter_context(process(SERVER, told)) for _ in range(2)]
        ports = [await hear(server) for server in servers]
        limits = httpx2.Limits(max_connections=60)
        async with httpx2.AsyncClient(limits=limits, timeout=60) as http:

            async def post(n: int, **fields: str) -> httpx2.Response:
                return await http.post(f"http://127.0.0.1:{ports[n % 2]}/token", data=fields)

            async def fifty(token: str) -> list[httpx2.Response]:
                ask = {"grant_type": "refresh_token", "refresh_token": token}
                return await asyncio.gather(*(post(n, **ask) for n in range(50)))

            login = await post(0, username="johndoe", password="secret")
            assert login.status_code == 200, login.text
            token = old = login.json()["refresh_token"]
            for _ in range(3):
                answers = await fifty(token)
                assert {answer.status_code for answer in answers} == {200}
                old, (token,) = token, {answer.json()["refresh_token"] for answer in answers}
            clock.write_text(str(NOW + 31))
            for spent in (old, token, old):
                answers = await fifty(spent)
                assert {answer.status_code for answer in answers} == {400}
                assert {answer.json()["error"] for answer in answers} == {"invalid_grant"}
    grants = await auth.store.grants_of("u_johndoe")
    assert [(grant.generation, grant.revoked_seq is None) for grant in grants] == [(3, False)]
    auth.close()
    assert events.read_text().split().count("refresh.reused") == 1
    assert events.read_text().split().count("token.refreshed") == 3

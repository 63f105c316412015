"""The pages for those who run several machines, done as they say on real servers."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from node import SECRET, Node
from operating import PATHS, Operator, missing
from pg import PostgresServer
from ports import free_port
from tests.test_docs import OPERATE, ROOT, elements

from watchword import Account, Auth
from watchword.seams import StoredUser

PAGES = sorted(OPERATE.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_true(page: Path) -> None:
    text = page.read_text()
    if program := missing(text):
        pytest.skip(f"the page runs {program}, and there is none here")
    reader = Operator(own_issuer="WATCHWORD_ISSUER=" in text or "--issuer" in text)
    try:
        for block in elements(text):
            try:
                reader.do(block)
            except AssertionError as error:
                error.add_note(f"{page.relative_to(ROOT)}:{block.line}")
                raise
        reader.finish()
    finally:
        reader.stop()


# --- what a database is asked ---

ROW = re.compile(r"^\| ([^|]+) \| (\d+) \| (\d+) \|$", re.MULTILINE)


class Asked:
    """What one server's database hears, but for the reading of the log beside all requests."""

    def __init__(self, server: PostgresServer) -> None:
        self._log = server.directory / "server.log"
        self._from = 0

    async def since(self) -> list[str]:
        await asyncio.sleep(0.3)
        text = self._log.read_bytes()[self._from :].decode()
        self._from += len(text.encode())
        said = re.findall(r"^(\S+)\|LOG:  execute [^:]+: (.*(?:\n\t.*)*)", text, re.MULTILINE)
        apart = {session for session, statement in said if "watchword_rev_head.epoch" in statement}
        return [
            statement
            for session, statement in said
            if session not in apart and not statement.startswith("SET ")
        ]


async def test_the_table_of_statements_is_true() -> None:
    table = {what: (int(all_), int(limits)) for what, all_, limits in ROW.findall(
        (OPERATE / "postgresql.md").read_text()
    )}  # fmt: skip
    server = PostgresServer(log_statement="all", log_line_prefix="%c|", fsync="off")
    app = FastAPI()
    auth = Auth(
        app,
        env="development",
        database_url=server.database("asked"),
        secret=SECRET,
        hash_memory_kib=64,
        hash_passes=1,
        max_stale="300s",
    )

    @app.get("/guarded", dependencies=[auth.require()])
    async def guarded() -> None: ...

    try:
        await auth.start()
        account = Account("u_ada", "ada")
        await auth.store.add_user(StoredUser(account, await auth.passwords.hash("secret")))
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url=auth.settings.issuer) as http:
            assert await _counted(http, Asked(server)) == table
    finally:
        await auth.stop()
        server.close()


async def _counted(http: httpx2.AsyncClient, asked: Asked) -> dict[str, tuple[int, int]]:
    tokens: dict[str, str] = {}

    async def post(path: str, **form: str) -> httpx2.Response:
        return await http.post(path, data=form, headers=_bearer(tokens))

    async def login(password: str = "secret") -> httpx2.Response:
        return await post("/token", username="ada", password=password)

    async def refresh() -> httpx2.Response:
        old = tokens["refresh_token"]
        return await post("/token", grant_type="refresh_token", refresh_token=old)

    works = {
        "`POST /token`, a login": login,
        "`POST /token`, a login that fails": lambda: login("wrong"),
        "`POST /token`, a refresh": refresh,
        "a guarded route": lambda: http.get("/guarded", headers=_bearer(tokens)),
        "`POST /revoke-token`": lambda: post("/revoke-token"),
    }
    counted = {}
    for _ in range(2):  # at first there is more to find out
        for name, work in works.items():
            await asked.since()
            answer = await work()
            statements = await asked.since()
            assert answer.status_code == (401 if "fails" in name else 200), (name, answer.text)
            if "access_token" in answer.text:
                tokens = answer.json()
            limits = sum("watchword_limits" in statement for statement in statements)
            counted[name] = (len(statements), limits)
    return counted


def _bearer(tokens: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"} if tokens else {}


# --- a balancer ---


@pytest.mark.attack("Z-21")
@pytest.mark.skipif(shutil.which("haproxy", path=PATHS) is None, reason="there is no haproxy here")
def test_nodes_are_replaced_behind_a_balancer_without_a_failed_request(tmp_path: Path) -> None:
    """By the configuration that the page shows."""
    url = f"sqlite:///{tmp_path}/w.db"
    asyncio.run(_with_a_user(url))
    page = (OPERATE / "many-nodes.md").read_text()
    text = next(b.text for b in elements(page) if b.said.get("file") == "haproxy.cfg")
    port, statuses, over = free_port(), Counter[int](), threading.Event()
    with Node(url, drain="3s") as one, Node(url, drain="3s") as two:
        for shown, node in (("node1.example.com:8000", one), ("node2.example.com:8000", two)):
            text = text.replace(shown, f"127.0.0.1:{node.port}")
        (tmp_path / "haproxy.cfg").write_text(text.replace("bind :8080", f"bind 127.0.0.1:{port}"))
        balancer = subprocess.Popen(
            [shutil.which("haproxy", path=PATHS), "-f", tmp_path / "haproxy.cfg"]
        )
        try:
            _until_ready(f"http://127.0.0.1:{port}/auth/health/ready")
            with ThreadPoolExecutor(4) as clients:
                asking = [
                    clients.submit(_ask_for_ever, f"http://127.0.0.1:{port}", statuses, over)
                    for _ in range(4)
                ]
                for node in (one, two):
                    node.stop()
                    node.start()
                    time.sleep(2)  # it is sent requests again
                over.set()
                for one_client in asking:
                    one_client.result(20)
        finally:
            over.set()
            balancer.terminate()
            balancer.wait(10)
    assert set(statuses) == {200}
    assert statuses[200] > 200


async def _with_a_user(url: str) -> None:
    cheap = {"hash_memory_kib": 64, "hash_passes": 1}
    auth = Auth(env="development", database_url=url, secret=SECRET, **cheap)
    await auth.start()
    account = Account("u_ada", "ada", scopes=("me",))
    await auth.store.add_user(StoredUser(account, await auth.passwords.hash("secret")))
    await auth.stop()


def _until_ready(url: str) -> None:
    end = time.monotonic() + 20
    while True:
        with suppress(httpx2.HTTPError):
            if httpx2.get(url).status_code == 200:
                return
        assert time.monotonic() < end, "the balancer sends nobody there"
        time.sleep(0.1)


def _ask_for_ever(url: str, statuses: Counter[int], over: threading.Event) -> None:
    with httpx2.Client(base_url=url, timeout=20) as http:
        while not over.is_set():
            login = http.post("/token", data={"username": "ada", "password": "secret"})
            statuses[login.status_code] += 1
            if login.status_code == 200:
                tokens = login.json()
                form = {
                    "grant_type": "refresh_token",
                    "refresh_token": tokens["refresh_token"],
                }
                statuses[http.post("/token", data=form).status_code] += 1
                statuses[http.get("/guarded", headers=_bearer(tokens)).status_code] += 1
            time.sleep(0.02)

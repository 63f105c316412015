"""Tickets with real processes: two servers on one file, a WebSocket client, a stream, a browser."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from watchword import Auth
from watchword.seams import Account, StoredUser

CHROMIUM = shutil.which("chromium")
STREAM = {"Accept": "text/event-stream"}
RACERS = 50

SERVER = """
import asyncio, json, os, socket, sys
from typing import Annotated
import uvicorn
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse, StreamingResponse
from watchword import Account, Auth

told = json.loads(sys.stdin.readline())
app = FastAPI()
auth = Auth(app, scopes={"feed": "Follow what happens"}, **told["options"])

@app.get("/", dependencies=[auth.public])
async def page() -> HTMLResponse:
    return HTMLResponse("<!doctype html><title>a page</title>")

@app.websocket("/ws")
async def ws(socket: WebSocket, user: Annotated[Account, auth.current_user("feed")]) -> None:
    await socket.accept(subprotocol=auth.ws_subprotocol(socket))
    async with auth.until_revoked(socket):
        while True:
            await socket.send_text(f"{user.username}: {await socket.receive_text()}")

@app.get("/events", dependencies=[auth.require("feed")])
async def events(request: Request, most: int = 1_000_000) -> StreamingResponse:
    async def lines():
        async with auth.until_revoked(request):
            for n in range(most):
                yield f"retry: 100\\ndata: {n}\\n\\n"
                await asyncio.sleep(0.01)
    return StreamingResponse(lines(), media_type="text/event-stream")

door = socket.create_server(("127.0.0.1", 0), backlog=256)
print(door.getsockname()[1], flush=True)
os.dup2(2, 1)  # from here on everything goes into the log
uvicorn.Server(uvicorn.Config(app, access_log=True)).run(sockets=[door])
"""


@dataclass
class Two:
    """Two servers on one file, what they write into their logs, and a client."""

    ports: list[int]
    logs: list[Path]
    http: httpx2.AsyncClient

    def url(self, at: int, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.ports[at]}{path}"

    async def log_in(self) -> str:
        form = {"username": "johndoe", "password": "secret", "scope": "feed"}
        answer = await self.http.post(self.url(0, "/token"), data=form)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    async def mint(self, at: int, token: str) -> str:
        answer = await self.http.post(
            self.url(at, "/auth/ticket"), headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["ticket"]

    async def log_out(self, at: int, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await self.http.post(self.url(at, "/revoke-token"), headers=headers)
        assert answer.status_code == 200, answer.text

    def socket(self, at: int, ticket: str) -> websockets.connect:
        return websockets.connect(self.url(at, f"/ws?ticket={ticket}", "ws"))

    @asynccontextmanager
    async def stream(self, at: int, ticket: str) -> AsyncIterator[httpx2.Response]:
        url = self.url(at, f"/events?ticket={ticket}")
        async with self.http.stream("GET", url, headers=STREAM) as answer:
            yield answer


@contextmanager
def served(log: Path, told: dict[str, Any]) -> Iterator[int]:
    """A server of its own, at the port it tells; what it logs is in the file."""
    with log.open("w") as out, subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture
async def two(tmp_path) -> AsyncIterator[Two]:
    options = {
        "env": "development",
        "issuer": "http://localhost:8000",
        "secret": "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A",
        "database_url": f"sqlite:///{tmp_path}/main.db",
        "hash_memory_kib": 64,
        "hash_passes": 1,
    }
    auth = Auth(scopes={"feed": "Follow what happens"}, **options)
    await auth.start()
    account = Account("u_johndoe", "johndoe", scopes=("feed",))
    assert await auth.store.add_user(StoredUser(account, await auth.passwords.hash("secret")))
    auth.close()
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with ExitStack() as stack:
        ports = [stack.enter_context(served(log, {"options": options})) for log in logs]
        limits = httpx2.Limits(max_connections=2 * RACERS)
        async with httpx2.AsyncClient(limits=limits, timeout=60) as http:
            yield Two(ports, logs, http)


async def refused(opening: websockets.connect) -> int:
    with pytest.raises(websockets.InvalidStatus) as denied:
        await opening
    answer = denied.value.response
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    return answer.status_code


async def test_a_socket_at_one_server_by_a_ticket_of_the_other(two):
    token = await two.log_in()
    ticket = await two.mint(0, token)
    async with two.socket(1, ticket) as socket:
        await socket.send("hello")
        assert await socket.recv() == "johndoe: hello"
        for at in (0, 1):
            assert await refused(two.socket(at, ticket)) == 401
        raw = websockets.connect(two.url(0, f"/ws?access_token={token}", "ws"))
        assert await refused(raw) == 401
        await asyncio.sleep(1.2)  # the token behind it was looked at twice
        await socket.send("still here")
        assert await socket.recv() == "johndoe: still here"
        await two.log_out(0, token)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            async with asyncio.timeout(10):
                await socket.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "token ended")


async def test_a_stream_at_one_server_by_a_ticket_of_the_other(two):
    token = await two.log_in()
    ticket = await two.mint(1, token)
    async with asyncio.timeout(30), two.stream(0, ticket) as answer:
        assert answer.status_code == 200
        seen = 0
        async for line in answer.aiter_lines():
            seen += line.startswith("data:")
            if seen == 120:  # more than a second: the token behind it was looked at twice
                again = await two.http.get(two.url(1, f"/events?ticket={ticket}"), headers=STREAM)
                assert again.status_code == 401
                await two.log_out(1, token)
                seen += 1
    assert seen > 121, "it ended by itself, after what was on its way"


@pytest.mark.attack("Z-15")
async def test_of_fifty_at_two_servers_one_opens(two):
    token = await two.log_in()
    opened: list[int] = []

    async def as_socket(at: int, ticket: str, over: asyncio.Event) -> int:
        try:
            async with two.socket(at, ticket) as socket:
                await socket.send("I")
                opened.append(len(await socket.recv()))
                await over.wait()
        except websockets.InvalidStatus as denied:
            return denied.response.status_code
        return 101

    async def as_stream(at: int, ticket: str, over: asyncio.Event) -> int:
        async with two.stream(at, ticket) as answer:
            if answer.status_code == 200:
                opened.append(1)
                await over.wait()
            return answer.status_code

    for n in range(3):
        ticket, over = await two.mint(0, token), asyncio.Event()
        racers = [
            asyncio.create_task((as_socket, as_stream)[racer // 2 % 2](racer % 2, ticket, over))
            for racer in range(RACERS)
        ]
        async with asyncio.timeout(60):
            while sum(racer.done() for racer in racers) < RACERS - 1 and len(opened) < n + 2:
                await asyncio.sleep(0.02)
            over.set()
            answers = sorted(await asyncio.gather(*racers))
        assert answers in ([101, *[401] * 49], [200, *[401] * 49])
    assert len(opened) == 3


@pytest.mark.attack("D-07")
async def test_a_ticket_in_the_access_log_opens_nothing(two):
    token = await two.log_in()
    ticket = await two.mint(0, token)
    async with two.socket(0, ticket) as socket:
        await socket.send("hello")
        await socket.recv()
        for _ in range(100):
            if ticket in two.logs[0].read_text():
                break
            await asyncio.sleep(0.05)
        assert ticket in two.logs[0].read_text()  # uvicorn writes the whole URL
        assert await refused(two.socket(1, ticket)) == 401
        assert token not in two.logs[0].read_text()


PAGE = """async ([token, most]) => {
    const told = []
    const ticket = async () => {
        const headers = {Authorization: `Bearer ${token}`}
        return (await (await fetch("/auth/ticket", {method: "POST", headers})).json()).ticket
    }
    const events = new EventSource(`/events?most=${most}&ticket=${await ticket()}`)
    await new Promise(over => {
        events.onmessage = event => told.push(event.data)
        events.onerror = () => events.readyState === EventSource.CLOSED && over()
    })
    const socket = new WebSocket(`/ws?ticket=${await ticket()}`)
    await new Promise(over => { socket.onopen = over })
    socket.send("hello")
    told.push(await new Promise(over => { socket.onmessage = event => over(event.data) }))
    const closed = new Promise(over => { socket.onclose = event => over(event.code) })
    const headers = {Authorization: `Bearer ${token}`}
    await fetch("/revoke-token", {method: "POST", headers})
    return [...told, await closed]
}"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium")
async def test_a_browser_opens_both_and_does_not_reconnect_with_a_spent_ticket(two):
    from playwright.async_api import async_playwright

    token = await two.log_in()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        picture = await two.mint(0, token)
        await page.goto(two.url(0, "/"))
        found = await page.evaluate(PAGE, [token, 3])
        # What a link opens is no event stream, and its ticket stays as good as it was.
        answer = await page.goto(two.url(0, f"/events?most=1&ticket={picture}"))
        await browser.close()
    assert found == ["0", "1", "2", "johndoe: hello", 4401]
    assert answer is not None and answer.status == 400

"""Sockets and streams end with their token."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect, WebSocketState

from watchword import AccessToken, Account, Auth
from watchword.guard import streams
from watchword.guard.bearer import SUBPROTOCOL

LOG: list[str] = []


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    assert streams.CHECK_EVERY <= 1, "a revoked token's socket closes within about a second"
    monkeypatch.setattr(streams, "CHECK_EVERY", 0.02)
    LOG.clear()


def prepare(app: FastAPI, auth: Auth) -> None:
    @app.websocket("/ws")
    async def echo(socket: WebSocket, user: Annotated[Account, auth.current_user("items")]) -> None:
        await socket.accept(subprotocol=auth.ws_subprotocol(socket))
        try:
            async with auth.until_revoked(socket):
                while True:
                    await socket.send_text(f"{user.username}: {await socket.receive_text()}")
            LOG.append("ended")
        except WebSocketDisconnect:
            LOG.append("left")

    @app.websocket("/busy")
    async def busy(socket: WebSocket, token: Annotated[AccessToken, auth.token()]) -> None:
        await socket.accept()
        async with auth.until_revoked(socket):
            while True:
                await socket.send_text("tick")
                await asyncio.sleep(0.001)
        LOG.append("ended")

    @app.websocket("/brief")
    async def brief(socket: WebSocket, token: Annotated[AccessToken, auth.token()]) -> None:
        await socket.accept()
        async with auth.until_revoked(socket):
            await socket.send_text("hello")
        await socket.close(1000)

    @app.websocket("/broken")
    async def broken(socket: WebSocket, token: Annotated[AccessToken, auth.token()]) -> None:
        await socket.accept()
        async with auth.until_revoked(socket):
            raise RuntimeError("the app's own fault")

    @app.get("/events", dependencies=[auth.require("items")])
    async def events(request: Request) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            async with auth.until_revoked(request):
                while True:
                    yield "data: tick\n\n"
                    await asyncio.sleep(0.005)
            LOG.append("ended")

        return StreamingResponse(lines(), media_type="text/event-stream")


@pytest.fixture
async def chat(build):
    made = build(prepare)
    await made.auth.start()
    await made.add_user("johndoe")
    return made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (bearer("x.y.z"), 401), ({"Authorization": "Bearer"}, 400)],
)
async def test_denial_is_a_clean_answer_before_the_socket_is_accepted(
    chat, headers, status
) -> None:
    client = TestClient(chat.app, base_url="http://localhost:8000")
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect("/ws", headers=headers),
    ):
        pass
    assert denied.value.status_code == status
    assert denied.value.headers["WWW-Authenticate"].startswith("Bearer")
    assert 'scope="items"' in denied.value.headers["WWW-Authenticate"] or status == 400
    assert denied.value.json()["code"] in ("WW-101", "WW-201", "WW-202")


async def test_a_token_without_the_scope_is_denied_with_403(chat) -> None:
    tokens = await chat.login(scope="me")
    client = TestClient(chat.app, base_url="http://localhost:8000")
    headers = bearer(tokens["access_token"])
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect("/ws", headers=headers),
    ):
        pass
    assert denied.value.status_code == 403 and denied.value.json()["scope"] == "items"


@pytest.mark.parametrize("by", ["header", "subprotocol"])
@pytest.mark.parametrize("path", ["/ws", "/busy"])
async def test_a_revoked_token_closes_its_socket_and_no_other(chat, by, path) -> None:
    mine, others = await chat.login(), await chat.login()
    offered = [SUBPROTOCOL + mine["access_token"], "chat"] if by == "subprotocol" else None
    headers = bearer(mine["access_token"]) if by == "header" else {}
    client = TestClient(chat.app, base_url="http://localhost:8000")
    with (
        client.websocket_connect("/ws", headers=bearer(others["access_token"])) as other,
        client.websocket_connect(path, headers=headers, subprotocols=offered) as socket,
    ):
        if path == "/ws":
            assert socket.accepted_subprotocol == (offered[0] if offered else None)
            socket.send_text("hi")
            assert socket.receive_text() == "johndoe: hi"
        revoked = client.post("/revoke-token", headers=bearer(mine["access_token"]))
        assert revoked.status_code == 200
        began = time.monotonic()
        with pytest.raises(WebSocketDisconnect) as closed:
            while True:
                socket.receive_text()
        assert closed.value.code == 4401 and time.monotonic() - began < 5
        other.send_text("still here")
        assert other.receive_text() == "johndoe: still here"
    assert LOG.count("ended") == 1


async def test_an_expired_token_closes_its_socket(chat) -> None:
    client = TestClient(chat.app, base_url="http://localhost:8000")
    with client.websocket_connect(
        "/ws", headers=bearer((await chat.login())["access_token"])
    ) as socket:
        chat.clock.tick(chat.auth.settings.access_ttl + 60)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 4401


async def test_a_stream_ends_with_its_token(chat) -> None:
    tokens = await chat.login()
    streaming = asyncio.create_task(chat.get("/events", tokens["access_token"]))
    await asyncio.sleep(0.1)
    assert not streaming.done()
    await chat.http.post("/revoke-token", headers=bearer(tokens["access_token"]))
    answer = await asyncio.wait_for(streaming, 5)
    assert answer.status_code == 200 and "data: tick" in answer.text and LOG == ["ended"]
    assert (await chat.get("/events", tokens["access_token"])).status_code == 401


async def test_a_body_that_ends_by_itself_or_by_its_own_fault(chat) -> None:
    headers = bearer((await chat.login())["access_token"])
    client = TestClient(chat.app, base_url="http://localhost:8000")
    with client.websocket_connect("/brief", headers=headers) as socket:
        assert socket.receive_text() == "hello"
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 1000
    with (
        pytest.raises(RuntimeError, match="own fault"),
        client.websocket_connect("/broken", headers=headers) as s,
    ):
        s.receive_text()


@pytest.mark.attack("Z-34")
async def test_a_check_that_fails_ends_the_stream_too(chat, monkeypatch, caplog) -> None:
    tokens = await chat.login()
    streaming = asyncio.create_task(chat.get("/events", tokens["access_token"]))
    await asyncio.sleep(0.1)

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(chat.auth._decisions, "still_good", broken)
    await asyncio.wait_for(streaming, 5)
    assert "could not be checked" in caplog.text


async def test_a_socket_that_cannot_be_closed_ends_all_the_same(chat) -> None:
    token = (await chat.login())["access_token"]

    async def send(_: object) -> None:
        raise OSError("the peer is gone")

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "headers": [(b"authorization", f"Bearer {token}".encode())]}
    socket = WebSocket(scope, receive, send)
    socket.application_state = WebSocketState.CONNECTED
    chat.clock.tick(1e6)
    async with asyncio.timeout(5):
        async with chat.auth.until_revoked(socket):
            await asyncio.Event().wait()


async def test_a_cancellation_from_outside_stays_one(chat) -> None:
    token = (await chat.login())["access_token"]
    scope = {"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]}

    async def body() -> None:
        async with chat.auth.until_revoked(Request(scope)):
            await asyncio.Event().wait()

    running = asyncio.create_task(body())
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_dependencies_of_sockets_run_once(chat) -> None:
    calls: list[str] = []

    def count(token: Annotated[AccessToken, chat.auth.token()]) -> str:
        calls.append(token.sub)
        return token.sub

    @chat.app.websocket("/late")
    async def late(
        socket: WebSocket, a: Annotated[str, Depends(count)], b: Annotated[str, Depends(count)]
    ) -> None:
        await socket.accept()
        await socket.send_text(a)
        await socket.close()

    client = TestClient(chat.app, base_url="http://localhost:8000")
    with client.websocket_connect(
        "/late", headers=bearer((await chat.login())["access_token"])
    ) as socket:
        assert socket.receive_text() == "u_johndoe"
    assert calls == ["u_johndoe"]

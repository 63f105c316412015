"""The real protocol in a real server on this loop; clocks are shortened, never waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from watchword.cli.bounded import LARGEST_HEAD, BoundedHttp

NEVER = 3600.0
SOON = 0.05


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] == "http.disconnect":
            return
        if not message["more_body"]:
            break
    head = [(b"content-length", str(len(str(size))).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": str(size).encode()})


class Serve:
    """Starts servers with clocks of one's choice and speaks to them in bytes."""

    def __init__(self) -> None:
        self.running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def __call__(self, *, head: float = NEVER, body: float = NEVER) -> int:
        class Http(BoundedHttp):
            head_seconds = head
            body_seconds = body

        config = uvicorn.Config(
            app, port=0, http=Http, lifespan="off", log_level="critical", server_header=False
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None
        task = asyncio.ensure_future(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        self.running.append((server, task))
        return server.servers[0].sockets[0].getsockname()[1]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    made = Serve()
    yield made
    for server, task in made.running:
        server.should_exit = server.force_exit = True
        await task


async def spoken(port: int, *parts: bytes, end: bool = True) -> bytes:
    """Everything the server says until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if end:
            return await asyncio.wait_for(reader.read(), 30)
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    except ConnectionError:
        return b""
    finally:
        writer.close()


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def test_an_honest_request_is_served(serve) -> None:
    port = await serve()
    token = b"Authorization: Bearer " + b"x" * 16_384 + b"\r\n"
    assert (await spoken(port, GET + token + b"\r\n", end=False)).startswith(b"HTTP/1.1 200")
    closing = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 70000\r\n\r\n"
    assert (await spoken(port, closing, b"x" * 70_000)).endswith(b"70000")
    twice = GET + b"\r\n" + GET + b"Connection: close\r\n\r\n"
    assert (await spoken(port, twice)).count(b"HTTP/1.1 200") == 2


@pytest.mark.attack("D-05")
@pytest.mark.parametrize(
    "flood",
    [
        b"X: y\r\n" * 1000 + b"\r\n",  # many
        b"X: " + b"y" * 65_536 + b"\r\n\r\n",  # large, complete
        b"X: " + b"y" * 65_536,  # large, never ending
        b"Y" * 65_536,  # not even a name
    ],
)
async def test_a_flood_of_headers_is_refused(serve, flood: bytes) -> None:
    port = await serve()
    assert (await spoken(port, GET + flood)).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))


@pytest.mark.attack("D-05")
async def test_a_flood_of_target_is_refused(serve) -> None:
    port = await serve()
    assert (await spoken(port, b"GET /" + b"a" * 65_536)).startswith(b"HTTP/1.1 431")


async def test_pieces_are_added_up_within_a_head_and_not_across(serve) -> None:
    port = await serve()
    piece = b"X: " + b"y" * 1000 + b"\r\n"
    # The last piece is the one too many: bytes that nobody reads would reset the connection.
    many = [piece] * ((LARGEST_HEAD - len(GET)) // len(piece) + 1)
    assert (await spoken(port, GET, *many)).startswith(b"HTTP/1.1 431")
    half = GET + piece * (LARGEST_HEAD // 2000)
    requests = [half + b"\r\n"] * 3 + [half + b"Connection: close\r\n\r\n"]
    assert (await spoken(port, *requests)).count(b"HTTP/1.1 200") == 4


@pytest.mark.attack("D-05")
@pytest.mark.parametrize("said", [b"", GET, GET + b"X: y"])
async def test_a_head_that_does_not_come_is_not_waited_for(serve, said: bytes) -> None:
    port = await serve(head=SOON)
    assert await spoken(port, said) == b""


@pytest.mark.attack("D-05")
async def test_a_body_that_trickles_is_not_waited_for(serve) -> None:
    port = await serve(body=SOON)
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    assert await spoken(port, post + b"x") == b""


async def test_an_answer_in_the_making_has_no_clock(serve) -> None:
    port = await serve(head=SOON, body=SOON)
    assert b"200" in await spoken(port, GET + b"Connection: close\r\n\r\n")

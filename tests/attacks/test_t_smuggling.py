"""Row T-30: requests whose end two readers see in different places, over a real socket."""

import asyncio
import contextlib

import pytest
import uvicorn

from watchword.cli.bounded import BoundedHttp

PATIENCE = 2.0  # seconds; only a connection that is kept open makes anybody wait
BODY = b"username=johndoe&password=secret"
HIDDEN = (
    b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY
HEAD = b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
SHAPES = {
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "a length with a sign": b"Content-Length: +0\r\n\r\n",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a length of digits and letters": b"Content-Length: 0x0\r\n\r\n",
    "a chunk without its end": b"Transfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n",
    "a chunk size with a sign": b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "a folded header": b"Content-Length: 0\r\nX-A: b\r\n c: d\r\n\r\n",
    "a space before the colon": b"Content-Length : 0\r\n\r\n",
}
"""Each is followed by a good login in the same bytes; that login must never be answered."""


@contextlib.asynccontextmanager
async def listening(app, http):
    config = uvicorn.Config(app, port=0, http=http, lifespan="off", log_level="critical")
    served = uvicorn.Server(config)
    served.install_signal_handlers = lambda: None
    running = asyncio.create_task(served._serve())
    while not served.started:
        await asyncio.sleep(0.01)
    try:
        yield served.servers[0].sockets[0].getsockname()[1]
    finally:
        served.should_exit = True
        await running


async def exchanged(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    answer = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while piece := await asyncio.wait_for(reader.read(65_536), PATIENCE):
            answer += piece
    writer.close()
    return answer


@pytest.mark.attack("T-30")
@pytest.mark.parametrize("http", [BoundedHttp, "httptools"])
async def test_a_request_hidden_behind_another_is_never_served(server, http):
    """By what `watchword serve` listens with, and by what uvicorn takes by itself."""
    async with listening(server.app, http) as port:
        assert b"access_token" in await exchanged(port, HIDDEN), "alone it is a login"
        before = server.snapshot()
        got_in = {}
        for name, rest in SHAPES.items():
            answer = await exchanged(port, HEAD + rest + HIDDEN)
            if b"access_token" in answer:
                got_in[name] = answer[:200]
        assert got_in == {}
        assert server.snapshot() == before

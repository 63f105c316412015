"""The outbound client: bounded in time and size, one way only."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from watchword import fetch
from watchword.fetch import FetchError, document

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves raw bytes to each caller, in pieces with a pause between; returns the URL."""
    listeners: list[socket.socket] = []
    stop = threading.Event()

    def start(*pieces: bytes, pause: float = 0.0, seen: list[bytes] | None = None) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    request = peer.recv(65536)
                    if seen is not None:
                        seen.append(request)
                    try:
                        for piece in pieces:
                            peer.sendall(piece)
                            if stop.wait(pause):
                                break
                    except OSError:
                        continue

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/d"

    yield start
    stop.set()
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_an_object_is_returned(serve) -> None:
    seen: list[bytes] = []
    assert await document(serve(answer(b'{"a": 1}'), seen=seen), headers={"X-A": "b"}) == {"a": 1}
    assert b"x-a: b" in seen[0].lower() and b"accept-encoding: identity" in seen[0].lower()


@pytest.mark.parametrize(
    "response",
    [
        answer(b"{}", status="404 Not Found"),
        answer(b"{}", status="204 No Content"),
        answer(b"[]"),
        answer(b"null"),
        answer(b"{"),
        answer(b"\xff"),
        answer(b"[" * 100_000),
        answer(b'{"a": ' + b"9" * 100_000 + b"}"),
        answer(b'{"a": "' + b"x" * fetch.LARGEST + b'"}'),
        answer(gzip.compress(b'{"a": "' + b"x" * 10_000_000 + b'"}'), "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"not http at all\r\n\r\n",
        b"",
    ],
    ids=lambda response: repr(response[:16]) + str(len(response)),
)
async def test_anything_else_is_one_kind_of_error(serve, response) -> None:
    with pytest.raises(FetchError):
        await document(serve(response))


async def test_a_redirect_is_not_followed(serve) -> None:
    seen: list[bytes] = []
    target = serve(answer(b'{"internal": true}'), seen=seen)
    with pytest.raises(FetchError, match="302"):
        await document(serve(answer(b"", f"Location: {target}", status="302 Found")))
    assert seen == []


async def test_the_time_is_for_the_whole_answer_not_for_each_byte(serve, monkeypatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", 0.3)
    drip = [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", *[b" "] * 1000]
    with pytest.raises(FetchError, match="TimeoutError"):
        await document(serve(*drip, pause=0.02))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "ftp://a/b",
        "http://[",
        "http://127.0.0.1:1/x",
        "http://a b/",
        "http://\udcff/",
    ],
)
async def test_addresses_that_cannot_be(url) -> None:
    with pytest.raises(FetchError):
        await document(url)

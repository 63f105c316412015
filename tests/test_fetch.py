"""The outbound client: bounded in time and size, one way only."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_plus

import pytest
from answering import answering
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from watchword import fetch
from watchword.crypto.secrets import Secret
from watchword.fetch import FetchError, Line, document

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


# --- a server that is asked often ---

PLAIN = Secret("gs_se:cret ü%")


@pytest.fixture
async def line():
    made = Line("c orders", PLAIN)
    yield made
    await made.aclose()


async def test_a_client_says_who_it_is_and_stays_connected(line) -> None:
    async def answer(request):
        return (200 if request.method == "GET" else 201), {"ok": True}, {"X-A": "b"}

    async with answering(answer) as server:
        for _ in range(5):
            found = await line.get(
                f"{server.url}/d", {"after": 3, "wait": 0.5}, headers={"X-B": "c"}
            )
            assert (found.status, found.headers["x-a"], found.body) == (200, "b", b'{"ok": true}')
        assert (await line.post(f"{server.url}/i", {"token": "a b&c"})).status == 201
        assert server.connections == 1
    got, posted = server.asked[0], server.asked[-1]
    assert (got.method, got.path, got.query) == ("GET", "/d", "after=3&wait=0.5")
    assert got.headers["x-b"] == "c" and got.headers["accept-encoding"] == "identity"
    assert posted.body == b"token=a+b%26c"
    assert posted.headers["content-type"] == "application/x-www-form-urlencoded"
    for request in (got, posted):
        scheme, _, pair = request.headers["authorization"].partition(" ")
        assert scheme == "Basic"
        halves = base64.b64decode(pair).decode().split(":")
        assert [unquote_plus(half) for half in halves] == ["c orders", PLAIN.clear]


async def test_any_status_is_an_answer_and_no_redirect_is_followed(line) -> None:
    async def answer(request):
        return int(request.path[1:]), b"x", {"Location": "/200"}

    async with answering(answer) as server:
        for status in (206, 302, 401, 503):
            assert (await line.get(f"{server.url}/{status}", {})).status == status
        assert len(server.asked) == 4


@pytest.mark.attack("R-08")
async def test_what_is_too_large_or_packs_too_much_is_not_read(line) -> None:
    bodies = {
        "/large": (b"x" * 2000, {}),
        "/bomb": (gzip.compress(b"x" * 10_000_000), {"Content-Encoding": "gzip"}),
        "/cut": (gzip.compress(b"x" * 500)[:-9], {"Content-Encoding": "gzip"}),
        "/none": (b"x" * 500, {"Content-Encoding": "gzip"}),
    }

    async def answer(request):
        return (200, *bodies[request.path])

    async with answering(answer) as server:
        for path in bodies:
            with pytest.raises(FetchError):
                await line.get(server.url + path, {}, largest=1000, gzip=True)
        bodies["/fits"] = gzip.compress(b"x" * 1000), {"Content-Encoding": "gzip"}
        found = await line.get(f"{server.url}/fits", {}, largest=1000, gzip=True)
        assert found.body == b"x" * 1000
        assert server.asked[-1].headers["accept-encoding"] == "gzip"
        assert (await line.get(f"{server.url}/fits", {}, largest=1000)).body[:2] == b"\x1f\x8b"


@pytest.mark.attack("R-08")
async def test_a_bomb_is_not_unpacked_to_its_end(line) -> None:
    packed = gzip.compress(b"x" * 200_000_000, 9)

    async def answer(request):
        return 200, packed, {"Content-Encoding": "gzip"}

    async with answering(answer) as server:
        tracemalloc.start()
        with pytest.raises(FetchError):
            await line.get(server.url, {}, largest=1_000_000, gzip=True)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10_000_000


async def test_nothing_is_logged_and_no_error_tells_a_secret(line, caplog) -> None:
    caplog.set_level(logging.INFO)

    async def answer(request):
        return 200, {}

    async with answering(answer) as server:
        await line.get(f"{server.url}/d", {"a": 1})
        assert not caplog.records, "two lines a second would be"
        url = server.url
    caplog.set_level(logging.DEBUG)
    with pytest.raises(FetchError) as told:
        await line.get(f"{url}/d", {"a": 1})
    shown = f"{told.value} {told.value.__cause__!r} {line!r} {vars(line)} {caplog.text}"
    assert PLAIN.clear not in shown and "Basic" not in shown


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://a/b", "http://[", "http://127.0.0.1:1/x"])
async def test_addresses_that_cannot_be_asked(line, url) -> None:
    with pytest.raises(FetchError):
        await line.get(url, {})


async def test_who_hung_up_may_call_again_and_each_event_loop_has_its_own(line) -> None:
    async def answer(request):
        return 200, {}

    async with answering(answer) as server:
        await line.get(server.url, {})
        await line.aclose()
        await line.aclose()
        assert (await line.get(server.url, {})).status == 200
        assert server.connections == 2

        async def elsewhere() -> None:
            assert (await line.get(server.url, {})).status == 200
            await line.aclose()

        await asyncio.to_thread(asyncio.run, elsewhere())
        assert (await line.get(server.url, {})).status == 200
        assert server.connections == 3 and len(line._transports) == 1


def test_the_environments_proxy_is_asked(monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert fetch._proxy_for("https://login.example.com/x") == "http://proxy.example:3128"
    assert fetch._proxy_for("https://inside.example/x") is None


async def test_whoever_cannot_prove_its_name_is_not_asked(line, tmp_path) -> None:
    """A certificate that nobody vouches for: the secret is not sent."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=9000))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    both = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none) + made.public_bytes(pem)
    (tmp_path / "both.pem").write_bytes(both)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "both.pem")
    seen = []

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(read, "127.0.0.1", 0, ssl=tls)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises(FetchError, match="(?i)certificate"):
        await line.get(url, {})
    server.close()
    await server.wait_closed()
    assert not any(seen)

"""An issuer of somebody else's: real HTTP on loopback, and documents that a test may change."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from watchword.auth import parts
from watchword.crypto import jose
from watchword.crypto.jwk import SigningKey, new_private_key
from watchword.guard.following import Follower
from watchword.seams import Tail, Unavailable

NOW = 1_800_000_000.0


class Issuer:
    """Signs tokens, publishes its keys, counts who asks."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.keys = [self.new_key("k1")]
        self.extra: list[Any] = []
        self.metadata: dict[str, Any] = {}
        self.jwks: Any = None
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.asked: Counter[str] = Counter()

    @staticmethod
    def new_key(kid: str, alg: str = "ES256") -> SigningKey:
        return SigningKey(kid, alg, new_private_key(alg))

    def document(self, path: str) -> Any:
        if path == "/jwks":
            listed = [key.public().jwk for key in self.keys]
            return self.jwks if self.jwks is not None else {"keys": [*listed, *self.extra]}
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **self.metadata}
        return None

    def token(self, *, typ: str = "JWT", key: SigningKey | None = None, **claims: Any) -> str:
        content = {
            "iss": self.url,
            "sub": "u1",
            "aud": "orders",
            "azp": "web",
            "exp": int(NOW) + 600,
            "iat": int(NOW),
            **claims,
        }
        kept = {name: value for name, value in content.items() if value is not ...}
        return jose.sign(kept, key or self.keys[-1], typ)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked[self.path] += 1
            made.hold.wait(10)
            document = made.document(self.path)
            body = json.dumps(document).encode() if not isinstance(document, bytes) else document
            self.send_response(made.status if document is not None else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    made = Issuer(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Sends one request to an app in memory."""

    async def send(
        app: FastAPI, path: str, token: str | None = None, method: str = "GET", **more: Any
    ) -> httpx2.Response:
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        transport = httpx2.ASGITransport(
            app=app, client=("127.0.0.1", 50_000), raise_app_exceptions=False
        )
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000") as c:
            return await c.request(method, path, headers=headers, **more)

    return send


# --- a server whose guards follow its log as across a network ---


class Cable:
    """What lies between a guard and the log: cut, slow, or asked by somebody."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.cut = False
        self.polls = 0
        self.time = 1000.0  # the followers' monotonic clock

    async def tail(self, after: int, epoch: int) -> Tail:
        self.polls += 1
        if self.cut:
            raise Unavailable("the cable is cut")
        return await self.store.tail(after, epoch)

    def clock(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        """Nobody polls meanwhile: the process stood still."""
        self.time += seconds


@pytest.fixture
def following(build, monkeypatch) -> Callable[..., tuple[Any, Cable]]:
    """Builds servers as `build` does, and returns the cable as well."""

    def make(prepare: Any = None, **options: Any) -> tuple[Any, Cable]:
        cables: list[Cable] = []

        def follower(store: Any, *_: Any, **__: Any) -> Follower:
            cables.append(Cable(store))
            return Follower(cables[-1], max_stale=2.0, monotonic=cables[-1].clock)

        monkeypatch.setattr(parts, "_revocations", follower)
        server = build(prepare, **options)
        return server, cables[0]

    return make

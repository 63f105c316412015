"""The guard as a whole: alone beside a real server, and several issuers as one."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from watchword import AccessToken, Account, Guard
from watchword.errors import ConfigError
from watchword.guard import metadata
from watchword.store import sqlite

NOW = 1_800_000_000.0
API = "https://api.example.com/orders"


def app_of(guard: Guard) -> FastAPI:
    app = FastAPI()
    guard.init_app(app)

    @app.get("/items", dependencies=[guard.require("items")])
    def items() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/me")
    async def me(user: Annotated[Account, guard.current_user()]) -> dict[str, Any]:
        return {"sub": user.sub, "username": user.username}

    @app.get("/token")
    async def token(token: Annotated[AccessToken, guard.token()]) -> dict[str, str]:
        return {"iss": token.issuer}

    return app


# --- alone, beside a server in a process of its own ---

ISSUER = """
import json, sys
import uvicorn
from fastapi import FastAPI
from watchword import Auth
from watchword.rules.scopes import Scopes
from watchword.seams import Account, StoredUser

told = json.loads(sys.stdin.readline())
app, asked = FastAPI(), []
auth = Auth(app, **told)

@app.middleware("http")
async def count(request, call_next):
    asked.append(request.url.path)
    return await call_next(request)

@app.get("/asked")
async def counted() -> list[str]:
    return asked

@app.post("/prepare")
async def prepare() -> None:
    account = Account(sub="u_1", username="johndoe", scopes=Scopes(["items"]), created_at=auth.now())
    await auth.store.add_user(StoredUser(account, await auth.passwords.hash("secret")))

@app.post("/rotate")
async def rotate() -> None:
    await auth.signing.rotate(auth.settings.access_token_alg, at_once=True)

port = int(told["issuer"].rsplit(":", 1)[1])
server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
server.run()
"""


@contextmanager
def running(url: str, directory: Any) -> Iterator[httpx2.Client]:
    """A Watchword server over the database of this directory, until the block ends."""
    options = {
        "env": "development", "issuer": url, "secret": "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A",
        "resource": API, "database_url": f"sqlite:///{directory}/issuer.db", "audit_routes": "off",
        "scopes": {"items": "See your items"}, "hash_memory_kib": 64, "hash_passes": 1,
    }  # fmt: skip
    with (
        subprocess.Popen(
            [sys.executable, "-c", ISSUER], stdin=subprocess.PIPE, text=True
        ) as server,
        httpx2.Client(base_url=url) as http,
    ):
        try:
            assert server.stdin is not None
            server.stdin.write(json.dumps(options) + "\n")
            server.stdin.flush()
            while True:
                assert server.poll() is None
                try:
                    http.get("/asked")
                    break
                except httpx2.TransportError:
                    time.sleep(0.05)
            yield http
        finally:
            server.kill()


def login(http: httpx2.Client) -> str:
    answer = http.post("/token", data={"username": "johndoe", "password": "secret"})
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def key_sets(http: httpx2.Client) -> int:
    return sum("jwks" in path for path in http.get("/asked").json())


async def test_beside_a_real_server(ask, tmp_path) -> None:
    """One fetch of keys, a rotation that is noticed, an outage that is no 401."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
    ahead = 0.0
    guard = Guard(issuer=url, audience=API, now=lambda: time.time() + ahead)
    app = app_of(guard)
    with running(url, tmp_path) as http:
        http.post("/prepare")
        token = login(http)
        answers = await asyncio.gather(*(ask(app, "/items", token) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await ask(app, "/me", token)).json()["sub"] == "u_1"
        assert key_sets(http) == 1
        ahead = 31
        http.post("/rotate").raise_for_status()
        newer = login(http)
        assert newer.split(".")[0] != token.split(".")[0]
        for _ in range(3):
            assert (await ask(app, "/items", newer)).status_code == 200
        assert key_sets(http) == 2
    assert (await ask(app, "/items", newer)).status_code == 200, "known keys outlive an outage"
    late = app_of(Guard(issuer=url, audience=API, now=lambda: time.time() + ahead))
    away = await ask(late, "/items", newer)
    assert away.status_code == 503 and int(away.headers["retry-after"]) > 0
    assert "www-authenticate" not in away.headers
    ahead += 5
    with running(url, tmp_path):
        assert (await ask(late, "/items", newer)).status_code == 200


# --- building one ---


@pytest.mark.parametrize(
    "given",
    [{"issuer": ""}, {"issuer": "https://a.example"}, {"issuer": "", "audience": "orders"}],
)
def test_without_issuer_or_audience_there_is_no_guard(given) -> None:
    with pytest.raises(ConfigError, match="issuer and an audience"):
        Guard(**given)


async def test_resource_is_another_name_for_the_audience(issuer, ask) -> None:
    app = app_of(Guard(issuer=issuer.url, resource="orders", now=lambda: NOW))
    good = issuer.token(scope="items")
    assert (await ask(app, "/items", good)).status_code == 200
    other = issuer.token(scope="items", aud="billing")
    assert (await ask(app, "/items", other)).status_code == 401


async def test_an_app_factory_and_a_client_without_lifespan(issuer) -> None:
    """Module level here, `init_app` later, routers in between; nothing has to be started."""
    guard = Guard(issuer=issuer.url, audience="orders", scopes={"items": "x"}, now=lambda: NOW)
    router = APIRouter(prefix="/v1", dependencies=[guard.require("items")])

    @router.get("/x")
    def x() -> dict[str, bool]:
        return {"ok": True}

    @router.get("/open", dependencies=[guard.public])
    def still_guarded() -> None: ...

    def create_app() -> FastAPI:
        app = FastAPI()
        guard.init_app(app)
        app.include_router(router)
        return app

    for _ in range(2):
        client = TestClient(create_app())
        header = {"Authorization": f"Bearer {issuer.token(scope='items')}"}
        assert client.get("/v1/x", headers=header).json() == {"ok": True}
        assert client.get("/v1/x").status_code == 401
        assert client.get("/v1/open").status_code == 401, "public undoes no guard of its router"
        assert client.get(metadata.WELL_KNOWN).json()["scopes_supported"] == ["items"]


@pytest.mark.parametrize(
    ("audience", "path", "url"),
    [
        ("orders", "", None),
        ("https://api.example.com", "", "https://api.example.com{}"),
        ("https://api.example.com/", "", "https://api.example.com{}"),
        ("https://api.example.com/v1/", "/v1", "https://api.example.com{}/v1"),
        ("api://orders/v1", "/v1", None),
    ],
)
async def test_the_resource_describes_itself(ask, audience, path, url) -> None:
    app = app_of(Guard(issuer="https://login.example.com", audience=audience))
    answer = await ask(app, metadata.WELL_KNOWN + path)
    document = answer.json()
    assert document["resource"] == audience
    assert document["authorization_servers"] == ["https://login.example.com"]
    assert answer.headers["access-control-allow-origin"] == "*"
    challenge = (await ask(app, "/items")).headers["www-authenticate"]
    if url is None:
        assert "resource_metadata" not in challenge
    else:
        assert f'resource_metadata="{url.format(metadata.WELL_KNOWN)}"' in challenge


# --- several issuers ---


async def test_any_of_them_opens_and_nobody_else(issuer, server, ask) -> None:
    foreign = Guard(issuer=issuer.url, audience="orders", scopes={"x": "y"}, now=lambda: NOW)
    both = Guard.any_of(server.auth, foreign)
    app = app_of(both)
    own = (await server.login())["access_token"]
    assert (await ask(app, "/token", own)).json() == {"iss": "http://localhost:8000"}
    assert (await ask(app, "/me", own)).json() == {"sub": "u_johndoe", "username": "johndoe"}
    other = issuer.token(scope="items", preferred_username="ada")
    assert (await ask(app, "/token", other)).json() == {"iss": issuer.url}
    assert (await ask(app, "/me", other)).json() == {"sub": "u1", "username": "ada"}
    for bad in (
        issuer.token(iss="https://nobody.example"),
        issuer.token(iss="http://localhost:8000", aud="http://localhost:8000"),
        issuer.token(iss=...),
        issuer.token(iss=["http://localhost:8000"]),
        issuer.token(aud="http://localhost:8000"),
        "x.y.z",
        "x",
    ):
        assert (await ask(app, "/token", bad)).status_code == 401, bad
    document = (await ask(app, metadata.WELL_KNOWN)).json()
    assert document["authorization_servers"] == ["http://localhost:8000", issuer.url]
    assert set(document["scopes_supported"]) == {"me", "items", "x"}
    assert both.parts == (server.auth, foreign)
    assert Guard.any_of(both, foreign).parts == (server.auth, foreign, foreign)
    with pytest.raises(ConfigError, match="Unknown scope"):
        both.require("itmes")


async def test_one_issuer_twice_means_either_audience(issuer, ask) -> None:
    one, two = (
        Guard(issuer=issuer.url, audience=name, now=lambda: NOW) for name in ("orders", "billing")
    )
    app = app_of(Guard.any_of(one, two))
    for audience, status in (("orders", 200), ("billing", 200), ("other", 401)):
        assert (await ask(app, "/token", issuer.token(aud=audience))).status_code == status


async def test_an_issuer_that_is_away_stops_its_own_tokens_only(issuer, server, ask) -> None:
    issuer.status = 500
    app = app_of(
        Guard.any_of(server.auth, Guard(issuer=issuer.url, audience="orders", now=lambda: NOW))
    )
    assert (await ask(app, "/token", issuer.token())).status_code == 503
    own = (await server.login())["access_token"]
    assert (await ask(app, "/token", own)).status_code == 200


def test_any_of_nobody_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Guard.any_of()


async def test_what_one_guard_found_another_does_not_believe(issuer, build) -> None:
    """Two guards on one route: each verifies for itself, nothing is shared by the request."""
    foreign = Guard(issuer=issuer.url, audience="orders", now=lambda: NOW)

    def prepare(app, auth) -> None:
        @app.get("/both", dependencies=[auth.require(), foreign.require()])
        async def both() -> None: ...

        @app.get("/taken", dependencies=[foreign.require()])
        async def taken(token: Annotated[AccessToken, auth.token()]) -> None: ...

    made = build(prepare)
    await made.auth.start()
    await made.add_user("johndoe")
    own = (await made.login())["access_token"]
    for path in ("/both", "/taken"):
        for token in (own, issuer.token()):
            assert (await made.get(path, token)).status_code == 401


# --- what it costs ---


def test_it_loads_no_server() -> None:
    heavy = ("sqlalchemy", "alembic", "argon2", "sqlite3", "jinja2", "httpx2", "click")
    code = (
        "import sys\nfrom watchword import Guard\n"
        "Guard(issuer='https://login.example.com', audience='x').require()\n"
        f"print(*[name for name in {heavy} if name in sys.modules])\n"
        "print(*[name for name in sys.modules if name.startswith(('watchword.store',"
        " 'watchword.auth', 'watchword.endpoints', 'watchword.exchanges'))])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []


@pytest.mark.sqlite
async def test_a_warm_guard_asks_the_database_nothing(build, tmp_path, monkeypatch) -> None:
    """No SELECT on the way to a guarded route; SQLite's own version at most twice a second."""
    made = build(database_url=f"sqlite:///{tmp_path}/one.db")
    await made.auth.start()
    await made.add_user("johndoe")
    token = (await made.login())["access_token"]
    assert (await made.get("/guarded", token)).status_code == 200
    said: list[str] = []
    driver = made.auth.driver
    driver.connection.set_trace_callback(said.append)
    monkeypatch.setattr(sqlite, "POLL_EVERY", 3600.0)
    driver._poll_at = time.monotonic() + 3600
    for _ in range(10):
        assert (await made.get("/guarded", token)).status_code == 200
    assert said == []
    driver._poll_at = 0.0  # the login's own commit is news to this poll, and to none after it
    assert (await made.get("/guarded", token)).status_code == 200
    said.clear()
    driver._poll_at = 0.0
    for _ in range(10):
        assert (await made.get("/guarded", token)).status_code == 200
    assert said == ["PRAGMA data_version"]
    driver.connection.set_trace_callback(None)
    await made.post("/revoke", {"token": token})
    assert (await made.get("/guarded", token)).status_code == 401

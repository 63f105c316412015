"""Row B-01: every route there is, for everyone there is; and no other way to the same route.

The rows come from the app's own tables. A route that is not in the table below fails,
so that whoever adds one says who may use it.
"""

import itertools
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.routing import Route

from watchword import Account, Auth
from watchword.crypto import jose
from watchword.endpoints.routing import Endpoints
from watchword.errors import ConfigError
from watchword.guard import audit, decisions, tickets, verifier
from watchword.guard.revocations import Revocations
from watchword.limits import Limits
from watchword.rules.needs import Need

# Who: nobody, a person with all scopes, one whose token has another scope, a client.
OPEN = (200, 200, 200, 200)
FORM = (415, 415, 415, 415)  # no form, no credentials: nobody gets further than this
ME = (401, 200, 403, 403)  # of a person, not of a client
SECRET = (401, 401, 401, 401)  # of a client that shows its secret; a token is none

MATRIX: dict[str, tuple[int, int, int, int]] = {
    "POST /auth/token": FORM,
    "POST /auth/revoke": FORM,
    "POST /auth/introspect": FORM,
    "GET /auth/revocations": SECRET,
    "POST /auth/ticket": (401, 200, 200, 200),  # for the token that asks
    "GET /auth/health/live": OPEN,
    "GET /auth/health/ready": OPEN,
    "POST /token": FORM,
    "POST /revoke": FORM,
    "POST /introspect": FORM,
    "POST /refresh-token": (415, 400, 400, 400),  # an access token is no refresh token
    "POST /revoke-token": (401, 200, 200, 200),  # each ends its own
    "GET /users/me": ME,
    "GET /users/me/": ME,
    "GET /.well-known/jwks.json": OPEN,
    "GET /.well-known/openid-configuration": OPEN,
    "GET /.well-known/oauth-authorization-server": OPEN,
    "GET /.well-known/oauth-protected-resource": OPEN,
    "GET /docs": OPEN,
    "GET /docs/oauth2-redirect": OPEN,
    "GET /redoc": OPEN,
    "GET /openapi.json": OPEN,
    "GET /auth/static/swagger-ui-bundle.js": OPEN,
    "GET /auth/static/swagger-ui.css": OPEN,
    "GET /auth/static/favicon-32x32.png": OPEN,
    "GET /open": OPEN,
    "GET /guarded": (401, 200, 403, 200),
    "GET /users/me/items": (401, 200, 200, 403),
    "GET /token-claims": (401, 200, 200, 200),
    "GET /v1/things/1": (401, 200, 403, 200),
    "POST /v1/things/1": ME,
    "DELETE /v1/things/1": (401, 401, 403, 401),  # asks for a second factor that nobody has
    "GET /sub/report": (401, 200, 403, 200),
}
RAN: list[str] = []


def prepare(app: FastAPI, auth: Auth) -> None:
    RAN.clear()
    router = APIRouter(prefix="/things", dependencies=[auth.require("me")])

    @router.get("/{number}")
    async def read(number: int) -> None:
        RAN.append("read")

    @router.post("/{number}")
    async def write(number: int, user: Annotated[Account, auth.current_user("items")]) -> None:
        RAN.append("write")

    @router.delete("/{number}", dependencies=[auth.require(acr="mfa")])
    async def remove(number: int) -> None:
        RAN.append("remove")

    app.include_router(router, prefix="/v1")
    sub = FastAPI(openapi_url=None)

    @sub.get("/report", dependencies=[auth.require("me")])
    async def report() -> None:
        RAN.append("report")

    app.mount("/sub", sub)


@pytest.fixture
async def house(build):
    made = build(prepare, docs=True)
    await made.auth.start()
    await made.add_user("johndoe")
    made.job = await made.add_client("job", scopes="me items")
    return made


def table(app: FastAPI) -> list[str]:
    """Every method and path that this app answers."""
    own = next(route for route in app.router.routes if isinstance(route, Endpoints)).table
    found = [f"{method} {path}" for path, methods in own.items() for method in methods]
    found += [f"{row.method} {row.path}" for row in audit.routes(app)]
    plain = [route for route in app.router.routes if type(route) is Route]
    found += [f"{m} {route.path}" for route in plain for m in route.methods or () if m != "HEAD"]
    return list(dict.fromkeys(name.replace("{number}", "1") for name in found))


async def everybody(server) -> list[str | None]:
    client_id, secret = server.job
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    job = (await server.post("/token", form)).json()["access_token"]
    person = await server.login()
    narrow = await server.login(scope="items")
    return [None, person["access_token"], narrow["access_token"], job]


async def ask(server, name: str, token: str | None, **more: Any):
    method, path = name.split(" ")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return await server.http.request(method, path, headers=headers, **more)


@pytest.mark.attack("B-01")
async def test_no_route_is_missing_from_the_table(house) -> None:
    assert set(table(house.app)) == set(MATRIX)


@pytest.mark.attack("B-01")
async def test_everyone_at_every_route(house) -> None:
    who = await everybody(house)
    for name, expected in MATRIX.items():
        if name == "POST /revoke-token":
            continue
        answers = [await ask(house, name, token) for token in who]
        assert tuple(answer.status_code for answer in answers) == expected, name
        for answer in answers:
            if answer.status_code in (401, 403):
                scheme = "Basic" if expected is SECRET else "Bearer"
                assert answer.headers["www-authenticate"].startswith(scheme), name
    answers = [await ask(house, "POST /revoke-token", token) for token in who]
    assert tuple(answer.status_code for answer in answers) == MATRIX["POST /revoke-token"]
    for token in who[1:]:
        assert (await house.get("/token-claims", token)).status_code == 401


@pytest.mark.attack("B-01")
async def test_other_methods_are_no_other_way_in(house) -> None:
    paths = {name.split(" ")[1] for name in MATRIX}
    for token in (await everybody(house))[:2]:
        for path in paths:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"):
                if f"{method} {path}" in MATRIX:
                    continue
                answer = await ask(house, f"{method} {path}", token)
                assert answer.status_code == 405, (method, path)
    for name in MATRIX:
        if name.startswith("GET"):
            answer = await ask(house, name.replace("GET", "HEAD"), None)
            assert answer.status_code in (MATRIX[name][0], 405), name
            assert answer.content == b""


@pytest.mark.attack("B-01")
async def test_without_the_tutorials_paths_and_pages_there_is_less_and_nothing_besides(
    build,
) -> None:
    bare = build(
        issuer="https://id.example.com",
        env="production",
        password_login="off",
        first_party_paths=False,
    )
    there = set(table(bare.app))
    gone = set(MATRIX) - there
    # What FastAPI's own pages show is the app's affair; of the server's there are none.
    assert there <= set(MATRIX)
    assert gone >= {
        "POST /token", "POST /refresh-token", "POST /revoke-token", "POST /revoke",
        "POST /introspect", "GET /users/me", "GET /users/me/",
        "GET /auth/static/swagger-ui-bundle.js", "GET /auth/static/swagger-ui.css",
    }  # fmt: skip


# --- W-11, W-10: spelled otherwise ---

TWINS = [
    "//{}", "/{}/", "/{}//", "/./{}", "/x/../{}", "/open/../{}", "/open/..;/{}", "/{};x=1", "/{}.",
    "/{}%00", "/{}%2f", "/%2f{}", "/{}%20", "/{}?access=1", "/{}#x", "/\\{}", "/{}.json", "/{}%3f",
    "/sub/../{}", "/sub/%2e%2e/{}", "/sub//{}", "/auth/../{}", "/docs/../{}", "/{}%0d%0a", "{}",
]  # fmt: skip
GUARDED = ("/guarded", "/v1/things/1", "/sub/report", "/users/me")
HOSTS = (
    b"",
    b"a/b?x",
    b"localhost:8000/open?",
    b"u:p@localhost",
    b"[::1",
    b"x y",
    b"\xff",
    b"a:b:c",
)


async def raw(app: FastAPI, path: str, *, host: bytes = b"localhost:8000", **more: Any) -> int:
    """The status of a request as bytes on a wire could spell it; redirects are followed."""
    from urllib.parse import unquote, urlsplit

    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    target, _, query = path.partition("?")
    scope = {
        "type": "http", "method": "GET", "path": unquote(target), "raw_path": target.encode(),
        "query_string": query.encode(), "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(b"host", host)], "client": ("127.0.0.1", 1), "server": ("localhost", 8000),
        **more,
    }  # fmt: skip
    await app(scope, receive, send)
    status = sent[0]["status"]
    if status in (307, 308):
        location = dict(sent[0]["headers"])[b"location"].decode()
        assert urlsplit(location).path != target
        return await raw(app, urlsplit(location).path)
    return status


@pytest.mark.attack("W-11")
async def test_no_spelling_of_a_path_is_an_unguarded_twin(house) -> None:
    paths = ("guarded", "Guarded", "%67uarded", "v1/things/1", "sub/report", "users/me")
    for twin, path in itertools.product(TWINS, paths):
        assert await raw(house.app, twin.format(path)) in (401, 404), (twin, path)
    assert RAN == []


@pytest.mark.attack("W-11")
async def test_a_root_path_moves_the_guards_with_the_routes(house) -> None:
    for root, path in itertools.product(("/api", "/guarded", "/v1", "//"), GUARDED):
        assert await raw(house.app, root + path, root_path=root) == 401
        assert await raw(house.app, path, root_path=root) in (401, 404)
    assert RAN == []


@pytest.mark.attack("W-10", "W-11")
async def test_the_host_decides_nothing(house) -> None:
    for host in HOSTS:
        for path in GUARDED:
            assert await raw(house.app, path, host=host) == 401, (host, path)
        two = [(b"host", b"localhost:8000"), (b"host", host)]
        assert await raw(house.app, "/guarded", headers=two) == 401, host
    assert RAN == []


@pytest.mark.attack("W-09")
async def test_a_foreign_origin_learns_nothing_from_a_guarded_route(house) -> None:
    """The guard adds no CORS of its own: refusals of a route are as unreadable as the route."""
    for origin in ("https://evil.example", "null"):
        answer = await house.get("/guarded", headers={"Origin": origin})
        assert answer.status_code == 401
        assert not [name for name in answer.headers if name.startswith("access-control-allow")]


# --- Z-34: the security path itself fails ---


async def _broken(*_: object, **__: object) -> Any:
    raise ZeroDivisionError


def _broken_now(*_: object, **__: object) -> Any:
    raise ZeroDivisionError


FAULTS = {
    "finding the token": (tickets, "token_of", _broken_now),
    "remembering it": (decisions.Decisions, "token_of", _broken),
    "verifying it": (decisions.Decisions, "still_good", _broken),
    "being ready": (decisions.Decisions, "ready", _broken),
    "the signature": (jose, "verify", _broken_now),
    "the claims": (verifier, "judged", _broken_now),
    "the log": (Revocations, "catch_up", _broken_now),
    "the scopes": (Need, "judge", _broken_now),
}


@pytest.mark.attack("Z-34")
@pytest.mark.parametrize("where", FAULTS)
async def test_a_fault_refuses_and_never_serves(house, monkeypatch, where) -> None:
    _, person, narrow, job = await everybody(house)
    place, name, fault = FAULTS[where]
    if place is Revocations:
        place = type(house.auth.revocations)  # across a network another one
    monkeypatch.setattr(place, name, fault)
    for token in (person, narrow, job):
        for name in ("GET /guarded", "GET /v1/things/1", "POST /v1/things/1", "GET /sub/report"):
            with pytest.raises(ZeroDivisionError):  # the server above makes a plain 500 of it
                await ask(house, name, token)
    assert RAN == []


@pytest.mark.attack("Z-34")
async def test_a_fault_in_the_words_of_a_refusal_refuses_as_well(house, monkeypatch) -> None:
    monkeypatch.setattr(decisions, "challenge", _broken_now)
    for name in ("GET /guarded", "GET /v1/things/1", "POST /v1/things/1", "GET /users/me"):
        with pytest.raises(ZeroDivisionError):
            await ask(house, name, None)
    assert RAN == []


@pytest.mark.attack("Z-34")
async def test_a_revoked_token_that_cannot_be_compared_is_refused(house, monkeypatch) -> None:
    _, person, *_ = await everybody(house)
    other = (await house.login())["access_token"]
    await house.post("/revoke", {"token": other})
    monkeypatch.setattr(Revocations, "refuse", _broken_now)
    with pytest.raises(ZeroDivisionError):
        await house.get("/v1/things/1", person)
    assert RAN == []


@pytest.mark.attack("Z-34")
async def test_a_limiter_that_fails_lets_nobody_sign_in(house, monkeypatch) -> None:
    monkeypatch.setattr(Limits, "spend", _broken_now)
    with house.unchanged(), pytest.raises(ZeroDivisionError):
        await house.post("/token", {"username": "johndoe", "password": "secret"})


@pytest.mark.attack("Z-34")
@pytest.mark.parametrize("fault", [ZeroDivisionError, ConfigError])
async def test_an_audit_that_fails_serves_nothing(build, monkeypatch, fault) -> None:
    def broken(*_: object) -> None:
        raise fault("no")

    made = build(prepare)
    monkeypatch.setattr(audit, "routes", broken)
    for path in ("/guarded", "/v1/things/1", "/users/me", "/.well-known/jwks.json"):
        with pytest.raises(fault):
            await made.get(path, "x.y.z")
    assert RAN == []


async def test_sockets_are_in_the_table_too(build) -> None:
    def with_socket(app: FastAPI, auth: Auth) -> None:
        @app.websocket("/ws")
        async def ws(socket: WebSocket) -> None: ...

    assert "WS /ws" in table(build(with_socket).app)

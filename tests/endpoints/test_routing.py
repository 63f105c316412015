"""One table of exact paths: verbs, CORS, the paths an app keeps, faults of the store."""

import httpx2
import pytest
from fastapi import APIRouter, FastAPI

ORIGIN = "https://app.example.com"
EVIL = [
    "https://evil.example.com", "null", "https://app.example.com.evil.com", "http://app.example.com",
    "https://sub.app.example.com", "https://app.example.com:8443", "HTTPS://APP.EXAMPLE.COM", "*", "",
]  # fmt: skip
LOGIN = {"username": "johndoe", "password": "secret"}


@pytest.mark.attack("W-09")
@pytest.mark.parametrize(
    "path", ["/token", "/refresh-token", "/revoke", "/revoke-token", "/auth/token"]
)
async def test_pages_of_registered_origins_may_read_the_answers(build, path):
    server = build(browser_origins=f"{ORIGIN} http://localhost:5173")
    await server.auth.start()
    for origin in (ORIGIN, "http://localhost:5173"):
        answer = await server.post(path, {"token": "x"}, headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in answer.headers
        assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-odd, authorization",
        }
        before = await server.http.options(path, headers=asked)
        assert before.status_code == 204
        assert before.headers["access-control-allow-origin"] == origin
        assert before.headers["access-control-allow-methods"] == "POST"
        assert before.headers["access-control-allow-headers"] == "Authorization, Content-Type"
    for origin in EVIL:
        for answer in (
            await server.post(path, {"token": "x"}, headers={"Origin": origin}),
            await server.http.options(path, headers={"Origin": origin}),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["vary"] == "Origin", "a cache must not mix them up"


@pytest.mark.attack("W-09")
async def test_without_origins_there_is_no_cors(server):
    answer = await server.post("/token", LOGIN, headers={"Origin": ORIGIN})
    assert answer.is_success
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "vary" not in answer.headers
    assert (await server.http.options("/token", headers={"Origin": ORIGIN})).status_code == 405


@pytest.mark.attack("W-09")
async def test_introspection_is_never_for_pages(build):
    server = build(browser_origins=ORIGIN)
    answer = await server.post("/introspect", {"token": "x"}, headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.attack("W-10")
@pytest.mark.parametrize(
    "host", ["a/b?token=x", "[", "[::1", "user@evil.com", "", "evil.com#", "\u00e9"]
)
async def test_a_malformed_host_changes_nothing(server, host):
    headers = [(b"host", host.encode("latin-1"))]
    assert (await server.http.post("/token", data=LOGIN, headers=headers)).status_code in (200, 400)
    document = await server.http.get("/.well-known/openid-configuration", headers=headers)
    assert document.json()["issuer"] == "http://localhost:8000"
    assert (await server.http.get("/guarded", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "path", ["/.well-known/jwks.json", "/.well-known/openid-configuration", "/users/me"]
)
async def test_documents_are_read_and_not_written(server, path):
    for verb in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = await server.http.request(verb, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    head = await server.http.head(path)
    assert head.status_code == (await server.get(path)).status_code


@pytest.mark.attack("L-15")
async def test_a_slash_at_the_end_is_the_same_endpoint_and_the_same_bucket(build):
    """A redirect, as Starlette would answer, makes many clients drop a body or credentials."""
    server = build(limit_token="6 + 1/h", limit_login_ip="off", limit_login_account_ip="off")
    await server.auth.start()
    await server.add_user("johndoe")
    tokens = (await server.post("/token/", LOGIN)).json()
    tokens = (await server.post("/auth/token//", LOGIN)).json()
    refreshed = await server.post("/refresh-token/", {"refresh_token": tokens["refresh_token"]})
    bearer = {"Authorization": f"Bearer {refreshed.json()['access_token']}"}
    assert (await server.post("/revoke-token/", headers=bearer)).is_success
    statuses = [
        (await server.post(path, LOGIN)).status_code
        for path in ("/token/", "/token", "/auth/token/") * 30
    ]
    first = statuses.index(429)
    assert set(statuses[first:]) == {429}, "whatever the spelling, one bucket"
    assert (await server.get("/.well-known/jwks.json/")).is_success


async def test_an_app_keeps_its_own_route_behind_a_slash(build):
    def prepare(app, auth) -> None:
        tokens = APIRouter(prefix="/token", dependencies=[auth.public])

        @tokens.get("/")
        async def list_tokens() -> str:
            return "the app's"

        app.include_router(tokens)

    server = build(prepare)
    assert (await server.get("/token/")).json() == "the app's"
    assert (await server.get("/token")).status_code == 405


async def test_mounted_below_another_app(server):
    outer = FastAPI()
    outer.mount("/api", server.app)
    transport = httpx2.ASGITransport(app=outer)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000") as http:
        tokens = (await http.post("/api/token", data=LOGIN)).json()
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await http.get("/api/users/me", headers=bearer)).is_success
        assert (await http.post("/token", data=LOGIN)).status_code == 404
        assert (await http.get("/api/guarded")).status_code == 401


async def test_an_app_keeps_its_own_users_me(build):
    def prepare(app, auth) -> None:
        @app.get("/users/me", dependencies=[auth.public])
        async def mine() -> str:
            return "the app's"

    server = build(prepare)
    assert (await server.get("/users/me")).json() == "the app's"


async def test_without_the_tutorials_paths(build):
    server = build(first_party_paths=False)
    await server.auth.start()
    await server.add_user("johndoe")
    for path in ("/token", "/refresh-token", "/revoke-token", "/revoke", "/introspect"):
        assert (await server.post(path, LOGIN)).status_code == 404
    assert (await server.get("/users/me")).status_code == 404
    assert (await server.post("/auth/token", LOGIN)).is_success


async def test_a_store_that_is_away_is_503_and_nothing_happened(
    build, kept_url, refused, monkeypatch
):
    from watchword.seams import Unavailable

    server = build(database_url=kept_url)
    await server.auth.start()
    await server.add_user("johndoe")
    tokens = await server.login()

    async def away(*args, **more):
        raise Unavailable("disk full")

    monkeypatch.setattr(server.auth.driver, "write", away)
    with server.unchanged():
        for answer in (
            await server.post("/token", LOGIN),
            await server.refresh(tokens["refresh_token"]),
            await server.post("/revoke", {"token": tokens["refresh_token"]}),
            await server.http.post(
                "/revoke-token", headers={"Authorization": f"Bearer {tokens['access_token']}"}
            ),
        ):
            refused(answer, 503, "temporarily_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert "disk" not in answer.text
    assert (await server.get("/guarded", tokens["access_token"])).is_success
    monkeypatch.undo()
    assert (await server.refresh(tokens["refresh_token"])).is_success

"""Auth as an app meets it: made in a module, mounted in a factory, started by the first request."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from watchword import Account, Auth, ClaimsContext, Deny
from watchword.errors import ConfigError
from watchword.events import Event

SECRET = "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A"
auth = Auth(
    env="development",
    issuer="http://localhost:8000",
    secret=SECRET,
    database_url="sqlite:///:memory:",
    scopes={"me": "See who you are"},
    audit_routes="deny",
)


def create_app() -> FastAPI:
    app = FastAPI()

    @app.get("/me")
    async def me(user: Annotated[Account, auth.current_user("me")]) -> dict[str, str]:
        return {"username": user.username}

    auth.init_app(app)
    return app


def test_an_app_factory_and_a_client_without_a_lifespan() -> None:
    client = TestClient(create_app(), base_url="http://localhost:8000")
    assert client.get("/me").status_code == 401
    assert (
        client.get("/.well-known/openid-configuration").json()["issuer"] == "http://localhost:8000"
    )
    assert client.get("/me", headers={"Authorization": "Bearer x.y.z"}).status_code == 401
    assert client.post("/token", data={"username": "nobody", "password": "x"}).status_code == 401
    auth.close()


def test_the_lifespan_of_the_app_runs_inside_ours() -> None:
    from contextlib import asynccontextmanager

    ran: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        ran.append("started" if own._started else "too early")
        yield {"state": 1}
        ran.append("stopped")

    app = FastAPI(lifespan=lifespan)
    own = Auth(
        app,
        env="development",
        issuer="http://localhost:8000",
        secret=SECRET,
        database_url="sqlite:///:memory:",
    )
    with TestClient(app, base_url="http://localhost:8000") as client:
        assert client.get("/.well-known/jwks.json").status_code == 200
    assert ran == ["started", "stopped"]


async def test_claims_with_dependencies_and_a_lifetime_of_their_own(build) -> None:
    closed: list[str] = []

    async def team():
        yield "red"
        closed.append("team")

    server = build()

    @server.auth.claims
    async def add(context: ClaimsContext, name: Annotated[str, Depends(team)]) -> dict[str, Any]:
        return {"team": name, "login": context.account.username if context.account else None}

    @server.auth.claims
    def more(context: ClaimsContext) -> dict[str, Any]:
        return {"grant": context.grant_type}

    await server.auth.start()
    await server.add_user("johndoe")
    token = (await server.login())["access_token"]
    claims = (await server.get("/token-claims", token)).json()
    assert (claims["team"], claims["login"], claims["grant"]) == ("red", "johndoe", "password")
    assert closed == ["team"]


@pytest.mark.parametrize("name", ["sub", "scope", "aud", "exp", "rev", "roles", "client_id"])
async def test_a_reserved_claim_is_an_error_and_no_token(build, name) -> None:
    server = build()

    @server.auth.claims
    def replace(context: ClaimsContext) -> dict[str, Any]:
        return {name: "admin"}

    await server.auth.start()
    await server.add_user("johndoe")
    with pytest.raises(ConfigError, match=name):
        await server.login()


async def test_a_hook_without_a_parameter_of_ours_is_refused_where_it_stands(build) -> None:
    server = build()
    for decorate in (server.auth.before("login"), server.auth.claims):
        with pytest.raises(ConfigError, match="needs one parameter"):

            @decorate
            async def weekdays(context: Any) -> None: ...


async def test_a_hook_that_denies_opens_nothing(build) -> None:
    from watchword.seams import LoginContext

    server = build()

    @server.auth.before("login")
    def closed(context: LoginContext) -> None:
        if context.account.username == "johndoe":
            raise Deny("closed", "The shop is closed.")

    await server.auth.start()
    await server.add_user("johndoe")
    await server.add_user("ada")
    before = server.snapshot()
    answer = await server.post("/token", {"username": "johndoe", "password": "secret"})
    assert answer.status_code == 401 and answer.json()["error_description"] == "The shop is closed."
    assert server.snapshot() == before
    assert [event.reason for event in server.told("login.failed")] == ["closed"]
    await server.login("ada")


@pytest.mark.sqlite
async def test_listeners_of_both_colours_hear_of_a_revocation(build, caplog) -> None:
    server, heard = build(database_url="sqlite:///:memory:"), []

    @server.auth.after("token.revoked")
    def at_once(event: Event) -> None:
        heard.append(f"sync {event.kind}")
        raise ValueError("a listener's own fault")

    @server.auth.after("token.revoked", "login.succeeded")
    async def later(event: Event) -> None:
        await asyncio.sleep(0)
        heard.append(f"async {event.kind}")
        if event.kind == "token.revoked":
            raise ValueError("another fault")

    await server.auth.start()
    await server.add_user("johndoe")
    token = (await server.login())["access_token"]
    answer = await server.http.post("/revoke-token", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert heard[0] == "async login.succeeded"  # in memory: told when the answer is there
    assert sorted(heard[1:]) == ["async token.revoked", "sync token.revoked"]
    assert caplog.text.count("failed on token.revoked") == 2


def test_names_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="before"):
        auth.before("logout")
    with pytest.raises(ConfigError, match=r"token\.revoekd") as refused:
        auth.after("login.failed", "token.revoekd")(print)
    assert "token.revoked" in refused.value.fix
    with pytest.raises(ConfigError, match="of what"):
        auth.after()(print)
    with pytest.raises(ConfigError, match="cannot be used"):
        Auth(scopes={"a b": "x"}, env="development", secret=SECRET)

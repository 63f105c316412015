"""POST /token and its twins: the tutorial's calls and the right answers."""

import httpx2
import pytest

LOGIN = {"username": "johndoe", "password": "secret"}
FIELDS = {"access_token", "token_type", "expires_in", "scope", "refresh_token"}


@pytest.mark.parametrize("path", ["/token", "/auth/token"])
@pytest.mark.parametrize("grant_type", [None, "", "password"])
async def test_the_tutorials_form(server, path, grant_type):
    form = LOGIN if grant_type is None else {**LOGIN, "grant_type": grant_type}
    answer = await server.post(path, form)
    assert answer.status_code == 200
    assert set(answer.json()) == FIELDS
    assert (await server.get("/users/me", answer.json()["access_token"])).is_success


async def test_what_swagger_ui_sends(server):
    """Its password flow authenticates with an empty id and secret, and drops empty fields."""
    form = {**LOGIN, "grant_type": "password", "scope": "me items"}
    answer = await server.post("/token", form, headers={"Authorization": "Basic Og=="})
    assert answer.json()["scope"] == "me items"
    refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    again = await server.post("/token", refresh, headers={"Authorization": "Basic Og=="})
    assert again.is_success


async def test_the_built_in_client_may_say_its_name(server):
    assert (await server.post("/token", {**LOGIN, "client_id": "watchword"})).is_success
    header = {"Authorization": "Basic d2F0Y2h3b3JkOg=="}  # watchword and no secret
    assert (await server.post("/token", LOGIN, headers=header)).is_success


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("", "me items"),
        ("me", "me"),
        ("items me", "items me"),
        ("me admin", "me"),
        ("me me", "me"),
    ],
)
async def test_scopes_granted_are_those_asked_that_the_user_may_have(server, asked, granted):
    tokens = await server.login(scope=asked)
    assert tokens["scope"] == granted
    claims = (await server.get("/token-claims", tokens["access_token"])).json()
    assert claims["scope"] == granted


async def test_nothing_of_what_was_asked(server, refused):
    with server.unchanged():
        for scope in ("admin", "ME", "me:items"):
            refused(await server.post("/token", {**LOGIN, "scope": scope}), 400, "invalid_scope")
        refused(await server.post("/token", {**LOGIN, "scope": 'a"b'}), 400, "invalid_scope")


async def test_the_claims_of_an_access_token(server):
    tokens = await server.login(scope="me")
    claims = (await server.get("/token-claims", tokens["access_token"])).json()
    now = int(server.clock())
    assert claims["iss"] == "http://localhost:8000"
    assert claims["aud"] == ["http://localhost:8000"]
    assert (claims["sub"], claims["client_id"], claims["scope"]) == ("u_johndoe", "watchword", "me")
    assert (claims["iat"], claims["exp"], claims["auth_time"]) == (now, now + 600, now)


async def test_roles_become_scopes_on_the_server(build):
    server = build(roles={"reader": ["items*"], "nobody": ["ghost"]})
    await server.auth.start()
    await server.add_user("ada", scopes="", roles=("reader", "nobody", "unknown"))
    tokens = await server.login("ada")
    assert tokens["scope"] == "items"
    claims = (await server.get("/token-claims", tokens["access_token"])).json()
    assert claims["roles"] == ["reader", "nobody", "unknown"]


async def test_a_user_called_like_a_client_cannot_pass_for_it(build, refused):
    server = build()
    await server.auth.start()
    await server.add_user("odd", sub="watchword")
    with server.unchanged():
        answer = await server.post("/token", {"username": "odd", "password": "secret"})
    refused(answer, 400, "invalid_grant")
    assert not server.told("login.succeeded")


async def test_a_token_lives_as_long_as_it_says(build):
    server = build(access_ttl="1m")
    await server.auth.start()
    await server.add_user("johndoe")
    tokens = await server.login()
    assert tokens["expires_in"] == 60
    server.clock.tick(60 + 29)
    assert (await server.get("/guarded", tokens["access_token"])).is_success
    server.clock.tick(1)
    assert (await server.get("/guarded", tokens["access_token"])).status_code == 401


@pytest.mark.attack("L-09")
async def test_what_a_server_in_front_made_of_a_header_is_no_address(build):
    """uvicorn believes local peers by default, and then gives a client port of 0."""
    server = build()
    await server.auth.start()
    await server.add_user("johndoe")
    for n in range(6):
        transport = httpx2.ASGITransport(app=server.app, client=(f"203.0.113.{n}", 0))
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://localhost:8000"
        ) as http:
            answer = await http.post("/token", data={"username": "johndoe", "password": "wrong"})
    assert answer.status_code == 429

"""The client-credentials exchange: a client for itself, no user, no row (RFC 6749 section 4.4)."""

import base64

import pytest

FORM = {"grant_type": "client_credentials"}


async def own(server, client: tuple[str, str], **more: str):
    name, secret = client
    return await server.post("/token", {**FORM, "client_id": name, "client_secret": secret, **more})


@pytest.mark.attack("T-32")
async def test_a_token_for_the_client_itself(server):
    client = await server.add_client("job", scopes="items me")
    with server.unchanged():
        answer = await own(server, client)
    tokens = answer.json()
    assert list(tokens) == ["access_token", "token_type", "expires_in", "scope"]
    assert tokens["scope"] == "items me"
    claims = (await server.get("/token-claims", tokens["access_token"])).json()
    assert (claims["sub"], claims["client_id"]) == ("job", "job")
    assert not {"fid", "auth_time", "roles"} & claims.keys()
    (told,) = server.told("token.issued")
    assert (told.client_id, told.jti) == ("job", claims["jti"])


async def test_by_basic_too(server):
    name, secret = await server.add_client("job")
    pair = base64.b64encode(f"{name}:{secret}".encode()).decode()
    answer = await server.post("/auth/token", FORM, headers={"Authorization": f"Basic {pair}"})
    assert answer.is_success


@pytest.mark.attack("T-32", "T-17")
async def test_scopes_end_at_what_was_registered(server, refused):
    client = await server.add_client("job", scopes="items")
    assert (await own(server, client, scope="items")).json()["scope"] == "items"
    for scope in ("me", "items me", "ITEMS", "items:write", 'it"ems'):
        with server.unchanged():
            refused(await own(server, client, scope=scope), 400, "invalid_scope")


@pytest.mark.attack("T-32")
async def test_resources_are_those_registered(server, refused):
    api = "https://api.example.com"
    client = await server.add_client("job", resources=(api, "https://b.example.com"))
    for resource, audience in (({}, api), ({"resource": "https://b.example.com"}, None)):
        token = (await own(server, client, **resource)).json()["access_token"]
        claims = await server.auth._bench.verify(token)
        assert claims.audience == (audience or "https://b.example.com",)
        assert (await server.get("/guarded", token)).status_code == 401, "not this server's own"
    for other in (server.auth.settings.audience, api + "/", "x"):
        refused(await own(server, client, resource=other), 400, "invalid_target")


@pytest.mark.attack("T-32")
async def test_it_is_no_person(server):
    token = (await own(server, await server.add_client("job", scopes="me items"))).json()
    for path in ("/users/me", "/users/me/items"):
        answer = await server.get(path, token["access_token"])
        assert answer.status_code == 403, "the scopes are there, the user is not"
    assert (await server.get("/guarded", token["access_token"])).is_success


async def test_every_token_is_another(server):
    client = await server.add_client("job")
    tokens = {(await own(server, client)).json()["access_token"] for _ in range(20)}
    assert len(tokens) == 20


@pytest.mark.attack("V-04", "T-33")
async def test_revoking_the_client_ends_what_it_has(server):
    client = await server.add_client("job", scopes="me")
    token = (await own(server, client)).json()["access_token"]
    assert await server.auth.store.revoke_client("job", server.clock())
    assert (await server.get("/guarded", token)).status_code == 401
    again = (await own(server, client)).json()["access_token"]
    assert (await server.get("/guarded", again)).is_success, "in the very same second"

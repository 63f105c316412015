"""RFC 7662: the right answers; the wrong ones are rows V."""

import pytest


async def ask(server, token: str, secret: str, **more: str) -> dict:
    form = {"token": token, "client_id": "watcher", "client_secret": secret, **more}
    answer = await server.post("/introspect", form)
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize("path", ["/introspect", "/auth/introspect"])
async def test_an_active_token(server, path):
    audience = server.auth.settings.audience
    _, secret = await server.add_client("watcher", introspects=(audience,))
    tokens = await server.login(scope="items")
    form = {"token": tokens["access_token"], "token_type_hint": "refresh_token"}
    told = await server.post(path, {**form, "client_id": "watcher", "client_secret": secret})
    body = told.json()
    assert (body["active"], body["token_type"], body["scope"]) == (True, "Bearer", "items")
    assert body["exp"] - body["iat"] == 600


async def test_claims_of_the_app_are_told_and_the_servers_own_are_not(build):
    from watchword.seams import ClaimsContext

    def prepare(app, auth) -> None:
        @auth.claims
        async def team(context: ClaimsContext) -> dict:
            return {"team": 7}

    server = build(prepare)
    await server.auth.start()
    await server.add_user("johndoe")
    _, secret = await server.add_client("watcher", introspects=(server.auth.settings.audience,))
    told = await ask(server, (await server.login())["access_token"], secret)
    assert told["team"] == 7
    assert not {"fid", "rev"} & set(told)


async def test_a_resource_looks_into_its_own_tokens_only(server):
    _, secret = await server.add_client("watcher", introspects=("https://api.example.com",))
    tokens = await server.login()
    assert await ask(server, tokens["access_token"], secret) == {"active": False}
    _, job = await server.add_client("job", resources=("https://api.example.com",))
    form = {"grant_type": "client_credentials", "client_id": "job", "client_secret": job}
    token = (await server.post("/token", form)).json()["access_token"]
    assert (await ask(server, token, secret))["aud"] == ["https://api.example.com"]


async def test_looking_spends_nothing(server):
    _, secret = await server.add_client("watcher", grants={"refresh_token"})
    token = await server.grant_for("watcher")
    with server.unchanged():
        for _ in range(3):
            assert (await ask(server, token, secret))["active"]
    assert (await server.refresh(token, client_id="watcher", client_secret=secret)).is_success

"""RFC 7009 and the tutorial's logout: the right answers; the wrong ones are rows V."""

import pytest


@pytest.mark.parametrize("path", ["/revoke", "/auth/revoke"])
async def test_an_answer_says_nothing(server, path):
    tokens = await server.login()
    for token in (tokens["refresh_token"], tokens["refresh_token"], "unknown"):
        answer = await server.post(path, {"token": token})
        assert (answer.status_code, answer.content) == (200, b"{}")
        assert answer.headers["cache-control"] == "no-store"


async def test_logging_out_ends_what_every_guard_accepted(server):
    tokens = await server.login()
    paths = ["/users/me", "/users/me/", "/users/me/items", "/guarded", "/token-claims"]
    for path in paths:
        assert (await server.get(path, tokens["access_token"])).is_success
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await server.http.post("/revoke-token", headers=bearer)).is_success
    for path in paths:
        refusal = await server.get(path, tokens["access_token"])
        assert refusal.status_code == 401
        assert 'error="invalid_token"' in refusal.headers["www-authenticate"]


async def test_a_body_beside_the_bearer_is_not_read(server):
    one, two = await server.login(), await server.login()
    answer = await server.post(
        "/revoke-token",
        {"token": two["refresh_token"]},
        headers={"Authorization": f"Bearer {one['access_token']}"},
    )
    assert answer.is_success
    assert (await server.get("/guarded", two["access_token"])).is_success
    assert not (await server.get("/guarded", one["access_token"])).is_success


async def test_an_expired_bearer_has_nothing_to_end(server):
    tokens = await server.login()
    server.clock.tick(700)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    with server.unchanged():
        assert (await server.http.post("/revoke-token", headers=bearer)).status_code == 401
        assert (await server.post("/revoke", {"token": tokens["access_token"]})).status_code == 200
    assert (await server.refresh(tokens["refresh_token"])).is_success


async def test_a_token_for_another_resource_can_be_ended_here(server):
    """Logging out is asked of the server, not of the resource."""
    _, secret = await server.add_client("job", resources=("https://other.example.com",))
    form = {"grant_type": "client_credentials", "client_id": "job", "client_secret": secret}
    token = (await server.post("/token", form)).json()["access_token"]
    assert (await server.get("/guarded", token)).status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await server.http.post("/revoke-token", headers=bearer)).is_success
    assert (await server.http.post("/revoke-token", headers=bearer)).status_code == 401


async def test_other_processes_notice_at_once(build, kept_url):
    one = build(database_url=kept_url)
    await one.auth.start()
    await one.add_user("johndoe")
    two = build(database_url=kept_url, now=one.clock)
    for _ in range(3):
        tokens = await one.login()
        assert (await two.get("/guarded", tokens["access_token"])).is_success
        await one.post("/revoke", {"token": tokens["refresh_token"]})
        await two.hear()
        assert (await two.get("/guarded", tokens["access_token"])).status_code == 401
        assert (await two.refresh(tokens["refresh_token"])).status_code == 400

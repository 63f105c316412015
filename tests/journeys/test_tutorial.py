"""The tutorial's own calls, from a password to a revoked token."""

from __future__ import annotations


async def test_the_whole_way(server) -> None:
    tokens = await server.login(scope="me items")
    assert (await server.get("/users/me", tokens["access_token"])).json()["username"] == "johndoe"
    assert (await server.get("/users/me/items", tokens["access_token"])).json() == {
        "owner": "johndoe"
    }
    fresh = (await server.refresh(tokens["refresh_token"])).json()
    assert fresh["refresh_token"] != tokens["refresh_token"]
    revoked = await server.http.post(
        "/revoke-token", headers={"Authorization": f"Bearer {fresh['access_token']}"}
    )
    assert revoked.status_code == 200
    for token in (tokens, fresh):
        assert (await server.get("/users/me", token["access_token"])).status_code == 401
        assert (await server.refresh(token["refresh_token"])).status_code == 400

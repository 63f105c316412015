"""The tutorial's own calls, from a password to a revoked token."""

from __future__ import annotations

import runpy
from pathlib import Path

import httpx2

from watchword.endpoints import me
from watchword.seams import Account, StoredUser

EXAMPLES = Path(__file__).parents[2] / "examples"


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


async def test_the_demo_and_the_built_in_route_show_a_user_alike(monkeypatch) -> None:
    for name, value in (("ENV", "development"), ("DATABASE_URL", "sqlite:///:memory:")):
        monkeypatch.setenv(f"WATCHWORD_{name}", value)
    loaded = runpy.run_path(str(EXAMPLES / "demo.py"))
    app, auth = loaded["app"], loaded["auth"]
    await auth.start()
    ada = Account("u_ada", "ada", name="Ada", scopes=("me", "items"))
    assert await auth.store.add_user(StoredUser(ada, await auth.passwords.hash("secret")))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=auth.settings.issuer) as http:
        login = await http.post("/token", data={"username": "ada", "password": "secret"})
        bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}
        for path in ("/users/me", "/users/me/"):
            assert (await http.get(path, headers=bearer)).json() == me.described(ada)
        items = (await http.get("/users/me/items/", headers=bearer)).json()
        assert items == [{"item_id": "Foo", "owner": "ada"}]
    auth.close()

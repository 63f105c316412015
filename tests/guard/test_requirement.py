"""What routes, routers and mounted apps say with `require`; examples of the interface, run."""

from typing import Annotated

import pytest
from fastapi import APIRouter, FastAPI

from watchword import AccessToken, Account, Auth
from watchword.errors import ConfigError

SCOPES = {
    "me": "See who you are",
    "items": "See your things",
    "items:read": "See your items",
    "items:write": "Create and change your items",
    "billing": "See invoices and change your plan",
    "support": "Answer questions",
}
DONE = {"ok": True}


def prepare(app: FastAPI, auth: Auth) -> None:
    @app.get("/items", dependencies=[auth.require("items:read")])
    async def list_items() -> dict[str, bool]:
        return DONE

    @app.post("/items")
    def create_item(user: Annotated[Account, auth.current_user("items:write")]) -> dict[str, str]:
        return {"owner": user.username}

    @app.get("/queue", dependencies=[auth.require(any_of=("items:write", "support"))])
    def queue() -> dict[str, bool]:
        return DONE

    @app.delete("/account", dependencies=[auth.require("billing", max_age=300)])
    async def close_account() -> dict[str, bool]:
        return DONE

    @app.delete("/vault", dependencies=[auth.require(acr="mfa")])
    async def vault() -> dict[str, bool]:
        return DONE

    @app.get("/staff", dependencies=[auth.require(role=("admin", "editor"))])
    async def staff() -> dict[str, bool]:
        return DONE

    @app.get("/nightly", dependencies=[auth.require_scopes(client="nightly")])
    async def nightly() -> dict[str, bool]:
        return DONE

    inner = APIRouter(dependencies=[auth.require("items:read")])

    @inner.get("/report", dependencies=[auth.require("billing")])
    async def report(token: Annotated[AccessToken, auth.token("support")]) -> dict[str, str]:
        return {"sub": token.sub}

    outer = APIRouter(prefix="/outer", dependencies=[auth.require("me")])
    outer.include_router(inner, prefix="/inner")
    app.include_router(outer)
    app.include_router(outer, prefix="/twice", dependencies=[auth.require("items:write")])

    sub = FastAPI()

    @sub.get("/report", dependencies=[auth.require("billing")])
    async def sub_report() -> dict[str, bool]:
        return DONE

    app.mount("/sub", sub)


ROLES = {"editor": ["items:*"], "owner": ["*"]}


@pytest.fixture
async def shop(build):
    made = build(prepare, scopes=SCOPES, roles=ROLES)
    await made.auth.start()
    await made.add_user("reader", scopes="me items:read")
    await made.add_user("editor", scopes="me", roles=("editor",))
    await made.add_user("owner", scopes="", roles=("owner", "no such role"))
    return made


async def token(server, name: str, scope: str = "") -> str:
    return (await server.login(name, scope=scope))["access_token"]


async def test_scopes(shop) -> None:
    reader = await token(shop, "reader")
    assert (await shop.get("/items", reader)).json() == DONE
    refused = await shop.http.post("/items", headers={"Authorization": f"Bearer {reader}"})
    assert refused.status_code == 403
    body = refused.json()
    assert body["detail"] == 'The access token lacks the scope "items:write".'
    assert (body["error"], body["scope"], body["code"]) == (
        "insufficient_scope", "items:write", "WW-203",
    )  # fmt: skip
    assert "me items:read" in body["hint"] and "test_requirement.py" in body["hint"]
    assert 'scope="items:write"' in refused.headers["WWW-Authenticate"]


async def test_sync_and_async_endpoints_any_of_and_the_user(shop) -> None:
    editor = await token(shop, "editor")
    assert (await shop.get("/queue", editor)).json() == DONE
    made = await shop.http.post("/items", headers={"Authorization": f"Bearer {editor}"})
    assert made.json() == {"owner": "editor"}
    refused = await shop.get("/queue", await token(shop, "reader"))
    assert refused.status_code == 403 and refused.json()["scope"] == "items:write support"


async def test_roles_grant_scopes_by_wildcard_but_no_token_holds_one(shop) -> None:
    editor = await shop.login("editor")
    assert set(editor["scope"].split()) == {"me", "items:read", "items:write"}
    owner = await shop.login("owner")
    assert set(owner["scope"].split()) == set(SCOPES)
    assert "*" not in owner["scope"]
    asked = await shop.login("reader", scope="items:read items:write")
    assert asked["scope"] == "items:read", "a user gains nothing by asking"
    assert (await shop.get("/staff", editor["access_token"])).json() == DONE
    refused = await shop.get("/staff", owner["access_token"])
    assert refused.status_code == 403 and "admin or editor" in refused.json()["detail"]
    assert "Ask for  " not in refused.json()["hint"]


async def test_step_up(shop) -> None:
    owner = await token(shop, "owner")
    header = {"Authorization": f"Bearer {owner}"}
    assert (await shop.http.delete("/account", headers=header)).status_code == 200
    shop.clock.tick(301)
    stale = await shop.http.delete("/account", headers=header)
    assert stale.status_code == 401
    challenge = stale.headers["WWW-Authenticate"]
    assert 'error="insufficient_user_authentication"' in challenge and 'max_age="300"' in challenge
    weak = await shop.http.delete("/vault", headers=header)
    assert weak.status_code == 401 and 'acr_values="mfa"' in weak.headers["WWW-Authenticate"]


async def test_a_route_for_one_client(shop) -> None:
    for name, status in (("nightly", 200), ("other", 403)):
        client_id, secret = await shop.add_client(name, scopes="items:read")
        answer = await shop.post(
            "/token",
            {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret},
        )
        assert (await shop.get("/nightly", answer.json()["access_token"])).status_code == status


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/outer/inner/report", "me items:read billing support"),
        ("/twice/outer/inner/report", "items:write me items:read billing support"),
    ],
)
async def test_routers_and_routes_add_up_in_code_schema_and_challenge(shop, path, needed) -> None:
    anonymous = await shop.get(path)
    assert anonymous.json()["scope"] == needed
    partly = await shop.get(path, await token(shop, "owner", "me items:read items:write"))
    assert partly.status_code == 403
    assert f'scope="{needed}"' in partly.headers["WWW-Authenticate"]
    schema = shop.app.openapi()["paths"][path]["get"]["security"]
    assert {name for entry in schema for name in entry["Watchword"]} == set(needed.split())
    assert (await shop.get(path, await token(shop, "owner"))).json() == {"sub": "u_owner"}
    for missing in needed.split():
        held = " ".join(name for name in SCOPES if name != missing)
        assert (await shop.get(path, await token(shop, "owner", held))).status_code == 403, missing


async def test_a_mounted_app(shop) -> None:
    assert (await shop.get("/sub/report", await token(shop, "owner"))).json() == DONE
    refused = await shop.get("/sub/report", await token(shop, "reader"))
    assert refused.status_code == 403 and 'scope="billing"' in refused.headers["WWW-Authenticate"]
    assert (await shop.get("/sub/report")).status_code == 401


async def test_the_schema_describes_the_login(shop) -> None:
    scheme = (await shop.get("/openapi.json")).json()["components"]["securitySchemes"]["Watchword"]
    flow = scheme["flows"]["password"]
    assert scheme["type"] == "oauth2" and flow["scopes"] == SCOPES and flow["tokenUrl"] == "token"


@pytest.mark.parametrize(
    ("say", "fix"),
    [
        (lambda auth: auth.require("itms:read"), 'did you mean "items:read"?'),
        (lambda auth: auth.require(any_of=("items:raed",)), "items:read"),
        (lambda auth: auth.current_user("zzz"), "known are"),
        (lambda auth: auth.token("items:*"), "items"),
    ],
)
async def test_a_misspelt_scope_fails_where_it_stands(build, say, fix) -> None:
    with pytest.raises(ConfigError, match=r"Unknown scope") as raised:
        say(build(scopes=SCOPES).auth)
    assert fix in raised.value.fix

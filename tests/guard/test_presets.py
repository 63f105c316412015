"""Tokens shaped as Keycloak, Entra, Auth0 and Cognito write them, through a whole guard."""

from typing import Annotated, Any

import pytest
from fastapi import FastAPI

from watchword import AccessToken, Account, Guard
from watchword.guard import presets
from watchword.guard.presets import unverified_issuer

NOW = 1_800_000_000.0


def app_of(guard: Guard) -> FastAPI:
    app = FastAPI()

    @app.get("/token")
    async def token(token: Annotated[AccessToken, guard.token()]) -> dict[str, Any]:
        return {"scopes": token.scopes, "roles": token.roles, "client": token.client_id}

    @app.get("/me")
    async def me(user: Annotated[Account, guard.current_user()]) -> dict[str, Any]:
        return {"sub": user.sub, "username": user.username, "email": user.email}

    return app


def guard_for(issuer, preset, **more) -> Guard:
    given = {"issuer": issuer.url, "audience": "orders", "jwks_uri": f"{issuer.url}/jwks", **more}
    return Guard(preset=preset, now=lambda: NOW, **given)


KEYCLOAK = {
    "aud": ["orders", "account"],
    "typ_claim": "Bearer",
    "scope": "openid orders:read",
    "preferred_username": "ada",
    "email": "ada@example.com",
    "realm_access": {"roles": ["editor", 7]},
    "resource_access": {"orders": {"roles": ["manage"]}, "x": None, "y": {"roles": "z"}},
}


def keycloak(**changes: Any) -> dict[str, Any]:
    content = {**KEYCLOAK, **changes}
    kind = content.pop("typ_claim")
    return content | ({"typ": kind} if kind else {})


async def signed(issuer, claims: dict[str, Any], typ: str = "JWT") -> str:
    from watchword.crypto import jose

    base = {"iss": issuer.url, "sub": "u1", "azp": "web", "exp": int(NOW) + 60, "aud": "orders"}
    content = {name: value for name, value in {**base, **claims}.items() if value is not ...}
    return jose.sign(content, issuer.keys[-1], typ)


async def test_keycloak(issuer, ask) -> None:
    app = app_of(guard_for(issuer, presets.KEYCLOAK))
    good = await signed(issuer, keycloak())
    assert (await ask(app, "/token", good)).json() == {
        "scopes": ["openid", "orders:read"],
        "roles": ["editor", "orders:manage"],
        "client": "web",
    }
    assert (await ask(app, "/me", good)).json()["username"] == "ada"
    for kind in ("ID", "Refresh", "Logout"):
        assert (
            await ask(app, "/token", await signed(issuer, keycloak(typ_claim=kind)))
        ).status_code == 401
    service = await signed(issuer, keycloak(preferred_username="service-account-nightly"))
    assert (await ask(app, "/token", service)).status_code == 200
    assert (await ask(app, "/me", service)).status_code == 403


async def test_entra(issuer, ask) -> None:
    app = app_of(guard_for(issuer, presets.ENTRA))
    claims = {"scp": "Orders.Read Orders.Write", "roles": ["Admin"], "oid": "o1", "sub": "s1"}
    assert (await ask(app, "/token", await signed(issuer, claims))).json() == {
        "scopes": ["Orders.Read", "Orders.Write"],
        "roles": ["Admin"],
        "client": "web",
    }
    daemon = {"roles": ["Job"], "oid": "s1", "sub": "s1"}
    assert (await ask(app, "/me", await signed(issuer, daemon))).status_code == 403
    assert (
        await ask(app, "/me", await signed(issuer, {**claims, "idtyp": "app"}))
    ).status_code == 403


async def test_auth0(issuer, ask) -> None:
    app = app_of(guard_for(issuer, presets.AUTH0))
    claims = {
        "aud": ["orders", "https://t/userinfo"],
        "scope": "openid a",
        "permissions": ["a", "b"],
    }
    assert (await ask(app, "/token", await signed(issuer, claims, "at+jwt"))).json()["scopes"] == [
        "openid", "a", "b",
    ]  # fmt: skip
    machine = {"sub": "web@clients", "gty": "client-credentials", "scope": "a"}
    assert (await ask(app, "/me", await signed(issuer, machine))).status_code == 403


async def test_cognito(issuer, ask) -> None:
    app = app_of(guard_for(issuer, presets.COGNITO, audience="app1"))
    claims = {
        "aud": ..., "azp": ..., "client_id": "app1", "token_use": "access",
        "scope": "orders/read", "cognito:groups": ["staff"], "username": "ada",
    }  # fmt: skip
    assert (await ask(app, "/token", await signed(issuer, claims))).json() == {
        "scopes": ["orders/read"],
        "roles": ["staff"],
        "client": "app1",
    }
    for wrong in ({"token_use": "id"}, {"token_use": ...}, {"client_id": "app2"}, {"aud": "x"}):
        assert (
            await ask(app, "/token", await signed(issuer, {**claims, **wrong}))
        ).status_code == 401
    assert (
        await ask(app, "/me", await signed(issuer, {**claims, "sub": "app1"}))
    ).status_code == 403


@pytest.mark.attack("J-43")
async def test_scopes_as_a_list_and_nonsense(issuer, ask) -> None:
    app = app_of(guard_for(issuer, presets.STANDARD))
    listed = await signed(issuer, {"scope": ["a", "b", 7]})
    assert (await ask(app, "/token", listed)).json()["scopes"] == ["a", "b"]
    for scope in (7, {"a": 1}, None, True):
        assert (await ask(app, "/token", await signed(issuer, {"scope": scope}))).status_code == 401


@pytest.mark.attack("J-27")
async def test_only_kinds_that_may_be_access_tokens(issuer, ask) -> None:
    app = app_of(guard_for(issuer, presets.STANDARD))
    for typ in ("at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt"):
        assert (await ask(app, "/token", await signed(issuer, {}, typ))).status_code == 200, typ
    for typ in ("logout+jwt", "dpop+jwt", "secevent+jwt", "oauth-authz-req+jwt", "JOSE", "id+jwt"):
        assert (await ask(app, "/token", await signed(issuer, {}, typ))).status_code == 401, typ


def test_the_named_issuers() -> None:
    entra = Guard.entra(tenant="t", audience="a")
    assert entra._issuers == ("https://login.microsoftonline.com/t/v2.0",)
    assert Guard.auth0("acme.eu.auth0.com", audience="a")._issuers == (
        "https://acme.eu.auth0.com/",
    )
    assert Guard.keycloak("https://k/realms/m", audience="a")._resource == "a"
    assert Guard.cognito("https://cognito-idp.x/p", audience="a")._resource == "a"


@pytest.mark.parametrize(
    "token",
    ["", "..", "a.b", "a.!!!.c", "a.W10.c", "a.e30.c", "a.bnVsbA.c", "a." + "W1" * 9000 + ".c"],
)
def test_an_issuer_is_read_for_choosing_only(token) -> None:
    assert unverified_issuer(token) is None

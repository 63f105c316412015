"""The schema says what is there."""

import pytest
from fastapi import FastAPI

from watchword import Auth


async def schema(server) -> dict:
    return (await server.get("/openapi.json")).json()


async def test_the_endpoints_are_described_beside_the_apps(server):
    found = await schema(server)
    assert {"/token", "/refresh-token", "/revoke-token", "/guarded", "/open"} <= set(found["paths"])
    fields = found["paths"]["/token"]["post"]["requestBody"]["content"]
    properties = fields["application/x-www-form-urlencoded"]["schema"]["properties"]
    assert set(properties) == {"grant_type", "username", "password", "refresh_token", "scope"}
    assert properties["password"]["format"] == "password"
    assert await schema(server) == found, "described once"


async def test_the_scheme_logs_in_here_with_the_declared_scopes(server):
    found = await schema(server)
    (scheme,) = found["components"]["securitySchemes"].values()
    flow = scheme["flows"]["password"]
    assert flow["tokenUrl"] == "token"
    assert flow["scopes"] == {"me": "See who you are", "items": "See your items"}
    assert found["paths"]["/guarded"]["get"]["security"] == [{"Watchword": ["me"]}]
    assert "security" not in found["paths"]["/open"]["get"]
    assert found["paths"]["/revoke-token"]["post"]["security"] == [{"Watchword": []}]
    assert found["paths"]["/auth/ticket"]["post"]["security"] == [{"Watchword": []}]


def test_users_me_is_described_where_the_app_has_none_of_its_own():
    def described(scopes, prepare=lambda app: None):
        app = FastAPI()
        prepare(app)
        Auth(app, env="development", database_url="sqlite:///:memory:", scopes=scopes)
        return app.openapi()["paths"]

    for scopes, asked in (({"me": "x", "items": "x"}, ["me"]), ({"items": "x"}, [])):
        (operation,) = described(scopes)["/users/me"].values()
        assert operation["security"] == [{"Watchword": asked}]
        assert "full_name" in operation["responses"]["200"]["description"]

    def hidden(app):
        app.add_api_route("/users/me", lambda: "the app's", include_in_schema=False)

    assert "/users/me" not in described({}, hidden)


@pytest.mark.parametrize("path", ["/token", "/refresh-token", "/revoke-token", "/users/me"])
async def test_what_is_off_is_not_described(build, path):
    found = await schema(build(first_party_paths=False))
    assert path not in found["paths"]
    assert {"/auth/token", "/auth/ticket"} <= set(found["paths"])

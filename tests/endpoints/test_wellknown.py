"""The published documents, compared with what the server does; rows K-05, K-06 and K-08."""

import base64

import pytest

from watchword.crypto.jwk import VerifyingKey

PUBLIC = {"EC": {"crv", "x", "y"}, "RSA": {"n", "e"}, "OKP": {"crv", "x"}}


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@pytest.mark.attack("K-05")
@pytest.mark.parametrize("alg", ["ES256", "Ed25519", "RS256", "PS256"])
async def test_the_key_set_is_public_and_named_by_thumbprint(build, alg):
    server = build(access_token_alg=alg, env="production", issuer="https://id.example.com")
    answer = await server.get("/.well-known/jwks.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "pragma" not in answer.headers
    keys = answer.json()["keys"]
    assert {key["alg"] for key in keys} == {alg, "RS256"}
    assert len({key["kid"] for key in keys}) == len(keys)
    for key in keys:
        assert set(key) == {"kid", "use", "alg", "kty"} | PUBLIC[key["kty"]]
        assert key["use"] == "sig"
        from watchword.crypto.jwk import thumbprint

        verifying = VerifyingKey.from_jwk(key)
        assert verifying is not None
        assert thumbprint(verifying._public) == key["kid"]


@pytest.mark.attack("K-05")
async def test_developments_keys_are_named_so(server):
    keys = (await server.get("/.well-known/jwks.json")).json()["keys"]
    assert keys
    assert all(key["kid"].startswith("dev-") for key in keys)


@pytest.mark.attack("K-06")
async def test_the_same_document_wherever_clients_look(build):
    issuer = "https://id.example.com/tenant/one"
    server = build(env="production", issuer=issuer, resource="https://api.example.com/v1")
    places = [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/tenant/one",
        "/.well-known/openid-configuration/tenant/one",
        "/tenant/one/.well-known/openid-configuration",
        "/tenant/one/.well-known/oauth-authorization-server",
    ]
    found = [await server.get(place) for place in places]
    assert {answer.status_code for answer in found} == {200}
    assert len({answer.content for answer in found}) == 1
    assert found[0].json()["issuer"] == issuer
    for place in (
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/v1",
    ):
        told = (await server.get(place)).json()
        assert told["resource"] == "https://api.example.com/v1"
        assert told["authorization_servers"] == [issuer]


async def test_a_resource_may_be_a_bare_name(build):
    server = build(resource="orders-api")
    told = (await server.get("/.well-known/oauth-protected-resource")).json()
    assert told["resource"] == "orders-api"
    assert not [path for path in server.app.router.routes[0].table if "orders-api" in path]


async def asked(server, method: str, path: str, form: dict[str, str], secret: str):
    if method == "client_secret_basic":
        return await server.post(path, form, headers=basic("all", secret))
    more = {"client_id": "all", "client_secret": secret} if method == "client_secret_post" else {}
    return await server.post(path, {**form, **more})


METHODS = {"client_secret_basic", "client_secret_post", "none"}


@pytest.mark.attack("K-06")
@pytest.mark.parametrize("profile", ["first_party", "off"])
async def test_what_is_published_works_and_what_works_is_published(build, profile):
    server = build(password_login=profile)
    await server.auth.start()
    await server.add_user("johndoe")
    _, secret = await server.add_client("all", grants={"refresh_token", "client_credentials"})
    document = (await server.get("/.well-known/openid-configuration")).json()
    path = {
        name: document[name].removeprefix(document["issuer"])
        for name in document
        if name.endswith(("endpoint", "_uri"))
    }
    assert all(document[name].startswith(document["issuer"]) for name in path)
    assert (await server.get(path["jwks_uri"])).is_success

    # grant types, both ways
    token = await server.grant_for("all")
    forms = {
        "refresh_token": {"refresh_token": token},
        "client_credentials": {},
        "password": {"username": "johndoe", "password": "secret"},
    }
    works = set()
    for grant_type, form in forms.items():
        more = {} if grant_type == "password" else {"client_id": "all", "client_secret": secret}
        ask = {"grant_type": grant_type, **form, **more}
        answer = await server.post(path["token_endpoint"], ask)
        if answer.is_success:
            works.add(grant_type)
        else:
            assert answer.json()["error"] == "unsupported_grant_type"
    assert set(document["grant_types_supported"]) >= works
    assert set(document["grant_types_supported"]) & set(forms) == works
    assert set(server.auth._bench.exchanges) == set(document["grant_types_supported"])

    # authentication methods, both ways
    open_token = await server.login() if profile == "first_party" else None
    for name, form in (
        ("revocation", {"token": "x"}),
        ("introspection", {"token": "x"}),
    ):
        good = set()
        for method in METHODS:
            answer = await asked(server, method, path[f"{name}_endpoint"], form, secret)
            if answer.is_success:
                good.add(method)
            else:
                assert answer.json()["error"] == "invalid_client"
        assert set(document[f"{name}_endpoint_auth_methods_supported"]) & METHODS == good
    listed = document["token_endpoint_auth_methods_supported"]
    assert listed[0] == "client_secret_basic", "some clients take the first one they know"
    for method in ("client_secret_basic", "client_secret_post"):
        form = {"grant_type": "client_credentials"}
        assert (await asked(server, method, path["token_endpoint"], form, secret)).is_success
    if open_token is not None:
        assert "none" in listed

    # algorithms and scopes
    keys = (await server.get(path["jwks_uri"])).json()["keys"]
    assert server.auth.settings.access_token_alg in {key["alg"] for key in keys}
    assert document["scopes_supported"] == ["me", "items"]


@pytest.mark.attack("K-08", "W-10", "L-29")
async def test_forged_headers_move_no_address(build):
    server = build(env="production", issuer="https://id.example.com", trusted_proxies="127.0.0.1")
    forged = {
        "Host": "evil.example.com",
        "X-Forwarded-Host": "evil.example.com",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "host=evil.example.com;proto=http",
        "X-Original-URL": "/evil",
    }
    paths = [path for path in server.app.router.routes[0].table if ".well-known" in path]
    for path in paths:
        plain, strange = await server.get(path), await server.get(path, headers=forged)
        assert plain.content == strange.content
        assert b"evil" not in strange.content
        assert b"http://" not in strange.content
    refusal = await server.get("/guarded", headers=forged)
    assert "https://id.example.com/.well-known/" in refusal.headers["www-authenticate"]
    assert "evil" not in refusal.headers["www-authenticate"]

"""Group J at a guarded route: whatever is wrong with a token, 401, one sentence, no handler."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from watchword.crypto.jwk import SigningKey, VerifyingKey

REFUSED = "The access token is not valid."


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.fixture
async def ran(build):
    """A server that counts how often its guarded handler ran."""
    calls: list[int] = []

    def prepare(app, auth) -> None:
        @app.post("/count", dependencies=[auth.require("me")])
        async def count() -> int:
            calls.append(1)
            return len(calls)

    server = build(prepare)
    await server.auth.start()
    await server.add_user("johndoe")
    server.calls = calls
    return server


def signer(server) -> SigningKey:
    return server.auth.signing.ring.signer("ES256", server.clock())


async def good(server) -> dict:
    token = (await server.login())["access_token"]
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def signed(server, claims: dict, *, typ: str = "at+jwt", **header: object) -> str:
    """Signed by the server's own key, with whatever header."""
    key = signer(server)
    head = {"typ": typ, "alg": key.alg, "kid": key.kid, **header}
    head = {name: value for name, value in head.items() if value is not ...}
    message = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{message}.{b64(key.sign(message.encode()))}"


async def refused(server, token: str, *, statuses: tuple[int, ...] = (401,)) -> None:
    before = server.snapshot()
    answer = await server.http.post("/count", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in statuses, answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer error=")
    if answer.status_code == 401:
        assert answer.json()["detail"] == REFUSED and answer.json()["error"] == "invalid_token"
    assert server.calls == [] and server.snapshot() == before


@pytest.mark.attack("J-01", "J-05")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "none ", "", None, ...])
async def test_no_algorithm_is_no_signature(ran, alg):
    claims = await good(ran)
    token = signed(ran, claims, alg=alg)
    head, payload, signature = token.split(".")
    for forged in (f"{head}.{payload}.", f"{head}.{payload}.{signature}", f"{head}.{payload}"):
        await refused(ran, forged, statuses=(401, 400))


@pytest.mark.attack("J-02", "J-04")
async def test_the_public_key_is_no_secret(ran):
    claims = await good(ran)
    key = signer(ran)
    public = key.public()
    loaded = public.public if hasattr(public, "public") else public._public
    pem = loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secrets = [
        pem, pem.strip(), pem.replace(b"\n", b"\r\n"), b"",
        loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(public.jwk).encode(), json.dumps({"keys": [public.jwk]}).encode(),
    ]  # fmt: skip
    for alg, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
        for secret in secrets:
            head = b64(json.dumps({"typ": "at+jwt", "alg": alg, "kid": key.kid}).encode())
            message = f"{head}.{b64(json.dumps(claims).encode())}"
            mac = hmac.new(secret, message.encode(), getattr(hashlib, digest)).digest()
            await refused(ran, f"{message}.{b64(mac)}")


@pytest.mark.attack("J-03", "J-15")
@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES384", "EdDSA", "Ed25519", "HS256"])
async def test_one_key_one_algorithm(ran, alg):
    await refused(ran, signed(ran, await good(ran), alg=alg))


@pytest.mark.attack("J-06", "J-32", "J-33")
async def test_another_form(ran):
    token = signed(ran, await good(ran))
    head, payload, signature = token.split(".")
    for forged in (
        head, f"{head}.{payload}", f"{token}.{signature}", f"{token}.a.b", "....",
        "x" * 20_000, f"{head}.{payload}.{'A' * 50_000}",
        json.dumps({"protected": head, "payload": payload, "signature": signature}).replace(" ", ""),
    ):  # fmt: skip
        await refused(ran, forged, statuses=(401, 400))


@pytest.mark.attack("J-07", "J-08", "J-09", "J-10", "J-11", "J-12")
@pytest.mark.parametrize(
    "header",
    [
        {"kid": kid}
        for kid in ("../../dev/null", "' OR '1'='1", "http://127.0.0.1/", "a\0b", "k" * 10_000,
                    7, ["a"], {"a": 1}, None, ...)
    ]
    + [
        {"jku": "http://127.0.0.1:1/jwks"}, {"x5u": "http://127.0.0.1:1/"}, {"x5c": ["AAAA"]},
        {"crit": ["exp"]}, {"crit": []}, {"crit": "b64"}, {"b64": False},
        {"crit": ["b64"], "b64": False}, {"zip": "DEF"}, {"enc": "A128GCM"},
    ],
)  # fmt: skip
async def test_a_header_chooses_nothing(ran, header):
    await refused(ran, signed(ran, await good(ran), **header))


@pytest.mark.attack("J-09")
async def test_a_key_in_the_header_is_no_key(ran):
    private = ec.generate_private_key(ec.SECP256R1())
    mine = SigningKey("mine", "ES256", private)
    claims = await good(ran)
    for kid in ("mine", signer(ran).kid):
        head = {"typ": "at+jwt", "alg": "ES256", "kid": kid, "jwk": mine.public().jwk}
        message = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"
        await refused(ran, f"{message}.{b64(mine.sign(message.encode()))}")
    assert isinstance(mine.public(), VerifyingKey)


@pytest.mark.attack("J-13", "J-14")
async def test_degenerate_signatures(ran):
    head, payload, signature = signed(ran, await good(ran)).split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    values = [0, 1, n - 1, n, n + 1, 2**256 - 1]
    forged = [r.to_bytes(32, "big") + s.to_bytes(32, "big") for r in values for s in values]
    forged += [raw + b"\0", raw[:-1], raw[32:] + raw[:32], b""]
    for one in forged:
        await refused(ran, f"{head}.{payload}.{b64(one)}", statuses=(401, 400))


@pytest.mark.attack("J-18", "J-19")
async def test_a_revoked_token_in_another_spelling(ran):
    tokens = await ran.login()
    token = tokens["access_token"]
    assert (await ran.get("/guarded", token)).is_success
    await ran.http.post("/revoke-token", headers={"Authorization": f"Bearer {token}"})
    head, payload, signature = token.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = raw[:32] + (n - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    for forged in (
        token, f"{head}.{payload}.{b64(twin)}", f"{token}=", f"{token}==", f"{head}=.{payload}.{signature}",
        f"{head}.{payload}=.{signature}", token[:-1] + chr(ord(token[-1]) ^ 1),
    ):  # fmt: skip
        await refused(ran, forged, statuses=(401, 400))


@pytest.mark.attack("P-11", "J-21", "J-22", "J-23", "J-25", "J-26", "J-30", "J-31", "J-43", "J-48")
@pytest.mark.parametrize(
    "change",
    [{"exp": value} for value in (..., "9999999999", -1, True, [1], None, 2**63, 0, 1e308)]
    + [{"nbf": 1_800_000_100}, {"iat": 1_800_000_100}, {"nbf": "x"}, {"iat": True}]
    + [
        {"iss": value}
        for value in ("http://localhost:800", "http://localhost:8000/", "HTTP://LOCALHOST:8000",
                      ["http://localhost:8000"], ..., None)
    ]
    + [
        {"aud": value}
        for value in (..., None, [], "http://other", "http://localhost:8000x",
                      ["http://localhost:8000", 7], ["http://localhost:8000", "http://other"],
                      ["http://localhost:8000"] * 10_000, 7)
    ]
    + [{"sub": value} for value in (7, [], "", "x" * 10_000, ..., None)]
    + [{"scope": value} for value in (["me"], 7, {"me": 1})]
    + [{"cnf": {"jkt": "x"}}, {"cnf": {"x5t#S256": "x"}}, {"cnf": "x"}]
    + [{"client_id": ...}, {"jti": ...}, {"rev": ...}, {"rev": "1"}, {"rev": True}],
)  # fmt: skip
async def test_claims_of_another_shape(ran, change):
    claims = {**await good(ran), **change}
    await refused(ran, signed(ran, {k: v for k, v in claims.items() if v is not ...}))


@pytest.mark.attack("J-43")
@pytest.mark.parametrize("scope", [..., "", "ME", "meitems", "me\u00a0", "me\t", "m e"])
async def test_a_scope_is_an_exact_word(ran, scope):
    claims = {**await good(ran), "scope": scope}
    token = signed(ran, {k: v for k, v in claims.items() if v is not ...})
    answer = await ran.http.post("/count", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert 'scope="me"' in answer.headers["www-authenticate"] and ran.calls == []


@pytest.mark.attack("J-27", "J-28")
@pytest.mark.parametrize(
    "typ", [..., "JWT", "", "id+jwt", "logout+jwt", "dpop+jwt", "client-authentication+jwt",
            "oauth-authz-req+jwt", "token-introspection+jwt", "at+jwt+x", "application/jwt"]
)  # fmt: skip
async def test_another_kind_of_token(ran, typ):
    await refused(ran, signed(ran, await good(ran), typ=typ))


@pytest.mark.attack("J-27")
@pytest.mark.parametrize("typ", ["AT+JWT", "application/at+jwt"])
async def test_the_kind_has_two_spellings(ran, typ):
    token = signed(ran, await good(ran), typ=typ)
    assert (await ran.get("/guarded", token)).is_success


@pytest.mark.attack("J-24")
async def test_the_edge_of_expiry(ran):
    token = (await ran.login())["access_token"]
    for tick, status in ((599, 200), (1, 200), (29, 200), (1, 401), (1000, 401)):
        ran.clock.tick(tick)
        assert (await ran.get("/guarded", token)).status_code == status


@pytest.mark.attack("J-34")
async def test_payloads_that_are_no_claims(ran):
    key = signer(ran)
    head = b64(json.dumps({"typ": "at+jwt", "alg": "ES256", "kid": key.kid}).encode())
    text = json.dumps(await good(ran))
    for payload in (
        b"", b"null", b"[]", b'"x"', b"7", b"{}", b"{", text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(),
        b'{"iss":"\xff"}', b'{"sub":"\\ud800"}', b'{"sub":1,"sub":"x"}', text.replace("{", '{"\\u0073ub":"x",').encode(),
        text.replace("1800000600", "NaN").encode(), text.replace("1800000600", "1e400").encode(),
        text.replace("1800000600", "9" * 400).encode(), b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ):  # fmt: skip
        message = f"{head}.{b64(payload)}"
        await refused(ran, f"{message}.{b64(key.sign(message.encode()))}", statuses=(401, 400))


@pytest.mark.attack("J-35", "J-37", "J-38")
@pytest.mark.parametrize(
    ("headers", "query", "statuses"),
    [
        ([("Authorization", "Bearer TOKEN"), ("Authorization", "Bearer TOKEN")], "", {400}),
        ([("Authorization", "Bearer TOKEN, Bearer TOKEN")], "", {400}),
        ([("Authorization", "Bearer")], "", {400, 401}),
        ([("Authorization", "Bearer ")], "", {400, 401}),
        ([("Authorization", "Bearer  TOKEN")], "", {400}),
        ([("Authorization", "Bearer\tTOKEN")], "", {400, 401}),
        ([("Authorization", "BearerTOKEN")], "", {400, 401}),
        ([("Authorization", "Basic Og==")], "", {401}),
        ([("Authorization", "Bearer TOKEN")], "access_token=TOKEN", {400}),
        ([], "access_token=TOKEN", {401}),
        ([("Cookie", "access_token=TOKEN; __Host-watchword=TOKEN")], "", {401}),
        ([("Authorization", b"Bearer \xff\xfe")], "", {400}),
        ([("Authorization", "Bearer " + "a" * 65_000)], "", {401}),
    ],
)
async def test_the_token_in_odd_places(ran, headers, query, statuses):
    token = (await ran.login())["access_token"]
    told = [(k, v.replace("TOKEN", token) if isinstance(v, str) else v) for k, v in headers]
    answer = await ran.http.post(f"/count?{query.replace('TOKEN', token)}", headers=told)
    assert answer.status_code in statuses and ran.calls == []


@pytest.mark.attack("J-37")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_scheme_has_no_case(ran, scheme):
    token = (await ran.login())["access_token"]
    answer = await ran.http.post("/count", headers={"Authorization": f"{scheme} {token}"})
    assert answer.status_code == 200


@pytest.mark.attack("J-36", "J-44", "J-45", "J-46")
async def test_no_mutant_gets_in_or_raises(ran, caplog):
    token = (await ran.login())["access_token"]
    chance = random.Random(7)
    alphabet = "ABCDabcd0189-_.=+/"
    for _ in range(600):
        text = list(token)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            match chance.randrange(3):
                case 0:
                    text[at] = chance.choice(alphabet)
                case 1:
                    del text[at]
                case _:
                    text.insert(at, chance.choice(alphabet))
        if (mutant := "".join(text)) != token:
            answer = await ran.get("/guarded", mutant)
            assert answer.status_code in (400, 401)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert all("\n" not in record.getMessage() for record in caplog.records)

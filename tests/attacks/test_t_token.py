"""Rows T of the attack catalogue: the token endpoint and the clients that speak to it."""

import asyncio
import base64
import socket

import pytest

from watchword.crypto.secrets import digest, fresh

WRONG = "Client authentication failed."


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


EVERY_GRANT = [
    {"grant_type": "client_credentials"},
    {"grant_type": "refresh_token", "refresh_token": "wwr_x"},
    {"grant_type": "password", "username": "johndoe", "password": "secret"},
]
ALL = {"client_credentials", "refresh_token", "password"}


@pytest.mark.attack("T-01")
@pytest.mark.parametrize("form", EVERY_GRANT)
async def test_a_confidential_client_must_authenticate_for_every_grant(server, refused, form):
    await server.add_client("job", grants=ALL)
    with server.unchanged():
        bare = await server.post("/token", {**form, "client_id": "job"})
        empty = await server.post("/token", {**form, "client_id": "job", "client_secret": ""})
        header = await server.post("/token", form, headers=basic("job", ""))
    for answer in (bare, empty, header):
        refused(answer, 401, "invalid_client")
    assert "www-authenticate" not in bare.headers
    assert header.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.attack("T-01")
async def test_no_client_at_all_has_no_client_credentials(server, refused):
    with server.unchanged():
        refused(
            await server.post("/token", {"grant_type": "client_credentials"}),
            400,
            "unauthorized_client",
        )


@pytest.mark.attack("T-02")
async def test_only_the_very_secret_opens(server, refused):
    _, secret = await server.add_client("job")
    form = {"grant_type": "client_credentials"}
    wrong = (secret[:-1], secret + "x", secret.swapcase(), f" {secret}", digest(secret), "0" * 64)
    with server.unchanged():
        for guess in wrong:
            by_header = await server.post("/token", form, headers=basic("job", guess))
            refused(by_header, 401, "invalid_client")
            assert by_header.headers["www-authenticate"] == 'Basic realm="watchword"'
            by_form = {**form, "client_id": "job", "client_secret": guess}
            refused(await server.post("/token", by_form), 401, "invalid_client")
        assert (await server.post("/token", form, headers=basic("job", secret))).is_success


@pytest.mark.attack("T-02")
async def test_two_secrets_overlap_until_the_older_is_taken_away(server, refused):
    _, old = await server.add_client("job")
    new = fresh("gs")
    form = {"grant_type": "client_credentials"}

    async def works(secret: str) -> bool:
        return (await server.post("/token", form, headers=basic("job", secret))).is_success

    assert not await works(new.clear)
    store, now = server.auth.store, server.clock()
    both, alone = (new.digest, digest(old)), (new.digest,)
    assert await store.set_client_secrets("job", both, now, instead_of=(digest(old),))
    assert await works(old)
    assert await works(new.clear)
    assert not await store.set_client_secrets("job", (), now, instead_of=(digest(old),))
    assert await store.set_client_secrets("job", alone, now, instead_of=both)
    assert not await works(old)
    assert await works(new.clear)


@pytest.mark.attack("T-03")
async def test_two_methods_at_once_are_none(server, refused):
    _, secret = await server.add_client("job")
    form = {"grant_type": "client_credentials"}
    header = basic("job", secret)["Authorization"]
    with server.unchanged():
        both = await server.post(
            "/token",
            {**form, "client_id": "job", "client_secret": secret},
            headers=basic("job", secret),
        )
        lone = await server.post(
            "/token", {**form, "client_secret": secret}, headers=basic("job", secret)
        )
        twice = await server.http.post(
            "/token", data=form, headers=[("Authorization", header), ("Authorization", header)]
        )
        mixed = await server.http.post(
            "/token", data=form, headers=[("Authorization", "Bearer x"), ("Authorization", header)]
        )
        for answer in (both, lone, twice, mixed):
            refused(answer, 400, "invalid_request")
        joined = await server.post("/token", form, headers={"Authorization": f"{header}, {header}"})
        refused(joined, 401, "invalid_client")


@pytest.mark.attack("T-04")
async def test_basic_is_decoded_as_the_appendix_says(server):
    """RFC 6749 appendix B: both halves are form-encoded before they are joined."""
    from watchword.rules.clients import Client
    from watchword.rules.scopes import Scopes

    secret = "a:b%c+d e\u00e9"
    client = Client(
        id="odd",
        name="odd",
        auth_method="client_secret_basic",
        grants=frozenset({"client_credentials"}),
        scopes=Scopes(["items"]),
        secrets=(digest(secret),),
    )
    assert await server.auth.store.add_client(client, server.clock())
    form = {"grant_type": "client_credentials"}
    for spelt in ("a%3Ab%25c%2Bd+e%C3%A9", "a:b%25c%2Bd%20e\u00e9", "%61%3ab%25c%2bd+e%c3%a9"):
        assert (await server.post("/token", form, headers=basic("%6fdd", spelt))).is_success
    for scheme in ("basic", "BASIC", "bAsIc"):
        header = basic("odd", "a%3Ab%25c%2Bd+e%C3%A9")["Authorization"].partition(" ")[2]
        answer = await server.post("/token", form, headers={"Authorization": f"{scheme} {header}"})
        assert answer.is_success


@pytest.mark.attack("T-04")
@pytest.mark.parametrize(
    "junk",
    [
        "",
        "=",
        "!!!!",
        "am9i",  # no colon
        "am9iOg=",  # broken padding
        "\u00e9",
        "//86//8=",  # not UTF-8
        base64.b64encode(b"%ff:%fe").decode(),  # not UTF-8 once decoded
        base64.b64encode(b"job\0:x").decode(),
        "A" * 200_000,
        "am9iOng= am9iOng=",
    ],
)
async def test_basic_junk_is_a_plain_refusal(server, refused, junk):
    with server.unchanged():
        answer = await server.http.post(
            "/token",
            data={"grant_type": "client_credentials"},
            headers=[(b"Authorization", b"Basic " + junk.encode("latin-1"))],
        )
    refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"] == 'Basic realm="watchword"'


NEVER_IN_A_URL = [
    "client_secret", "password", "refresh_token", "code", "client_assertion", "token", "%70assword"
]  # fmt: skip


@pytest.mark.attack("T-05", "L-34")
@pytest.mark.parametrize(
    "path", ["/token", "/refresh-token", "/revoke", "/introspect", "/revoke-token"]
)
async def test_a_secret_in_the_url_is_refused_and_not_logged(server, refused, caplog, path):
    caplog.set_level(0)
    form = {"username": "johndoe", "password": "secret", "token": "x", "refresh_token": "x"}
    with server.unchanged():
        for name in NEVER_IN_A_URL:
            url = f"{path}?{name}=CANARY"
            refused(await server.post(url, form), 400, "invalid_request")
            bearer = await server.http.post(url, headers={"Authorization": "Bearer CANARY"})
            refused(bearer, 400, "invalid_request")
    ours = [record for record in caplog.records if record.name.startswith("watchword")]
    assert "CANARY" not in repr([vars(record) for record in ours])


@pytest.mark.attack("T-06")
async def test_one_client_per_request(server, refused):
    _, secret = await server.add_client("job")
    await server.add_client("other")
    form = {"grant_type": "client_credentials", "client_id": "other"}
    with server.unchanged():
        refused(
            await server.post("/token", form, headers=basic("job", secret)), 400, "invalid_request"
        )
    same = {**form, "client_id": "job"}
    assert (await server.post("/token", same, headers=basic("job", secret))).is_success


@pytest.mark.attack("T-07")
async def test_a_client_uses_the_method_it_registered(server, refused):
    form = {"grant_type": "client_credentials"}
    _, by_header = await server.add_client("header", auth_method="client_secret_basic")
    _, by_form = await server.add_client("form", auth_method="client_secret_post")
    await server.add_client("open", auth_method="none", secret=False, grants={"refresh_token"})
    token = await server.grant_for("open")
    with server.unchanged():
        for answer in (
            await server.post(
                "/token", {**form, "client_id": "header", "client_secret": by_header}
            ),
            await server.post("/token", form, headers=basic("form", by_form)),
            await server.post("/token", {**form, "client_id": "header"}),
            await server.refresh(token, client_id="open", client_secret="anything"),
            await server.post("/token", form, headers=basic("watchword", "guess")),
        ):
            refused(answer, 401, "invalid_client")
    assert (await server.post("/token", form, headers=basic("header", by_header))).is_success
    assert (await server.refresh(token, client_id="open")).is_success


@pytest.mark.attack("T-08")
async def test_an_unknown_client_and_a_wrong_secret_look_and_cost_the_same(
    server, refused, hashed, monkeypatch
):
    from watchword.endpoints import client_auth

    compared: list[int] = []
    real = client_auth.same
    monkeypatch.setattr(client_auth, "same", lambda a, b: compared.append(1) or real(a, b))
    await server.add_client("job")
    answers = []
    for name in ("job", "nobody", "x" * 3000):
        compared.clear()
        form = {"grant_type": "client_credentials"}
        answers.append(await server.post("/token", form, headers=basic(name, "guess")))
        assert len(compared) == 1
        refused(answers[-1], 401, "invalid_client")
    assert len({(a.status_code, a.text, repr(sorted(a.headers.items()))) for a in answers}) == 1
    assert hashed == []


@pytest.mark.attack("T-09")
async def test_guessing_secrets_is_throttled_and_the_honest_client_is_served(build):
    server = build(limit_token="30 + 1/min", env="production", issuer="https://id.example.com")
    await server.auth.start()
    _, secret = await server.add_client("job")
    form = {"grant_type": "client_credentials"}
    seen: dict[int, int] = {}
    for turn in range(200):
        server.come_from("203.0.113.9")
        answer = await server.post("/token", form, headers=basic("job", f"guess{turn}"))
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
    assert seen == {401: 30, 429: 170}
    server.come_from("198.51.100.1")
    assert (await server.post("/token", form, headers=basic("job", secret))).is_success


@pytest.mark.attack("T-14", "T-33")
@pytest.mark.parametrize("form", EVERY_GRANT)
async def test_a_client_that_is_off_or_gone_gets_nothing(server, refused, form):
    _, secret = await server.add_client("job", grants=ALL)
    await server.post("/token", form, headers=basic("job", secret))  # so that it is known
    await server.auth.store.set_client_disabled("job", server.clock(), disabled=True)
    with server.unchanged():
        off = await server.post("/token", form, headers=basic("job", secret))
        never = await server.post("/token", form, headers=basic("ghost", secret))
    assert await server.auth.store.remove_client("job", server.clock())
    gone = await server.post("/token", form, headers=basic("job", secret))
    for answer in (off, never, gone):
        refused(answer, 401, "invalid_client")
    assert off.text == never.text == gone.text


@pytest.mark.attack("T-33")
async def test_a_deleted_machine_client_loses_its_tokens_at_once(server):
    _, secret = await server.add_client("job", scopes="me")
    form = {"grant_type": "client_credentials"}
    token = (await server.post("/token", form, headers=basic("job", secret))).json()["access_token"]
    assert (await server.get("/guarded", token)).is_success
    await server.auth.store.remove_client("job", server.clock())
    assert (await server.get("/guarded", token)).status_code == 401


@pytest.mark.attack("T-28")
@pytest.mark.parametrize(
    ("grant_type", "code"),
    [
        (None, "invalid_request"),
        ("", "invalid_request"),
        ("implicit", "unsupported_grant_type"),
        ("__proto__", "unsupported_grant_type"),
        ("constructor", "unsupported_grant_type"),
        ("Password", "unsupported_grant_type"),
        ("password ", "unsupported_grant_type"),
        ("urn:example:none", "unsupported_grant_type"),
        ("\u202epassword", "unsupported_grant_type"),
    ],
)
async def test_grant_types_are_a_closed_list(server, refused, grant_type, code):
    form = {} if grant_type is None else {"grant_type": grant_type}
    with server.unchanged():
        refused(await server.post("/token", {**form, "scope": "me"}), 400, code)


@pytest.mark.attack("T-28")
@pytest.mark.parametrize("form", EVERY_GRANT)
async def test_a_client_has_the_grant_types_it_registered(server, refused, form):
    _, secret = await server.add_client("job", grants={"nothing"})
    with server.unchanged():
        answer = await server.post("/token", form, headers=basic("job", secret))
    refused(answer, 400, "unauthorized_client")


@pytest.mark.attack("T-29", "V-05", "L-34")
@pytest.mark.parametrize(
    "path", ["/token", "/refresh-token", "/revoke", "/introspect", "/revoke-token", "/auth/token"]
)
async def test_one_verb(server, refused, path):
    with server.unchanged():
        for verb in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HELPER", "post"):
            answer = await server.http.request(
                verb, path, headers={"X-HTTP-Method-Override": "POST", "X-Method-Override": "POST"}
            )
            if answer.request.method == "POST":
                continue  # the client library made a POST of it
            assert answer.headers["allow"] == "POST"
            if verb == "HEAD":
                assert (answer.status_code, answer.content) == (405, b"")
            else:
                refused(answer, 405, "invalid_request")


@pytest.mark.attack("T-32")
async def test_a_client_speaks_for_itself_and_no_further(server, refused):
    form = {"grant_type": "client_credentials"}
    _, secret = await server.add_client("job", scopes="items")
    await server.add_client("open", auth_method="none", secret=False)
    header = basic("job", secret)
    with server.unchanged():
        public = await server.post("/token", {**form, "client_id": "open"})
        refused(public, 400, "unauthorized_client")
        for scope in ("me", "items me", "openid", "offline_access", "ITEMS", "items:read"):
            answer = await server.post("/token", {**form, "scope": scope}, headers=header)
            refused(answer, 400, "invalid_scope")
        target = {**form, "resource": "https://other.example.com"}
        refused(await server.post("/token", target, headers=header), 400, "invalid_target")
        good = (await server.post("/token", form, headers=header)).json()
    assert set(good) == {"access_token", "token_type", "expires_in", "scope"}
    assert good["scope"] == "items"


@pytest.mark.attack("T-34")
async def test_good_answers_are_never_kept(server):
    answer = await server.post("/token", {"username": "johndoe", "password": "secret"})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 600, "me items")


@pytest.mark.attack("T-34")
@pytest.mark.parametrize(
    "form",
    [
        {"grant_type": "CANARY"},
        {"username": "CANARY", "password": "CANARY"},
        {"username": "johndoe", "password": "secret", "scope": "CANARY"},
        {"grant_type": "refresh_token", "refresh_token": "CANARY"},
        {"grant_type": "refresh_token", "refresh_token": "x", "scope": "CANARY<script>"},
        {"grant_type": "client_credentials", "client_id": "CANARY", "client_secret": "CANARY"},
        {
            "grant_type": "client_credentials",
            "client_id": "job",
            "client_secret": "",
            "scope": "CANARY",
        },
    ],
)
async def test_no_refusal_repeats_what_was_sent(server, form):
    await server.add_client("job")
    with server.unchanged():
        answer = await server.post("/token", form)
    assert 400 <= answer.status_code < 500
    assert "CANARY" not in answer.text
    assert "CANARY" not in repr(answer.headers)
    assert answer.text.isascii()


@pytest.mark.attack("T-36")
async def test_ten_thousand_tokens_are_unique_and_in_no_order(build):
    auth = build().auth
    at = auth._bench
    tokens = [
        at.refresh_tokens.first(at.fresh(16), at.fresh(16), "watchword")[0].clear
        for _ in range(10_000)
    ]
    assert len(set(tokens)) == 10_000
    assert all(token.startswith("wwr_") for token in tokens)
    rising = sum(a < b for a, b in zip(tokens, tokens[1:], strict=False))
    assert 4_500 < rising < 5_500
    secrets = [fresh("gs").clear for _ in range(10_000)]
    assert len(set(secrets)) == 10_000
    assert all(secret.startswith("gs_") for secret in secrets)


@pytest.mark.attack("T-36")
async def test_every_access_token_has_a_name_of_128_bits(build):
    server = build(limit_token="off")
    await server.auth.start()
    _, secret = await server.add_client("job", scopes="items")
    names = set()
    for _ in range(200):
        answer = await server.post(
            "/token", {"grant_type": "client_credentials"}, headers=basic("job", secret)
        )
        token = answer.json()["access_token"]
        payload = token.split(".")[1]
        import json

        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        names.add(claims["jti"])
        assert len(base64.urlsafe_b64decode(claims["jti"] + "==")) == 16
    assert len(names) == 200


@pytest.mark.attack("T-38")
async def test_unknown_parameters_steer_nothing(server, monkeypatch):
    tokens = await server.login()  # whatever it connects to it has connected to
    dialled: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: dialled.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: dialled.append(args))
    answer = await server.refresh(
        tokens["refresh_token"],
        client_session_host="http://169.254.169.254/",
        jwks_uri="http://169.254.169.254/",
        request_uri="file:///etc/passwd",
        redirect_uri="http://127.0.0.1/",
        sub="u_alice",
        iss="https://evil.example.com",
    )
    assert answer.is_success
    claims = (await server.get("/token-claims", answer.json()["access_token"])).json()
    assert claims["sub"] == "u_johndoe"
    assert dialled == []


@pytest.mark.attack("T-42")
async def test_parameters_of_one_grant_mean_nothing_to_another(server):
    tokens = await server.login()
    _, secret = await server.add_client("job", scopes="items")
    foreign = {
        "refresh_token": tokens["refresh_token"],
        "username": "johndoe",
        "password": "secret",
        "device_code": "x",
    }
    with server.unchanged():
        own = await server.post(
            "/token", {"grant_type": "client_credentials", **foreign}, headers=basic("job", secret)
        )
    assert "refresh_token" not in own.json()
    claims = (await server.get("/token-claims", own.json()["access_token"])).json()
    assert claims["sub"] == "job"
    again = await server.refresh(tokens["refresh_token"], username="alice", password="x", code="y")
    claims = (await server.get("/token-claims", again.json()["access_token"])).json()
    assert claims["sub"] == "u_johndoe"


@pytest.mark.attack("T-43")
async def test_random_secrets_cost_no_password_hash(server, hashed):
    tokens = await server.login()
    assert len(hashed) == 1
    _, secret = await server.add_client("job")
    token = tokens["refresh_token"]
    for _ in range(50):
        token = (await server.refresh(token)).json()["refresh_token"]
        await server.post(
            "/token", {"grant_type": "client_credentials"}, headers=basic("job", secret)
        )
    await server.post("/introspect", {"token": token}, headers=basic("job", secret))
    assert len(hashed) == 1


@pytest.mark.attack("T-37")
@pytest.mark.parametrize(
    "grant_type",
    [
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
    ],
)
async def test_grants_that_are_off_are_not_there(server, refused, grant_type):
    form = {"grant_type": grant_type, "assertion": "e30.e30.", "subject_token": "x"}
    with server.unchanged():
        refused(await server.post("/token", form), 400, "unsupported_grant_type")


@pytest.mark.attack("T-41")
async def test_a_thing_of_one_kind_never_answers_for_another(server):
    store, now = server.auth.store, server.clock()
    kinds = ["code", "par", "device_code", "user_code", "reset", "consent", "jti", "recovery"]
    for kind in kinds:
        await store.put_once(kind, b"same key", kind, now + 60)
    for kind in kinds:
        assert await store.take_once(kind.upper(), b"same key", now) is None
        assert await store.take_once(f"{kind} ", b"same key", now) is None
    taken = await asyncio.gather(*(store.take_once("code", b"same key", now) for _ in range(50)))
    assert sorted(taken, key=str) == [None] * 49 + ["code"] or taken.count("code") == 1
    for kind in kinds[1:]:
        assert await store.take_once(kind, b"same key", now) == kind
        assert await store.take_once(kind, b"same key", now) is None

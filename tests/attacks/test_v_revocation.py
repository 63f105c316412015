"""Rows V of the attack catalogue: revocation and introspection (RFC 7009, RFC 7662)."""

import base64

import pytest

JUNK = [
    "x" * 50_000, "\0", "a\0b", "\u00e9", "null", '{"a":1}', "e30.e30.", "..", "wwr_", "wwr_" + "A" * 70,
    "%00", "' OR 1=1", "<script>alert(1)</script>", " ", "\U0001f511",
]  # fmt: skip


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


async def lives(server, tokens: dict) -> tuple[bool, bool]:
    guarded = await server.get("/guarded", tokens["access_token"])
    refreshed = await server.refresh(tokens["refresh_token"])
    if refreshed.is_success:
        tokens["refresh_token"] = refreshed.json()["refresh_token"]
    return guarded.is_success, refreshed.is_success


async def watcher(server, *resources: str) -> dict[str, str]:
    _, secret = await server.add_client("watcher", introspects=resources)
    return basic("watcher", secret)


@pytest.mark.attack("V-02")
async def test_a_confidential_client_must_authenticate_to_revoke(server, refused):
    _, secret = await server.add_client("job", grants={"refresh_token"})
    token = await server.grant_for("job")
    with server.unchanged():
        for form in (
            {"client_id": "job"},
            {"client_id": "job", "client_secret": ""},
            {"client_id": "job", "client_secret": "guess"},
            {"client_id": "nobody"},
        ):
            answer = await server.post("/revoke", {"token": token, **form})
            refused(answer, 401, "invalid_client")
        assert (await server.post("/revoke", {"token": token})).status_code == 200  # not its own
    assert (await server.post("/revoke", {"token": token}, headers=basic("job", secret))).is_success
    refused(
        await server.refresh(token, client_id="job", client_secret=secret), 400, "invalid_grant"
    )


@pytest.mark.attack("V-02")
async def test_a_public_client_revokes_its_own_tokens_only(server):
    for name in ("one", "two"):
        await server.add_client(name, auth_method="none", secret=False, grants={"refresh_token"})
    token = await server.grant_for("one")
    first = await server.login()
    with server.unchanged():
        for foreign in (token, first["refresh_token"], first["access_token"]):
            answer = await server.post("/revoke", {"token": foreign, "client_id": "two"})
            assert (answer.status_code, answer.json()) == (200, {})
    assert (await server.post("/revoke", {"token": token, "client_id": "one"})).is_success
    assert not (await server.refresh(token, client_id="one")).is_success
    assert await lives(server, first) == (True, True)


@pytest.mark.attack("V-03")
@pytest.mark.parametrize(
    "hint", [None, "", "access_token", "refresh_token", "id_token", "\0", "x" * 999]
)
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_hints_are_only_hints(server, hint, kind):
    tokens = await server.login()
    form = {"token": tokens[kind], **({} if hint is None else {"token_type_hint": hint})}
    answer = await server.post("/revoke", form)
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["cache-control"] == "no-store"
    assert await lives(server, tokens) == (False, False)


@pytest.mark.attack("V-04")
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("path", ["/revoke", "/auth/revoke"])
async def test_the_whole_grant_ends_and_no_other(server, kind, path):
    ended, kept = await server.login(), await server.login()
    newer = (await server.refresh(ended["refresh_token"])).json()
    await server.post(path, {"token": newer[kind]})
    for tokens in (ended, newer):
        assert await lives(server, tokens) == (False, False)
    assert await lives(server, kept) == (True, True)
    assert [event.what for event in server.told("token.revoked")] == ["grant"]
    with server.unchanged():
        assert (await server.post(path, {"token": newer[kind]})).status_code == 200
    assert len(server.told("token.revoked")) == 1


@pytest.mark.attack("V-04")
async def test_a_spent_refresh_token_still_logs_out(server):
    old = await server.login()
    new = (await server.refresh(old["refresh_token"])).json()
    server.clock.tick(3600)
    await server.post("/revoke", {"token": old["refresh_token"]})
    assert not (await server.refresh(new["refresh_token"])).is_success


@pytest.mark.attack("V-04")
async def test_a_machines_token_is_revoked_by_its_name(server):
    _, secret = await server.add_client("job", scopes="me")
    form, header = {"grant_type": "client_credentials"}, basic("job", secret)
    one, two = [
        (await server.post("/token", form, headers=header)).json()["access_token"] for _ in range(2)
    ]
    for _ in range(2):
        assert (await server.post("/revoke", {"token": one}, headers=header)).status_code == 200
    assert (await server.get("/guarded", one)).status_code == 401
    assert (await server.get("/guarded", two)).is_success
    assert [event.what for event in server.told("token.revoked")] == ["token"]


@pytest.mark.attack("V-05")
async def test_no_jsonp(server):
    tokens = await server.login()
    for answer in (
        await server.post("/revoke?callback=evil", {"token": "x", "callback": "evil"}),
        await server.post("/revoke", {"token": tokens["access_token"], "callback": "evil"}),
    ):
        assert "evil" not in answer.text
        assert answer.headers["content-type"] == "application/json"
    assert (await server.get("/revoke?callback=evil&token_type_hint=x")).status_code == 405


@pytest.mark.attack("V-06", "V-08", "S-08")
async def test_junk_is_no_error_and_no_oracle(server):
    header = await watcher(server, server.auth.settings.audience)
    with server.unchanged():
        for token in JUNK:
            answer = await server.post("/revoke", {"token": token})
            assert (answer.status_code, answer.json()) == (200, {}), token
            answer = await server.post("/introspect", {"token": token}, headers=header)
            assert (answer.status_code, answer.json()) == (200, {"active": False}), token
        giant = {"token": "x" * 1_000_000}
        assert (await server.post("/revoke", giant)).status_code == 413
        assert (await server.post("/introspect", giant, headers=header)).status_code == 413


async def test_the_token_itself_must_come(server, refused):
    header = await watcher(server)
    for form in ({"x": "y"}, {"token": ""}):
        refused(await server.post("/revoke", form), 400, "invalid_request")
        refused(await server.post("/introspect", form, headers=header), 400, "invalid_request")


# --- the tutorial's logout ---


@pytest.mark.attack("V-04")
async def test_the_bearer_of_this_request_ends_with_its_grant(server):
    tokens, kept = await server.login(), await server.login()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    answer = await server.http.post("/revoke-token", headers=bearer)
    assert (answer.status_code, answer.json()) == (200, {"detail": "Token revoked"})
    again = await server.http.post("/revoke-token", headers=bearer)
    assert again.status_code == 401
    assert again.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert await lives(server, tokens) == (False, False)
    assert await lives(server, kept) == (True, True)


@pytest.mark.attack("V-02", "J-37")
@pytest.mark.parametrize(
    ("header", "status"),
    [(None, 401), ("Basic Og==", 401), ("Bearer", 400), ("Bearer ", 400), ("Bearer  x", 400),
     ("Bearer x", 401), ("bearer x.y.z", 401), ("Bearer x, Bearer y", 400), ("Bearer \u00e9", 400)],
)  # fmt: skip
async def test_logout_needs_one_good_bearer(server, header, status):
    headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
    with server.unchanged():
        answer = await server.http.post("/revoke-token", headers=headers)
        body = await server.post("/revoke-token", {"access_token": "x"})
    assert answer.status_code == status
    assert answer.headers["cache-control"] == "no-store"
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert body.status_code == 401


# --- introspection ---


@pytest.mark.attack("V-07")
async def test_who_is_not_a_confidential_client_learns_nothing(server, refused):
    tokens = await server.login()
    await watcher(server, server.auth.settings.audience)
    await server.add_client("open", auth_method="none", secret=False)
    form = {"token": tokens["access_token"]}
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    with server.unchanged():
        for answer in (
            await server.post("/introspect", form),
            await server.post("/introspect", form, headers=bearer),
            await server.post("/introspect", {**form, "client_id": "open"}),
            await server.post("/introspect", {**form, "client_id": "watchword"}),
            await server.post("/introspect", {**form, "client_id": "watcher"}),
            await server.post("/introspect", form, headers=basic("watcher", "guess")),
            await server.post("/auth/introspect", form),
        ):
            refused(answer, 401, "invalid_client")


@pytest.mark.attack("V-08", "V-09", "V-10")
async def test_everything_one_may_not_know_has_one_answer(server):
    """Unknown, malformed, expired, revoked, foreign, spent: the same bytes, the same headers."""
    audience = server.auth.settings.audience
    header = await watcher(server, audience)
    _, other = await server.add_client("other", resources=("https://other.example.com",))
    expired = await server.login()
    server.clock.tick(700)
    revoked, spent, good = [await server.login() for _ in range(3)]
    await server.post("/revoke", {"token": revoked["refresh_token"]})
    await server.refresh(spent["refresh_token"])
    foreign = await server.post(
        "/token", {"grant_type": "client_credentials"}, headers=basic("other", other)
    )
    swapped = ".".join(
        [*good["access_token"].split(".")[:2], revoked["access_token"].split(".")[2]]
    )
    asked = [
        expired["access_token"],
        revoked["access_token"],
        foreign.json()["access_token"],
        swapped,
        spent["refresh_token"],
        good["refresh_token"],  # of another client
        "unknown",
        "a.b.c",
    ]
    answers = [await server.post("/introspect", {"token": t}, headers=header) for t in asked]
    assert {answer.text for answer in answers} == {'{"active":false}'}
    assert len({repr(sorted(answer.headers.items())) for answer in answers}) == 1
    active = await server.post("/introspect", {"token": good["access_token"]}, headers=header)
    assert active.json()["active"] is True
    assert active.headers["cache-control"] == "no-store"


@pytest.mark.attack("V-08")
async def test_introspection_is_limited(build):
    server = build(limit_token="5 + 1/min", env="production", issuer="https://id.example.com")
    await server.auth.start()
    header = await watcher(server)
    codes = [
        (await server.post("/introspect", {"token": str(n)}, headers=header)).status_code
        for n in range(8)
    ]
    assert codes == [200] * 5 + [429] * 3


@pytest.mark.attack("V-09")
async def test_an_answer_holds_the_token_and_nothing_of_the_person(server):
    audience = server.auth.settings.audience
    header = await watcher(server, audience)
    tokens = await server.login(scope="me")
    form = {"token": tokens["access_token"]}
    told = (await server.post("/introspect", form, headers=header)).json()
    assert set(told) == {
        "active", "token_type", "iss", "sub", "aud", "client_id", "scope", "jti", "iat", "exp",
        "auth_time",
    }  # fmt: skip
    assert (told["sub"], told["scope"], told["aud"]) == ("u_johndoe", "me", [audience])
    assert "johndoe@example.com" not in str(told)


@pytest.mark.attack("V-09", "V-10")
async def test_a_client_may_know_its_own_tokens(server):
    _, secret = await server.add_client("job", grants={"refresh_token", "client_credentials"})
    header, token = basic("job", secret), await server.grant_for("job", scopes="me items")
    told = (await server.post("/introspect", {"token": token}, headers=header)).json()
    assert set(told) == {"active", "client_id", "sub", "scope", "exp", "iat", "iss"}
    assert (told["active"], told["client_id"], told["scope"]) == (True, "job", "me items")
    fresh = (await server.refresh(token, client_id="job", client_secret=secret)).json()
    for spent, expected in ((token, False), (fresh["refresh_token"], True)):
        told = (await server.post("/introspect", {"token": spent}, headers=header)).json()
        assert told["active"] is expected
    await server.auth.store.set_disabled("u_johndoe", server.clock(), disabled=True)
    for dead in (fresh["refresh_token"], fresh["access_token"]):
        told = (await server.post("/introspect", {"token": dead}, headers=header)).json()
        assert told == {"active": False}


@pytest.mark.attack("V-11")
async def test_who_revokes_need_not_know_how_long_tokens_live(build, kept_url):
    """The command line, or a server whose setting was shortened since, revokes for good."""
    long = build(database_url=kept_url, access_ttl="24h")
    await long.auth.start()
    await long.add_user("johndoe")
    token = (await long.login())["access_token"]
    short = build(database_url=kept_url, access_ttl="30s", now=long.clock)
    await short.auth.start()
    assert (await long.get("/guarded", token)).is_success
    await short.auth.store.set_disabled("u_johndoe", long.clock(), disabled=True)
    await long.hear()
    for _ in range(23):
        assert (await long.get("/guarded", token)).status_code == 401
        assert (await short.get("/guarded", token)).status_code == 401
        long.clock.tick(3600)
        await short.auth.store.sweep(long.clock())
        await short.add_user(f"another{long.clock()}")  # a commit: guards look, and forget
    anew = build(database_url=kept_url, access_ttl="24h", now=long.clock)
    await anew.auth.start()
    assert (await anew.get("/guarded", token)).status_code == 401


@pytest.mark.attack("V-11")
async def test_what_was_active_a_moment_ago_is_looked_at_again(server):
    """The cache of verified tokens is judged anew: scope, revocation, expiry."""
    header = await watcher(server, server.auth.settings.audience)
    tokens = await server.login(scope="items")

    async def active() -> bool:
        form = {"token": tokens["access_token"]}
        return (await server.post("/introspect", form, headers=header)).json()["active"]

    for _ in range(3):
        assert await active()
        assert (await server.get("/guarded", tokens["access_token"])).status_code == 403
    assert (await server.get("/users/me/items", tokens["access_token"])).is_success
    await server.post("/revoke", {"token": tokens["access_token"]})
    assert not await active()
    assert (await server.get("/users/me/items", tokens["access_token"])).status_code == 401
    tokens = await server.login()
    server.clock.tick(629)
    assert await active()
    server.clock.tick(1)
    assert not await active()
    assert (await server.get("/guarded", tokens["access_token"])).status_code == 401

"""The refresh exchange: one lineage, whatever clients do; rows T-15 to T-24, T-39 and T-40."""

import asyncio
import base64

import pytest

REFUSED = "The refresh token is not valid."


async def works(server, token: str, **more: str) -> bool:
    return (await server.refresh(token, **more)).is_success


async def lives(server, tokens: dict) -> bool:
    return (await server.get("/guarded", tokens["access_token"])).is_success


async def test_a_refresh_gives_a_successor_and_a_new_access_token(server):
    old = await server.login(scope="me items")
    server.clock.tick(100)
    new = (await server.refresh(old["refresh_token"])).json()
    assert new["refresh_token"] != old["refresh_token"]
    assert new["access_token"] != old["access_token"]
    assert (new["scope"], new["expires_in"], new["token_type"]) == ("me items", 600, "Bearer")
    before = (await server.get("/token-claims", old["access_token"])).json()
    after = (await server.get("/token-claims", new["access_token"])).json()
    for kept in ("sub", "client_id", "aud", "iss", "fid", "auth_time", "scope"):
        assert before[kept] == after[kept]
    assert before["jti"] != after["jti"]
    assert after["iat"] == before["iat"] + 100


async def test_the_tutorials_path_takes_a_form_or_the_bearer(server):
    token = (await server.login())["refresh_token"]
    by_form = await server.post("/refresh-token", {"refresh_token": token})
    token = by_form.json()["refresh_token"]
    by_bearer = await server.http.post(
        "/refresh-token", headers={"Authorization": f"Bearer {token}"}
    )
    assert by_bearer.is_success
    other = await server.post(
        "/refresh-token",
        {"refresh_token": by_bearer.json()["refresh_token"], "grant_type": "password"},
    )
    assert other.is_success, "the path says which grant it is"


async def test_the_tutorials_path_refuses_what_is_neither(server, refused):
    refused(await server.http.post("/refresh-token"), 415, "invalid_request")
    refused(await server.post("/refresh-token", {"x": "y"}), 400, "invalid_request")
    for header in ("Bearer", "Bearer ", "Bearer not-a-token", "bearer  x"):
        answer = await server.http.post("/refresh-token", headers={"Authorization": header})
        assert answer.status_code in (400, 415)


@pytest.mark.attack("T-15")
async def test_another_client_can_neither_use_nor_end_a_grant(server, refused):
    tokens = await server.login()
    _, secret = await server.add_client("thief", grants={"refresh_token"})
    stolen = {"client_id": "thief", "client_secret": secret}
    with server.unchanged():
        for _ in range(5):
            refused(await server.refresh(tokens["refresh_token"], **stolen), 400, "invalid_grant")
            await server.post("/revoke", {"token": tokens["refresh_token"], **stolen})
            await server.post("/revoke", {"token": tokens["access_token"], **stolen})
    assert await lives(server, tokens)
    assert await works(server, tokens["refresh_token"])


@pytest.mark.attack("T-16", "J-28")
async def test_no_other_kind_of_token_refreshes(server, refused):
    tokens = await server.login()
    header, payload, _ = tokens["access_token"].split(".")
    kinds = [
        tokens["access_token"],
        f"{header}.{payload}.",
        "urn:ietf:params:oauth:request_uri:x",
        "wwr_",
        "wwa_x",
        "x" * 8192,
    ]
    with server.unchanged():
        for kind in kinds:
            refused(await server.refresh(kind), 400, "invalid_grant")
    assert (await server.get("/guarded", tokens["refresh_token"])).status_code == 401


@pytest.mark.attack("T-17")
async def test_scope_narrows_for_a_moment_and_never_widens(server, refused):
    tokens = await server.login(scope="me")
    with server.unchanged():
        for ask in ("me items", "items", "admin", "ME"):
            answer = await server.refresh(tokens["refresh_token"], scope=ask)
            refused(answer, 400, "invalid_scope")
    both = await server.login(scope="items me")
    narrow = (await server.refresh(both["refresh_token"], scope="me")).json()
    assert narrow["scope"] == "me"
    wide = (await server.refresh(narrow["refresh_token"], scope="me items")).json()
    assert wide["scope"] == "me items"
    assert (await server.refresh(wide["refresh_token"])).json()["scope"] == "items me"


@pytest.mark.attack("T-17", "L-35")
async def test_what_is_taken_from_a_person_is_taken_from_old_grants(server):
    tokens = await server.login(scope="me items")
    server.rows("UPDATE watchword_users SET scopes = 'me'")
    assert (await server.refresh(tokens["refresh_token"])).json()["scope"] == "me"


@pytest.mark.attack("T-19")
@pytest.mark.parametrize("kept", [pytest.param(False, marks=pytest.mark.sqlite), True])
async def test_fifty_at_once_make_one_lineage(build, kept_url, kept):
    server = build(database_url=kept_url) if kept else build()
    await server.auth.start()
    await server.add_user("johndoe")
    token = (await server.login())["refresh_token"]
    for _ in range(4):
        answers = await asyncio.gather(*(server.refresh(token) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        successors = {answer.json()["refresh_token"] for answer in answers}
        assert len(successors) == 1, "the same successor for everybody, never a sibling"
        old, token = token, successors.pop()
    assert len(server.rows("SELECT * FROM watchword_grants")) == 1
    server.clock.tick(31)
    assert not await works(server, old)
    assert not await works(server, token)


@pytest.mark.attack("T-19")
async def test_a_grant_that_two_parties_hold_ends_for_both(server, refused):
    tokens = await server.login()
    new = (await server.refresh(tokens["refresh_token"])).json()
    server.clock.tick(31)
    answers = await asyncio.gather(*(server.refresh(tokens["refresh_token"]) for _ in range(20)))
    for answer in answers:
        refused(answer, 400, "invalid_grant")
    assert len(server.told("refresh.reused")) == 1
    assert not await works(server, new["refresh_token"])
    assert not await lives(server, new)


@pytest.mark.attack("T-21")
async def test_two_generations_old_ends_the_grant_even_inside_the_window(server):
    first = await server.login()
    second = (await server.refresh(first["refresh_token"])).json()
    third = (await server.refresh(second["refresh_token"])).json()
    assert not await works(server, first["refresh_token"])
    assert not await works(server, third["refresh_token"])
    assert not await lives(server, third)


@pytest.mark.attack("T-21")
async def test_stale_tokens_taking_turns_advance_nothing(server):
    first = await server.login()
    second = (await server.refresh(first["refresh_token"])).json()
    for _ in range(10):
        again = (await server.refresh(first["refresh_token"])).json()
        assert again["refresh_token"] == second["refresh_token"]
    assert server.rows("SELECT generation FROM watchword_grants")[0][0] == 1
    await server.refresh(second["refresh_token"])
    assert not await works(server, first["refresh_token"])


@pytest.mark.attack("T-24")
async def test_a_restart_revives_no_spent_token(build, kept_url, refused):
    one = build(database_url=kept_url)
    await one.auth.start()
    await one.add_user("johndoe")
    old = await one.login()
    new = (await one.refresh(old["refresh_token"])).json()
    one.clock.tick(31)
    one.auth.close()
    two = build(database_url=kept_url, now=one.clock)
    refused(await two.refresh(old["refresh_token"]), 400, "invalid_grant")
    refused(await two.refresh(new["refresh_token"]), 400, "invalid_grant")
    assert not await lives(two, new)
    three = build(database_url=kept_url, now=one.clock)
    refused(await three.refresh(new["refresh_token"]), 400, "invalid_grant")


@pytest.mark.attack("K-07")
@pytest.mark.parametrize("jump", [-3600, -600, 3600])
async def test_a_clock_that_jumps_revives_no_spent_token(build, jump):
    server = build(limit_token="off")
    await server.auth.start()
    await server.add_user("johndoe")
    old = await server.login()
    new = (await server.refresh(old["refresh_token"])).json()
    server.clock.tick(jump)
    for token in (old, new):
        assert (await server.refresh(token["refresh_token"])).status_code == 400
    assert len(server.told("refresh.reused")) == 1


@pytest.mark.attack("K-07")
async def test_the_newest_token_survives_a_clock_that_jumps(build):
    server = build(limit_token="2 + 1/min")  # Redis forgets a bucket as soon as it is full again
    await server.auth.start()
    await server.add_user("johndoe")
    tokens = await server.login()
    server.clock.tick(-600)
    assert (await server.refresh(tokens["refresh_token"])).status_code == 429, "an empty bucket"
    server.clock.tick(60)  # and no emptier than that
    tokens = (await server.refresh(tokens["refresh_token"])).json()
    assert await lives(server, tokens)
    server.clock.tick(700)
    assert await works(server, tokens["refresh_token"])


@pytest.mark.attack("T-39", "A-50")
async def test_every_refusal_is_the_same(server, refused):
    """Garbage, forged, expired, foreign, revoked, reused: one answer for all of them."""
    revoked, reused, expired = [(await server.login())["refresh_token"] for _ in range(3)]
    await server.post("/revoke", {"token": revoked})
    await server.refresh((await server.refresh(reused)).json()["refresh_token"])
    _, _ = await server.add_client("other", grants={"refresh_token"})
    foreign = await server.grant_for("other")
    raw = bytearray(base64.urlsafe_b64decode(expired.removeprefix("wwr_") + "=="))
    forged = []
    for position in range(len(raw)):
        changed = raw.copy()
        changed[position] ^= 1
        forged.append("wwr_" + base64.urlsafe_b64encode(changed).decode().rstrip("="))
    spelt = [
        expired + "=",
        expired + "A",
        expired[:-1],
        expired.swapcase(),
        expired[4:],
        f" {expired}",
    ]
    server.clock.tick(31 * 86_400)
    tried = [revoked, reused, expired, foreign, *forged, *spelt, "x", "wwr_x", "null", "{}"]
    answers = [await server.refresh(token) for token in tried]
    for answer in answers:
        refused(answer, 400, "invalid_grant")
    assert {answer.text for answer in answers} == {answers[0].text}
    assert answers[0].json()["error_description"] == REFUSED


@pytest.mark.attack("A-50")
async def test_forged_tokens_cost_no_look_into_the_store(server, monkeypatch):
    """The MAC is checked first: knowing a grant's id (every access token tells it) is no use."""
    tokens = await server.login()
    fid = (await server.get("/token-claims", tokens["access_token"])).json()["fid"]
    looked: list[str] = []
    for name in ("grant", "rotate"):
        verb = getattr(server.auth.store, name)
        monkeypatch.setattr(
            server.auth.store, name, lambda *a, v=verb, **k: looked.append("") or v(*a, **k)
        )
    for generation in range(20):
        guess = bytes.fromhex(fid) + generation.to_bytes(4, "big") + bytes(32)
        await server.refresh("wwr_" + base64.urlsafe_b64encode(guess).decode().rstrip("="))
    assert not looked
    assert await works(server, tokens["refresh_token"])
    assert looked


@pytest.mark.attack("T-40", "V-10")
async def test_signed_out_everywhere_is_dead_everywhere(server):
    _, secret = await server.add_client("watcher", introspects=(server.auth.settings.audience,))
    asks = {"client_id": "watcher", "client_secret": secret}

    async def alive(tokens: dict) -> tuple[bool, bool]:
        told = await server.post("/introspect", {"token": tokens["access_token"], **asks})
        return await lives(server, tokens), told.json()["active"]

    for end in (
        lambda now: server.auth.store.revoke_user("u_johndoe", now),
        lambda now: server.auth.store.revoke_client("watchword", now),
        lambda now: server.auth.store.set_disabled("u_johndoe", now, disabled=True),
    ):
        tokens = await server.login()
        assert await alive(tokens) == (True, True)
        assert await end(server.clock())
        assert await alive(tokens) == (False, False)
        assert not await works(server, tokens["refresh_token"])
    assert await server.auth.store.set_disabled("u_johndoe", server.clock(), disabled=False)
    assert await alive(tokens) == (False, False), "enabling revives nothing"
    assert not await works(server, tokens["refresh_token"])
    assert await alive(await server.login()) == (True, True), "in the very same second"


@pytest.mark.attack("L-35", "L-26", "B-12")
async def test_an_embedders_user_who_is_gone_refreshes_no_more(build, refused):
    class People:
        """Somebody else's table of users."""

        def __init__(self) -> None:
            self.there = {}

        async def by_login(self, login):
            return next((a for a in self.there.values() if a.username == login), None)

        async def by_subject(self, subject):
            return self.there.get(subject)

        async def password_is(self, account, password):
            return account is not None and password == "secret"

    from watchword import Account
    from watchword.rules.scopes import Scopes

    people = People()
    server = build(users=people)
    people.there["u_1"] = Account("u_1", "johndoe", scopes=Scopes(["me"]))
    old = await server.login()
    del people.there["u_1"]
    refused(await server.refresh(old["refresh_token"]), 400, "invalid_grant")
    assert (await server.get("/users/me", old["access_token"])).status_code == 401
    # B-12: the same name again is another person
    people.there["u_2"] = Account("u_2", "johndoe", scopes=Scopes(["me"]))
    new = await server.login()
    assert (await server.get("/users/me", new["access_token"])).json()["sub"] == "u_2"
    refused(await server.refresh(old["refresh_token"]), 400, "invalid_grant")
    assert (await server.get("/users/me", old["access_token"])).status_code == 401
    people.there["u_2"] = Account("u_2", "johndoe", scopes=Scopes(["me"]), disabled=True)
    with server.unchanged():
        form = {"username": "johndoe", "password": "secret"}
        refused(await server.post("/token", form), 401, "invalid_grant")
        refused(await server.refresh(new["refresh_token"]), 400, "invalid_grant")
    assert (await server.get("/users/me", new["access_token"])).status_code == 401


async def test_idle_and_absolute_ends(server):
    token = (await server.login())["refresh_token"]
    for _ in range(3):
        server.clock.tick(29 * 86_400)
        token = (await server.refresh(token)).json()["refresh_token"]
    server.clock.tick(4 * 86_400)
    assert not await works(server, token), "90 days since the login"
    token = (await server.login())["refresh_token"]
    server.clock.tick(30 * 86_400 + 1)
    assert not await works(server, token), "30 days unused"


async def test_a_lost_tail_is_healed_and_told(server):
    """The database went back by some rotations: the newest token still works, and is told."""
    token = (await server.login())["refresh_token"]
    for _ in range(5):
        token = (await server.refresh(token)).json()["refresh_token"]
    server.rows("UPDATE watchword_grants SET generation = 1")
    token = (await server.refresh(token)).json()["refresh_token"]
    assert [event.generations for event in server.told("refresh.healed")] == [4]
    assert await works(server, token)


async def test_a_changed_server_secret_keeps_the_sessions_for_one_change(build, kept_url):
    one = build(database_url=kept_url)
    await one.auth.start()
    await one.add_user("johndoe")
    tokens = await one.login()
    one.auth.close()
    new = "qT8vWm2Xc5Yb7Zn4Kj9Lh3Gf6Ds1Ap0R"
    two = build(
        database_url=kept_url, now=one.clock, secret=new, secret_previous=one.auth.settings.secret
    )
    assert await lives(two, tokens)
    two.clock.tick(1)
    for alg in two.auth.signing.algorithms:  # sealed with the new secret
        await two.auth.signing.rotate(alg, at_once=True)
    assert await lives(two, tokens)
    tokens = (await two.refresh(tokens["refresh_token"])).json()
    two.auth.close()
    newest = "oP5rEw8Qa2Sd7Fg4Hj1Kl6Zx9Cv3Bn0M"
    three = build(database_url=kept_url, now=one.clock, secret=newest, secret_previous=new)
    assert await lives(three, tokens)
    assert await works(three, tokens["refresh_token"])

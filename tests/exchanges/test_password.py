"""The password exchange: the tutorial's login; what it grants, whom it tells, what it leaves."""

from typing import Annotated

import pytest
from fastapi import Depends

from watchword import Account
from watchword.rules.scopes import Scopes
from watchword.seams import Deny, LoginContext

LOGIN = {"username": "johndoe", "password": "secret"}
NO_LIMITS = {"limit_login_account_ip": "off", "limit_login_ip": "off"}


async def claims_of(server, tokens: dict) -> dict:
    return (await server.get("/token-claims", tokens["access_token"])).json()


@pytest.mark.parametrize("grant_type", [{}, {"grant_type": "password"}, {"grant_type": ""}])
@pytest.mark.parametrize("path", ["/token", "/auth/token"])
async def test_a_login_with_or_without_its_grant_type(server, path, grant_type):
    answer = await server.post(path, {**LOGIN, **grant_type})
    tokens = answer.json()
    assert list(tokens) == ["access_token", "token_type", "expires_in", "scope", "refresh_token"]
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
    assert tokens["scope"] == "me items"
    assert tokens["refresh_token"].startswith("wwr_")
    claims = await claims_of(server, tokens)
    assert (claims["sub"], claims["client_id"]) == ("u_johndoe", "watchword")
    assert claims["auth_time"] == claims["iat"] == int(server.clock())
    assert claims["exp"] - claims["iat"] == 600
    assert claims["aud"] == [claims["iss"]] == ["http://localhost:8000"]
    assert (await server.get("/users/me/items", tokens["access_token"])).is_success


async def test_swaggers_empty_basic_pair_is_no_client(server):
    for scheme in ("Basic", "basic"):
        answer = await server.post(
            "/token",
            {
                "grant_type": "password",
                **LOGIN,
                "scope": "me",
                "client_id": "",
                "client_secret": "",
            },
            headers={"Authorization": f"{scheme} Og=="},
        )
        assert answer.is_success
        assert answer.json()["scope"] == "me"


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("", "me items"),
        ("me", "me"),
        ("items me", "items me"),
        ("me admin", "me"),
        ("items items", "items"),
        ("ME items", "items"),
    ],
)
async def test_granted_is_what_was_asked_and_may_be_had(server, asked, granted):
    tokens = await server.login(scope=asked)
    assert tokens["scope"] == granted
    assert (await claims_of(server, tokens))["scope"] == granted


@pytest.mark.parametrize("asked", ["admin", "ME", "me,items", "itemsx"])
async def test_nothing_of_what_was_asked_is_a_refusal(server, refused, asked):
    with server.unchanged():
        refused(await server.post("/token", {**LOGIN, "scope": asked}), 400, "invalid_scope")
    assert not server.told("login.succeeded")


async def test_roles_are_scopes_by_their_patterns(build):
    server = build(
        scopes={"me": "m", "items": "i", "items:read": "r", "items:write": "w", "admin": "a"},
        roles={"editor": ["items:*", "me"], "ghost": ["nothing:*"]},
    )
    await server.auth.start()
    await server.add_user("johndoe", scopes="undeclared", roles=("editor", "ghost", "unknown"))
    tokens = await server.login()
    assert tokens["scope"] == "items:read items:write me"
    assert (await claims_of(server, tokens))["roles"] == ["editor", "ghost", "unknown"]


async def test_a_person_without_scopes_still_logs_in(server):
    await server.add_user("guest", scopes="")
    tokens = await server.login("guest")
    assert tokens["scope"] == ""
    assert (await server.get("/token-claims", tokens["access_token"])).is_success
    assert (await server.get("/guarded", tokens["access_token"])).status_code == 403


async def test_a_login_opens_one_grant_and_is_told_once(server):
    server.come_from("203.0.113.9")
    tokens = await server.login()
    (told,) = server.told("login.succeeded")
    claims = await claims_of(server, tokens)
    assert (told.sub, told.client_id, told.ip) == ("u_johndoe", "watchword", "203.0.113.9")
    assert (told.grant_id, told.at) == (claims["fid"], server.clock())
    (grant,) = await server.auth.store.grants_of("u_johndoe")
    assert grant.id.hex() == claims["fid"]
    assert grant.expires_at - server.clock() == server.auth.settings.refresh_max
    assert grant.idle_until - server.clock() == server.auth.settings.refresh_ttl


@pytest.mark.attack("L-01", "L-26")
async def test_why_is_told_to_the_operator_only(server):
    for name, password in (("johndoe", "x"), ("nobody", "x"), ("alice", "secret2")):
        answer = await server.post("/token", {"username": name, "password": password})
        assert answer.json() == {
            "error": "invalid_grant",
            "error_description": "Incorrect username or password",
            "detail": "Incorrect username or password",
        }
        assert answer.headers["www-authenticate"] == "Bearer"
    told = [event.reason for event in server.told("login.failed")]
    assert told == ["wrong password", "nobody by that name", "disabled"]


async def test_a_good_login_forgives_the_tries_before_it(server):
    for _ in range(3):
        for _ in range(4):
            answer = await server.post("/token", {"username": "johndoe", "password": "wrong"})
            assert answer.status_code == 401
        await server.login()
        server.http.cookies.clear()  # a known device has a budget of its own
    # and not those of the whole address
    assert (await server.post("/token", {"username": "x", "password": "y"})).status_code == 401


@pytest.mark.attack("L-06")
async def test_a_locked_account_is_open_again_after_the_time_told(server):
    answers = [await server.post("/token", {**LOGIN, "password": "no"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    wait = int(answers[-1].headers["retry-after"])
    assert (await server.post("/token", LOGIN)).status_code == 429, "the right one too"
    server.clock.tick(wait)
    assert (await server.post("/token", LOGIN)).is_success


@pytest.mark.attack("L-26")
async def test_a_hook_may_stop_a_login_and_fills_like_a_route(build, refused, hashed):
    seen = []

    async def database() -> str:
        return "a session"

    def prepare(app, auth) -> None:
        @auth.before("login")
        async def only_members(
            context: LoginContext, session: Annotated[str, Depends(database)]
        ) -> None:
            seen.append((context.account.username, context.client_id, context.ip, session))
            if context.account.username == "outsider":
                raise Deny("not-a-member", "Ask your team for an invitation.")

    server = build(prepare)
    await server.auth.start()
    await server.add_user("johndoe")
    await server.add_user("outsider")
    await server.login()
    with server.unchanged():
        answer = await server.post("/token", {"username": "outsider", "password": "secret"})
        refused(answer, 401, "invalid_grant")
    assert answer.json()["error_description"] == "Ask your team for an invitation."
    assert server.told("login.failed")[-1].reason == "not-a-member"
    where = ("watchword", "127.0.0.1", "a session")
    assert seen == [("johndoe", *where), ("outsider", *where)]
    answer = await server.post("/token", {"username": "outsider", "password": "wrong"})
    assert "invitation" not in answer.text, "nothing is told to who does not know the password"
    assert len(seen) == 2


@pytest.mark.attack("B-12")
async def test_an_embedders_users_log_in_and_can_be_revoked(build):
    class People:
        """Somebody else's table of users."""

        async def by_login(self, login):
            return account if login == account.username else None

        async def by_subject(self, subject):
            return account if subject == account.sub else None

        async def password_is(self, found, password):
            return found is not None and password == "secret"

    account = Account("42", "johndoe", scopes=Scopes(["me", "items"]))
    server = build(users=People())
    tokens = await server.login()
    assert (await claims_of(server, tokens))["sub"] == "42"
    assert (await server.get("/users/me", tokens["access_token"])).json()["username"] == "johndoe"
    again = await server.login()
    assert await server.auth.store.revoke_user("42", server.clock())
    for pair in (tokens, again):
        assert (await server.get("/guarded", pair["access_token"])).status_code == 401
        assert (await server.refresh(pair["refresh_token"])).status_code == 400
    assert (await server.get("/guarded", (await server.login())["access_token"])).is_success


@pytest.mark.attack("L-12")
async def test_a_full_queue_is_busy_and_counts_as_nothing(build, refused, monkeypatch):
    from watchword.errors import Busy

    server = build(**NO_LIMITS)
    await server.auth.start()
    await server.add_user("johndoe")

    async def full(*args, **more):
        raise Busy("Try again in a moment.", retry_after=1.2)

    with monkeypatch.context() as patched, server.unchanged():
        patched.setattr(server.auth.users, "password_is", full)
        answer = await server.post("/token", LOGIN)
        refused(answer, 503, "temporarily_unavailable")
    assert answer.headers["retry-after"] == "2"
    assert (await server.post("/token", LOGIN)).is_success

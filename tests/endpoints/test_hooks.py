"""An app's hooks run with their dependencies, and what they raise arrives."""

from typing import Annotated

import pytest
from fastapi import Depends, Header, HTTPException

from watchword.endpoints.hooks import Hook
from watchword.errors import ConfigError
from watchword.seams import ClaimsContext, Deny, LoginContext

LOGIN = {"username": "johndoe", "password": "secret"}
opened: list[str] = []


async def session():
    opened.append("open")
    try:
        yield "session"
    finally:
        opened.append("closed")


async def with_hook(build, *hooks, **options):
    def prepare(app, auth) -> None:
        for kind, hook in hooks:
            (auth.claims if kind == "claims" else auth.before("login"))(hook)

    server = build(prepare, **options)
    await server.auth.start()
    await server.add_user("johndoe", email="johndoe@example.com")
    return server


async def test_claims_with_a_session_of_the_apps(build):
    opened.clear()

    async def team(context: ClaimsContext, found: Annotated[str, Depends(session)]) -> dict:
        return {"team": found, "who": context.user_id, "how": context.grant_type}

    def sync_one(
        context: ClaimsContext, x_tenant: Annotated[str, Header()] = "none"
    ) -> dict | None:
        return {"tenant": x_tenant} if x_tenant != "none" else None

    server = await with_hook(build, ("claims", team), ("claims", sync_one))
    answer = await server.post("/token", LOGIN, headers={"X-Tenant": "t1"})
    claims = (await server.get("/token-claims", answer.json()["access_token"])).json()
    assert (claims["team"], claims["who"], claims["how"]) == ("session", "u_johndoe", "password")
    assert claims["tenant"] == "t1"
    assert opened == ["open", "closed"]


async def test_dependency_overrides_count(build):
    async def team(context: ClaimsContext, found: Annotated[str, Depends(session)]) -> dict:
        return {"team": found}

    server = await with_hook(build, ("claims", team))
    server.app.dependency_overrides[session] = lambda: "another"
    tokens = await server.login()
    assert (await server.get("/token-claims", tokens["access_token"])).json()["team"] == "another"


@pytest.mark.attack("L-01", "Z-34")
async def test_a_hook_may_stop_a_login(build, refused):
    async def staff_only(context: LoginContext) -> None:
        if not context.account.email.endswith("@staff.example.com"):
            raise Deny("staff_only", "This sign-in is for staff.")

    server = await with_hook(build, ("login", staff_only))
    with server.unchanged():
        answer = await server.post("/token", LOGIN)
        refused(answer, 401, "invalid_grant")
        wrong = await server.post("/token", {**LOGIN, "password": "wrong"})
    assert answer.json()["error_description"] == "This sign-in is for staff."
    assert "staff" not in wrong.text, "only who knows the password hears of it"
    assert [event.reason for event in server.told("login.failed")] == [
        "staff_only",
        "wrong password",
    ]


@pytest.mark.attack("Z-34")
async def test_what_a_hook_raises_lets_nobody_in(build):
    async def teapot(context: LoginContext) -> None:
        raise HTTPException(418, "short and stout")

    async def broken(context: LoginContext) -> None:
        raise RuntimeError("the directory is away")

    async def picky(context: LoginContext, x_must: Annotated[int, Header()]) -> None:
        pass

    server = await with_hook(build, ("login", teapot))
    with server.unchanged():
        answer = await server.post("/token", LOGIN)
    assert (answer.status_code, answer.json()) == (418, {"detail": "short and stout"})

    server = await with_hook(build, ("login", broken))
    with server.unchanged(), pytest.raises(RuntimeError):
        await server.post("/token", LOGIN)

    server = await with_hook(build, ("login", picky))
    with server.unchanged():
        answer = await server.post("/token", LOGIN)
    assert answer.status_code == 422
    assert (await server.post("/token", LOGIN, headers={"X-Must": "1"})).is_success


@pytest.mark.attack("R-21")
@pytest.mark.parametrize("claim", ["sub", "scope", "aud", "fid", "rev", "roles"])
async def test_a_claim_of_the_servers_is_an_error_that_says_so(build, claim):
    async def bad(context: ClaimsContext) -> dict:
        return {claim: "mine"}

    server = await with_hook(build, ("claims", bad))
    with pytest.raises(ConfigError, match=claim):
        await server.post("/token", LOGIN)


def test_a_hook_must_take_what_it_is_for():
    async def none() -> None: ...
    async def two(a: ClaimsContext, b: ClaimsContext) -> None: ...
    async def other(a: LoginContext) -> None: ...
    async def unreadable(a: "Nowhere") -> None: ...  # noqa: F821

    for function in (none, two, other, unreadable):
        with pytest.raises(ConfigError):
            Hook(function, ClaimsContext)

"""What happens on a route when its guard cannot tell what was revoked of late."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse

from watchword import AccessToken, Account, Auth, Guard
from watchword.crypto.strict import decode64, json_object
from watchword.errors import ConfigError
from watchword.guard import streams

LOG: list[str] = []


def prepare(app: FastAPI, auth: Auth) -> None:
    fresh = {"dependencies": [auth.require("me", max_stale=0)]}
    recent = {"dependencies": [auth.require("me", max_stale=0.5)]}
    asks = {"dependencies": [auth.require("me", when_stale="introspect")]}
    lax = {"dependencies": [auth.require("me", when_stale="open", open_for=60)]}
    pays = {"dependencies": [auth.require("me", max_stale=0, when_stale="introspect")]}
    kinds = {"fresh": fresh, "recent": recent, "asks": asks, "lax": lax, "pays": pays}
    for name, options in kinds.items():
        app.add_api_route(f"/{name}", ok, **options)
    both = [auth.require("me", when_stale="open", open_for=60), auth.require("me")]
    app.add_api_route("/both", ok, dependencies=both)
    app.add_api_route("/both-turned", ok, dependencies=both[::-1])

    @app.get("/user")
    async def user(
        found: Annotated[Account, auth.current_user("me", when_stale="open", open_for=60)],
        token: Annotated[AccessToken, auth.token("me", when_stale="open", open_for=60)],
    ) -> dict[str, Any]:
        return {"same": found.sub == token.sub}

    @app.get("/behind")
    async def behind(user: Annotated[Account, auth.current_user("me", max_stale=0)]) -> str:
        return user.sub

    for path, guards in (("/stream", [auth.require("me")]), ("/lax-stream", lax["dependencies"])):

        @app.get(path, dependencies=guards)
        async def stream(request: Request) -> StreamingResponse:
            async def lines() -> AsyncIterator[str]:
                async with auth.until_revoked(request):
                    while True:
                        yield "data: tick\n\n"
                        await asyncio.sleep(0.005)
                LOG.append("ended")

            return StreamingResponse(lines(), media_type="text/event-stream")


def fid_of(tokens: dict[str, str]) -> str:
    payload = tokens["access_token"].split(".")[1]
    return str(json_object(decode64(payload.encode()))["fid"])


async def ok() -> dict[str, bool]:
    return {"ok": True}


@pytest.fixture
async def made(following):
    LOG.clear()
    server, cable = following(prepare)
    await server.auth.start()
    await server.add_user("johndoe")
    server.cable = cable
    return server


@pytest.fixture
async def mine(made) -> dict[str, str]:
    """Tokens that every route has seen, so that they are all remembered."""
    tokens = await made.login()
    for path in ("/guarded", "/fresh", "/recent", "/asks", "/lax", "/pays", "/user"):
        assert (await made.get(path, tokens["access_token"])).status_code == 200, path
    return tokens


async def status(made, path: str, tokens: dict[str, str], **more: Any) -> int:
    answer = await made.get(path, tokens["access_token"], **more)
    if answer.status_code == 503:
        assert answer.headers["Retry-After"] == "1"
        assert "WWW-Authenticate" not in answer.headers
        assert answer.json()["code"] == "WW-302" and "cable" not in answer.json()["detail"]
    return answer.status_code


def cut(made, seconds: float = 2.01) -> None:
    made.cable.cut = True
    made.cable.pause(seconds)


# --- closed ---


@pytest.mark.attack("Z-09", "Z-34")
async def test_a_guard_that_cannot_know_refuses_with_503_and_heals(made, mine) -> None:
    made.cable.cut = True
    assert await status(made, "/guarded", mine) == 200, "what is known is fresh still"
    made.cable.pause(2.01)
    for path in ("/guarded", "/users/me", "/users/me/items", "/token-claims", "/fresh"):
        assert await status(made, path, mine) == 503, path
    assert (await made.get("/guarded", "x.y.z")).status_code == 401, "that is known to be bad"
    made.cable.cut = False
    async with asyncio.timeout(5):
        while await status(made, "/guarded", mine) != 200:
            await asyncio.sleep(0.01)


async def test_after_a_pause_the_first_request_is_judged_by_new_knowledge(made, mine) -> None:
    other = await made.login()
    assert await status(made, "/guarded", other) == 200
    made.cable.pause(3600)
    await made.auth.store.revoke_user("u_johndoe", made.clock())
    assert await status(made, "/guarded", mine) == 401
    assert await status(made, "/guarded", other) == 401
    again = await made.login()
    assert await status(made, "/guarded", again) == 200, "in the very same second"


# --- max_stale ---


async def test_a_route_that_insists_asks_now_and_others_do_not(made, mine) -> None:
    made.cable.pause(0.4)
    before = made.cable.polls
    assert await status(made, "/guarded", mine) == await status(made, "/recent", mine) == 200
    assert made.cable.polls == before
    assert await status(made, "/fresh", mine) == 200
    assert made.cable.polls == before + 1
    await made.auth.store.revoke_user("u_johndoe", made.clock())
    assert await status(made, "/guarded", mine) == 200, "within the bound"
    made.cable.pause(0.5)
    assert await status(made, "/recent", mine) == 401
    assert made.cable.polls == before + 2


async def test_what_is_not_good_anyway_is_not_asked_about(made, mine) -> None:
    before = made.cable.polls
    for text in ("x.y.z", mine["access_token"][:-4] + "AAAA", mine["refresh_token"]):
        assert (await made.get("/fresh", text)).status_code == 401
    assert (await made.get("/fresh")).status_code == 401
    assert made.cable.polls == before


async def test_it_is_asked_anew_behind_a_guard_that_did_not_ask(made, mine) -> None:
    await made.auth.store.revoke_user("u_johndoe", made.clock())
    assert await status(made, "/behind", mine) == 401


async def test_where_it_cannot_be_asked_it_is_closed_though_others_are_open(made, mine) -> None:
    made.cable.cut = True
    assert await status(made, "/guarded", mine) == 200
    assert await status(made, "/fresh", mine) == 503
    assert await status(made, "/pays", mine) == 200, "the database was asked about this one"
    await made.auth.store.revoke_user("u_johndoe", made.clock())
    other = await made.login()
    assert await status(made, "/pays", other) == 200


# --- introspect ---


@pytest.mark.attack("V-11", "Z-34")
async def test_the_database_is_asked_about_one_token(made, mine) -> None:
    dead = await made.login()
    cut(made)
    assert await status(made, "/asks", mine) == 200
    assert await status(made, "/asks", dead) == 200
    await made.auth.store.revoke_grant(bytes.fromhex(fid_of(dead)), made.clock())
    asked = made.auth._decisions.when_stale.ask
    asked._answers.clear()
    assert await status(made, "/asks", dead) == 401
    assert await status(made, "/asks", mine) == 200
    made.clock.tick(601 + 60)
    assert await status(made, "/asks", mine) == 401, "expired is expired"


async def test_an_issuer_that_cannot_be_asked_either_lets_nobody_in(
    made, mine, monkeypatch
) -> None:
    cut(made)

    async def away(**_: object) -> bool:
        raise ConnectionError("no route")

    monkeypatch.setattr(made.auth.store, "is_revoked", away)
    assert await status(made, "/asks", mine) == 503


async def test_a_whole_guard_may_ask(following) -> None:
    server, cable = following(when_stale="introspect")
    await server.auth.start()
    await server.add_user("johndoe")
    mine, dead = await server.login(), await server.login()
    cable.cut = True
    cable.pause(10)
    await server.auth.store.revoke_grant(bytes.fromhex(fid_of(dead)), server.clock())
    assert await status(server, "/guarded", mine) == 200
    assert await status(server, "/guarded", dead) == 401
    assert await status(server, "/users/me", mine) == 200


# --- open ---


async def test_an_open_route_lets_pass_for_a_while_and_says_so(made, mine, caplog) -> None:
    cut(made)
    with caplog.at_level(logging.WARNING, "watchword.guard"):
        for _ in range(3):
            assert await status(made, "/lax", mine) == 200
    assert made.auth._decisions.when_stale.let_in == 3
    assert sum("let in by old knowledge" in record.message for record in caplog.records) == 1
    assert (await made.get("/user", mine["access_token"])).json() == {"same": True}
    assert await status(made, "/guarded", mine) == 503
    made.cable.pause(59.9)
    assert await status(made, "/lax", mine) == 200
    made.cable.pause(0.2)
    assert await status(made, "/lax", mine) == 503, "for a while, not for ever"


async def test_an_open_route_is_not_open_to_what_is_known_to_be_dead(made, mine) -> None:
    await made.auth.revoke(user="u_johndoe")
    cut(made)
    assert await status(made, "/lax", mine) == 401
    assert (await made.get("/lax", "x.y.z")).status_code == 401
    assert (await made.get("/lax")).status_code == 401


async def test_an_open_guard_does_not_open_a_closed_one_beside_it(made, mine) -> None:
    for path in ("/both", "/both-turned"):
        assert await status(made, path, mine) == 200
    cut(made)
    for path in ("/both", "/both-turned"):
        assert await status(made, path, mine) == 503
    assert made.auth._decisions.when_stale.let_in <= 1


# --- positions ---


async def test_a_position_makes_a_guard_hear_of_it_first(made, mine) -> None:
    position = await made.auth.revoke(grant=fid_of(mine))
    assert position == f"1.{await made.auth.store.head()}"
    other = await made.login()
    assert await status(made, "/guarded", other) == 200
    await made.auth.store.revoke_user("u_johndoe", made.clock())  # by another process
    epoch, seq = await made.auth.store.position()
    assert await status(made, "/guarded", other) == 200
    header = {"Auth-Min-Seq": f"{epoch}.{seq}"}
    assert await status(made, "/guarded", other, headers=header) == 401
    before = made.cable.polls
    assert await status(made, "/guarded", other, headers=header) == 401
    assert made.cable.polls == before, "it has heard"


async def test_a_position_that_is_none_is_said_so(made, mine) -> None:
    answer = await made.get("/guarded", mine["access_token"], headers={"Auth-Min-Seq": "soon"})
    assert answer.status_code == 400 and "Auth-Min-Seq" in answer.json()["detail"]


async def test_a_position_that_cannot_be_reached_now_is_no_pass(made, mine) -> None:
    made.cable.cut = True
    header = {"Auth-Min-Seq": "1.999"}
    assert await status(made, "/guarded", mine, headers=header) == 503
    assert await status(made, "/guarded", mine) == 200


# --- sockets and streams ---


async def test_a_stream_is_cut_at_once_when_the_news_come(made, mine, monkeypatch) -> None:
    monkeypatch.setattr(streams, "CHECK_EVERY", 3600)
    monkeypatch.setattr(made.auth._decisions, "lasts", lambda: 3600.0)
    streaming = asyncio.create_task(made.get("/stream", mine["access_token"]))
    others = await made.login()
    other = asyncio.create_task(made.get("/stream", others["access_token"]))
    await asyncio.sleep(0.1)
    await made.auth.store.revoke_grant(bytes.fromhex(fid_of(mine)), made.clock())
    made.auth.revocations.wake()
    await asyncio.wait_for(streaming, 5)
    assert LOG == ["ended"] and not other.done()
    await made.auth.store.revoke_user("u_johndoe", made.clock())
    made.auth.revocations.wake()
    await asyncio.wait_for(other, 5)
    assert not made.auth.revocations._watched


async def test_streams_are_cut_when_their_guard_cannot_know(made, mine, monkeypatch) -> None:
    monkeypatch.setattr(streams, "CHECK_EVERY", 0.02)
    closed = asyncio.create_task(made.get("/stream", mine["access_token"]))
    lax = asyncio.create_task(made.get("/lax-stream", mine["access_token"]))
    await asyncio.sleep(0.1)
    assert not closed.done() and not lax.done()
    cut(made)
    await asyncio.wait_for(closed, 5)
    assert LOG == ["ended"] and not lax.done()
    made.cable.pause(61)
    await asyncio.wait_for(lax, 5)


# --- declarations, hoisting, strict guards ---


async def test_policies_hold_in_front_of_the_route_and_behind(made, mine) -> None:
    fresh = next(route for route in made.app.routes if getattr(route, "path", "") == "/fresh")
    assert type(fresh.app).__name__ == "Guarded", "it was moved"
    (requirement,) = fresh.app.requirements
    assert str(requirement.policy) == "max_stale=0"


async def test_on_one_machine_every_policy_is_granted_and_costs_nothing(build) -> None:
    server = build(prepare)
    await server.auth.start()
    await server.add_user("johndoe")
    mine = await server.login()
    for path in ("/guarded", "/fresh", "/recent", "/asks", "/lax", "/pays", "/both", "/user"):
        header = {"Auth-Min-Seq": "9.9"}
        assert (await server.get(path, mine["access_token"], headers=header)).status_code == 200
    await server.auth.revoke(user="u_johndoe", barrier=True)
    for path in ("/guarded", "/fresh", "/recent", "/asks", "/lax", "/pays", "/both", "/user"):
        assert (await server.get(path, mine["access_token"])).status_code == 401
    assert server.auth._decisions.when_stale.let_in == 0


def test_a_guard_that_learns_nothing_cannot_promise_anything() -> None:
    guard = Guard(issuer="https://i.example", audience="a")
    for policy in ({"max_stale": 0}, {"when_stale": "closed"}, {"when_stale": "introspect"}):
        for door in (guard.require, guard.token, guard.current_user):
            with pytest.raises(ConfigError, match="does not learn of revocations"):
                door(**policy)
    guard.require()


async def test_whom_nobody_can_ask_cannot_be_asked(following) -> None:
    class Nothing:
        async def tail(self, after: int, epoch: int) -> Any:
            raise AssertionError

    guard = Guard(issuer="https://i.example", audience="a", revocations=Nothing())
    guard.require(max_stale=0, when_stale="open", open_for=1)
    with pytest.raises(ConfigError, match="nobody to ask"):
        guard.require(when_stale="introspect")
    with pytest.raises(ConfigError, match="nobody to ask"):
        Guard(
            issuer="https://i.example", audience="a", revocations=Nothing(), when_stale="introspect"
        )
    with pytest.raises(ConfigError, match="does not learn"):
        Guard(issuer="https://i.example", audience="a", when_stale="introspect")
    server, _ = following()
    joined = Guard.any_of(server.auth, guard)
    joined.require(max_stale=0)
    with pytest.raises(ConfigError, match="nobody to ask"):
        joined.require(when_stale="introspect")


async def test_a_joined_guard_holds_what_its_parts_hold(following) -> None:
    server, cable = following(when_stale="introspect")
    await server.auth.start()
    await server.add_user("johndoe")
    joined = Guard.any_of(server.auth)
    server.app.add_api_route("/joined", ok, dependencies=[joined.require("me", max_stale=0)])
    server.app.add_api_route(
        "/joined-usual", ok, dependencies=[Depends(joined.require().dependency)]
    )
    mine = await server.login()
    assert await status(server, "/joined", mine) == 200
    before = cable.polls
    assert await status(server, "/joined", mine) == 200 and cable.polls == before + 1
    cable.cut = True
    cable.pause(10)
    assert (
        await status(server, "/joined", mine) == await status(server, "/joined-usual", mine) == 200
    )
    await server.auth.store.revoke_user("u_johndoe", server.clock())
    server.auth._decisions.when_stale.ask._answers.clear()
    assert (
        await status(server, "/joined", mine) == await status(server, "/joined-usual", mine) == 401
    )

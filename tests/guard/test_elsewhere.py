"""A guard of a real Watchword behind a socket: it follows, it asks, or it lets nobody in."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import httpx2
import pytest
from answering import answering
from fastapi import FastAPI
from ports import free_port
from serving import serving

from watchword import Guard
from watchword.crypto.strict import decode64, json_object
from watchword.errors import ConfigError, InvalidToken
from watchword.guard import elsewhere
from watchword.guard.elsewhere import Unread
from watchword.guard.following import Follower
from watchword.guard.freshness import Asked, Freshness, Untold
from watchword.rules.scopes import Scopes
from watchword.seams import Tail, Unavailable

API = "https://api.example.com/orders"


class World:
    """An issuer at a port, and everything that asks it."""

    def __init__(self, server: Any, port: int, credentials: dict[str, str]) -> None:
        self.server = server
        self.port = port
        self.credentials = credentials
        self.guards: list[Guard] = []
        self.asked: list[str] = []

    def guard(self, app: FastAPI | None = None, **told: Any) -> Guard:
        told = {"now": self.server.clock, "audience": API, **self.credentials, **told}
        made = Guard(app, issuer=f"http://127.0.0.1:{self.port}", **told)
        self.guards.append(made)
        return made

    async def login(self) -> str:
        answer = await self.server.post("/token", {"username": "johndoe", "password": "secret"})
        return answer.json()["access_token"]

    async def sign_out(self) -> None:
        await self.server.auth.store.revoke_user("u_johndoe", self.server.clock())


@pytest.fixture
async def world(build):
    port = free_port()
    server = build(issuer=f"http://127.0.0.1:{port}", resource=API)
    await server.auth.start()
    await server.add_user("johndoe", scopes="me items")
    _, secret = await server.add_client("orders", introspects=(API,), grants=())
    made = World(server, port, {"client_id": "orders", "client_secret": secret})

    @server.app.middleware("http")
    async def count(request: Any, call_next: Any) -> Any:
        made.asked.append(request.url.path)
        return await call_next(request)

    async with serving(server.app, port):
        yield made
        for guard in made.guards:
            await guard._elsewhere.stop()


async def decide(guard: Guard, token: str, **more: Any) -> str:
    """As a request would: what becomes of a token."""
    scope = {
        "type": "http", "query_string": b"", "path": "/",
        "headers": [(b"authorization", f"Bearer {token}".encode()), *more.pop("headers", ())],
    }  # fmt: skip
    decisions = guard._decisions
    try:
        await decisions.token_of(scope, Freshness(**more) if more else None)
    except InvalidToken:
        return "refused"
    except Exception as fault:
        return type(fault).__name__
    return "accepted"


async def until(outcome: str, guard: Guard, token: str, seconds: float = 5.0) -> float:
    began = time.monotonic()
    while (found := await decide(guard, token)) != outcome:
        assert time.monotonic() - began < seconds, found
        await asyncio.sleep(0.002)
    return time.monotonic() - began


# --- following ---


@pytest.mark.attack("V-04")
async def test_a_revocation_is_obeyed_within_milliseconds(world) -> None:
    guard = world.guard()
    taken = []
    for _ in range(5):
        token = await world.login()
        assert await decide(guard, token) == "accepted"
        await asyncio.sleep(0.05)  # until it waits for news again
        await world.sign_out()
        taken.append(await until("refused", guard, token))
    assert isinstance(guard._logs()[0], Follower)
    assert sorted(taken)[2] < 0.25, "a poll in its own time would be as late as half a second"
    assert await decide(guard, await world.login()) == "accepted", "in the very same second"


@pytest.mark.quiet
async def test_no_news_are_waited_for_by_a_short_poll_only(world) -> None:
    """Freshness is renewed while a request waits for news."""
    guard = world.guard(max_stale=0.4)
    assert await decide(guard, await world.login()) == "accepted"
    (log,) = guard._logs()
    for _ in range(30):
        await asyncio.sleep(0.05)
        assert log.age() < 0.4
    assert world.asked.count("/auth/revocations") >= 10


async def test_the_first_decision_knows_what_was_revoked_before(world) -> None:
    token = await world.login()
    await world.sign_out()
    assert await decide(world.guard(), token) == "refused"


async def test_a_key_that_was_retired_verifies_nothing_more(world) -> None:
    at = world.server.auth
    guard = world.guard()
    token = await world.login()
    assert await decide(guard, token) == "accepted"
    sets = world.asked.count("/.well-known/jwks.json")
    await at.signing.rotate(at.settings.access_token_alg, at_once=True)
    kid = json_object(decode64(token.split(".")[0].encode()))["kid"]
    assert await at.store.retire_key(kid, at.now(), until=0.0, even_last=True)
    await until("refused", guard, token, 1.0)
    answers = await asyncio.gather(*(decide(guard, token) for _ in range(20)))
    assert set(answers) == {"refused"}
    assert world.asked.count("/.well-known/jwks.json") <= sets + 3, "one fetch is for all who wait"
    assert await decide(guard, await world.login()) == "accepted"


async def test_only_what_a_watchword_writes_passes_where_one_is_followed(world) -> None:
    from watchword.crypto import jose
    from watchword.rules import claims

    at = world.server.auth
    guard = world.guard()
    assert await decide(guard, await world.login()) == "accepted"
    content = claims.access(
        issuer=at.settings.issuer, subject="u_johndoe", client_id="watchword", audience=API,
        scopes=Scopes(("me",)), jti="j", now=at.now(), ttl=600, rev=10**6,
    )  # fmt: skip
    key = at.signing.ring.signer("ES256", at.now())
    for typ, left_out in (("JWT", ""), ("at+jwt", "rev"), ("at+jwt", "jti")):
        kept = {name: value for name, value in content.items() if name != left_out}
        assert await decide(guard, jose.sign(kept, key, typ)) == "refused", (typ, left_out)
    assert await decide(guard, jose.sign(content, key, "at+jwt")) == "accepted"


async def test_a_route_may_insist_on_knowledge_of_this_moment(world) -> None:
    guard = world.guard(revocations="required")
    guard.require("me", max_stale=0)
    token = await world.login()
    assert await decide(guard, token, max_stale=0) == "accepted"
    for _ in range(3):
        token = await world.login()
        await world.sign_out()
        assert await decide(guard, token, max_stale=0) == "refused", "no bell needs to have rung"
    token = await world.login()
    await world.sign_out()
    seq = await world.server.auth.store.head()
    named = [(b"auth-min-seq", f"1.{seq}".encode())]
    assert await decide(guard, token, headers=named) == "refused"


@pytest.mark.quiet
@pytest.mark.attack("Z-09")
async def test_a_route_says_503_while_nobody_can_tell_and_opens_with_the_next_poll(world) -> None:
    app = FastAPI()
    guard = world.guard(app, max_stale=0.4)

    @app.get("/orders", dependencies=[guard.require("items")])
    async def orders() -> dict[str, bool]:
        return {"ok": True}

    token = await world.login()
    headers = {"Authorization": f"Bearer {token}"}
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://orders") as http:
        assert (await http.get("/orders", headers=headers)).status_code == 200
        feed = guard._elsewhere._feed
        right, feed._url = feed._url, feed._url + "/gone"
        await asyncio.sleep(0.5)
        for _ in range(3):
            answer = await http.get("/orders", headers=headers)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["code"] == "WW-302" and "gone" not in answer.text
        bad = {"Authorization": "Bearer x.y.z"}
        assert (await http.get("/orders", headers=bad)).status_code == 401, "that is known"
        feed._url = right
        await asyncio.sleep(0.1 + 0.1)
        assert (await http.get("/orders", headers=headers)).status_code == 200


# --- what is promised, and what is not there ---


async def test_a_guard_without_credentials_is_as_it_was(world) -> None:
    guard = world.guard(client_id="", client_secret="")
    token = await world.login()
    assert await decide(guard, token) == "accepted"
    await world.sign_out()
    await asyncio.sleep(0.1)
    assert await decide(guard, token) == "accepted", "for it a token lives until it ends"
    assert "/auth/revocations" not in world.asked
    with pytest.raises(ConfigError, match="does not learn of revocations"):
        guard.require(max_stale=0)
    with pytest.raises(ConfigError, match="does not learn of revocations"):
        world.guard().require(max_stale=0)
    world.guard(revocations="required").require(max_stale=0)


def other_issuer(port: int, **more: Any) -> Any:
    async def answer(request: Any) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{port}"
        if request.path == "/.well-known/openid-configuration":
            return 200, {"issuer": url, "jwks_uri": f"{url}/jwks", **more}
        return 404, {}

    return answer


async def test_an_issuer_without_a_log(caplog) -> None:
    async with answering() as server:
        port = int(server.url.rsplit(":", 1)[1])
        server.answer = other_issuer(port)
        told = {"issuer": server.url, "audience": API, "client_id": "c", "client_secret": "s"}
        guard = Guard(**told)
        await guard._elsewhere.ready()
        assert guard._logs() == [] and "has no revocation log" in caplog.text
        required = Guard(**told, revocations="required")
        assert await decide(required, "x.y.z") == "Busy", "nobody is let in, and nobody refused"
        with pytest.raises(ConfigError, match="publishes no revocation log"):
            await required._elsewhere.start()
        asks = Guard(**told, introspection=True)
        with pytest.raises(ConfigError, match="publishes no introspection"):
            await asks._elsewhere.start()
        assert len(server.asked) == 3, "it is not asked in a loop"
        required._elsewhere._failure = (0, Unavailable())
        server.answer = other_issuer(port, watchword_revocations_endpoint=f"{server.url}/r")
        await required._elsewhere.ready()
        assert isinstance(required._logs()[0], Follower), "it has one by now"
        for one in (guard, required, asks):
            await one._elsewhere.stop()


async def test_an_address_without_tls_is_not_asked_where_the_issuer_has_it() -> None:
    from watchword.guard.discovery import endpoint

    named = {"a": "http://login.example.com/r", "b": "https://login.example.com/r", "c": 7}
    found = {name: endpoint(named, name, "https://login.example.com") for name in "abcd"}
    assert found == {"a": None, "b": "https://login.example.com/r", "c": None, "d": None}


async def test_a_client_that_may_not_follow_stops_the_start(world) -> None:
    _, secret = await world.server.add_client("job")
    for credentials in (
        {"client_id": "job", "client_secret": secret},
        {"client_id": "orders", "client_secret": "gs_wrong"},
    ):
        guard = world.guard(**credentials)
        assert await decide(guard, await world.login()) == "Busy"
        with pytest.raises(ConfigError, match="does not") as told:
            await guard._elsewhere.start()
        assert "--introspect" in str(told.value) and "gs_" not in str(told.value)


async def test_an_issuer_that_is_away_lets_the_app_start_and_nobody_in(world, caplog) -> None:
    port = free_port()
    guard = Guard(issuer=f"http://127.0.0.1:{port}", audience=API, **world.credentials)
    await guard._elsewhere.start()
    assert "cannot be asked yet" in caplog.text
    assert await decide(guard, await world.login()) == "Busy"


async def test_it_begins_and_ends_with_the_app(world) -> None:
    app = FastAPI()
    guard = world.guard(app)
    async with app.router.lifespan_context(app):
        (log,) = guard._logs()
        assert isinstance(log, Follower) and log.lasts() > 0, "before the first decision"
        line = guard._elsewhere._contact.line
        assert line._transports
    assert log.lasts() == 0 and not line._transports
    assert await decide(guard, await world.login()) == "accepted", "and begins anew"
    wrong = FastAPI()
    world.guard(wrong, client_secret="gs_wrong")
    with pytest.raises(ConfigError):
        async with wrong.router.lifespan_context(wrong):
            pass


# --- asking ---


@pytest.mark.quiet
@pytest.mark.attack("V-10", "V-11")
async def test_an_issuer_whose_log_is_not_followed_is_asked_about_each_token(world) -> None:
    guard = world.guard(revocations="off", introspection=True, max_stale=0.3)
    guard.require(max_stale=0)
    token, other = await world.login(), await world.login()
    for _ in range(5):
        assert await decide(guard, token) == "accepted"
    assert world.asked.count("/auth/introspect") == 1, "an answer counts as long as knowledge would"
    assert await decide(guard, token, max_stale=0) == "accepted"
    assert world.asked.count("/auth/introspect") == 2
    await world.sign_out()
    assert await decide(guard, other) == "refused"
    assert await until("refused", guard, token) < 0.4
    await asyncio.sleep(0.1)
    assert await decide(guard, await world.login()) == "accepted"
    assert "/auth/revocations" not in world.asked
    assert isinstance(guard._logs()[0], Unread)


@pytest.mark.quiet
async def test_who_follows_asks_only_while_it_cannot(world) -> None:
    guard = world.guard(introspection=True, when_stale="introspect", max_stale=0.4)
    token, revoked = await world.login(), await world.login()
    assert await decide(guard, token) == await decide(guard, revoked) == "accepted"
    assert "/auth/introspect" not in world.asked
    (log,) = guard._logs()
    log._feed._url += "/gone"
    await asyncio.sleep(0.6)
    assert await decide(guard, token) == "accepted"
    assert world.asked.count("/auth/introspect") == 1
    grant = json_object(decode64(revoked.split(".")[1].encode()))["fid"]
    await world.server.auth.store.revoke_grant(bytes.fromhex(grant), world.server.clock())
    assert await decide(guard, revoked) == "refused"


async def test_who_can_neither_follow_nor_ask_lets_nobody_in(world) -> None:
    guard = world.guard(
        revocations="off", introspection=f"http://127.0.0.1:{free_port()}/introspect"
    )
    assert await decide(guard, await world.login()) == "Busy"
    lax = {"when_stale": "open", "open_for": 60.0}
    assert await decide(guard, await world.login(), **lax) == "Busy", "nothing was ever known"


async def test_a_function_of_ones_own_is_asked(world) -> None:
    good = {"is": True}

    async def ask(text: str, token: Any) -> bool:
        assert text and token.sub == "u_johndoe"
        return good["is"]

    guard = world.guard(revocations="off", client_id="", client_secret="", introspection=ask)
    token = await world.login()
    assert await decide(guard, token) == "accepted"
    good["is"] = False
    assert await decide(guard, await world.login()) == "refused"
    assert await decide(guard, token, max_stale=0) == "refused"


# --- joined with others ---


async def test_joined_guards_each_know_their_own(world) -> None:
    class Quiet:
        async def tail(self, after: int, epoch: int) -> Tail:
            return Tail(1, 0, ())

    app = FastAPI()
    mine = world.guard(revocations="required")
    other = Guard(issuer="https://other.example", audience=API, revocations=Quiet())
    joined = Guard.any_of(mine, other)
    joined.init_app(app)
    joined.require(max_stale=0)
    async with app.router.lifespan_context(app):
        assert len(joined._logs()) == 2 and all(log.lasts() > 0 for log in joined._logs())
        token = await world.login()
        assert await decide(joined, token) == "accepted"
        await world.sign_out()
        await until("refused", joined, token)
    assert not any(log.lasts() for log in joined._logs())


# --- a log that nobody reads ---


async def test_an_unread_log_knows_nothing() -> None:
    log = Unread(0.05)
    with pytest.raises(Untold):
        log.catch_up(0.0)
    with pytest.raises(Untold):
        log.catch_up(0.0, Asked(tolerated=1e9))
    log.catch_up(0.0, Asked(tolerated=float("inf")))
    assert log.lasts() == 0.05 and log.age() == float("inf")
    began = time.monotonic()
    await log.settled()
    assert time.monotonic() - began >= 0.05


@pytest.mark.quiet
async def test_more_than_fits_is_refused_and_not_forgotten(world, monkeypatch, caplog) -> None:
    monkeypatch.setattr(elsewhere, "MOST", 5)
    guard = world.guard(max_stale=0.5)
    token = await world.login()
    assert await decide(guard, token) == "accepted"
    caplog.set_level(logging.WARNING)
    for n in range(10):
        await world.server.auth.store.revoke_token(
            f"t{n}", world.server.clock() + 600, world.server.clock()
        )
    await until("Busy", guard, token)
    assert len(guard._logs()[0]) <= 5 and "more revocations than" in caplog.text
    world.server.clock.tick(2 * 86_400 + 7200)  # they have all run out
    await world.server.auth.tidy()
    await until("accepted", guard, await world.login())

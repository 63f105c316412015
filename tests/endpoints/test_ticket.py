"""Tickets: one opens one WebSocket or event stream, and what the token behind it opens.

Annotations here are objects, not text: FastAPI could not read text that names `auth`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import FastAPI, Request, Security, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from watchword import AccessToken, Account, Auth, Guard
from watchword.guard import streams

STREAM = {"Accept": "text/event-stream"}
ORIGIN = "https://app.example.com"
REFUSED = "The access token is not valid."


def prepare(app: FastAPI, auth: Auth) -> None:
    user, token = auth.current_user("items"), auth.token("me")

    @app.get("/whole", dependencies=[auth.require("me"), auth.require("items")])
    async def whole(
        who: Annotated[Account, user],
        by: Annotated[AccessToken, token],
        again: Annotated[AccessToken, auth.token()],
    ) -> dict[str, Any]:
        return {"who": who.username, "jti": by.jti, "scope": str(again.scopes)}

    @app.get("/kernel", dependencies=[auth.require("items")])
    async def kernel() -> str:
        return "only a guard in front of the route"

    @app.post("/kernel", dependencies=[auth.require("items")])
    async def change() -> str:
        raise AssertionError("a ticket changed something")

    @app.get("/messages", dependencies=[auth.require("items")])
    async def messages(ticket: str) -> str:
        return ticket

    @app.get("/events", dependencies=[auth.require("items")])
    async def events(request: Request) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            async with auth.until_revoked(request):
                while True:
                    yield "data: tick\n\n"
                    await asyncio.sleep(0.005)

        return StreamingResponse(lines(), media_type="text/event-stream")

    @app.websocket("/ws")
    async def echo(socket: WebSocket, who: Annotated[Account, user]) -> None:
        await socket.accept(subprotocol=auth.ws_subprotocol(socket))
        with contextlib.suppress(WebSocketDisconnect):  # the test client may hang up
            async with auth.until_revoked(socket):
                while True:
                    await socket.send_text(f"{who.username}: {await socket.receive_text()}")


@pytest.fixture
async def live(build, monkeypatch):
    monkeypatch.setattr(streams, "CHECK_EVERY", 0.02)
    made = build(prepare)
    await made.auth.start()
    await made.add_user("johndoe")
    return made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def mint(server, token: str | None = None) -> str:
    """A ticket, for a new login's token where none is given."""
    token = token or (await server.login())["access_token"]
    answer = await server.http.post("/auth/ticket", headers=bearer(token))
    assert answer.status_code == 200, answer.text
    return answer.json()["ticket"]


async def use(server, ticket: str, path: str = "/kernel", **more: Any) -> httpx2.Response:
    headers = {**STREAM, **more.pop("headers", {})}
    return await server.http.request(
        more.pop("method", "GET"), f"{path}?ticket={ticket}", headers=headers, **more
    )


def kept(server) -> list[Any]:
    return server.rows("SELECT kind, payload FROM watchword_once")


def is_refused(answer: httpx2.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert answer.json()["detail"] == REFUSED


# --- minting ---


async def test_an_answer_is_a_ticket_and_how_long_it_lasts(live):
    token = (await live.login())["access_token"]
    answer = await live.http.post("/auth/ticket", headers=bearer(token))
    assert answer.json() == {"ticket": answer.json()["ticket"], "expires_in": 30}
    assert answer.json()["ticket"].startswith("wwt_")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert len(kept(live)) == 1


async def test_who_has_no_good_token_gets_no_ticket(live, refused):
    _, secret = await live.add_client("job", resources=("https://other.example.com",))
    form = {"grant_type": "client_credentials", "client_id": "job", "client_secret": secret}
    foreign = (await live.post("/token", form)).json()["access_token"]
    spent = (await live.login())["access_token"]
    await live.http.post("/revoke-token", headers=bearer(spent))
    with live.unchanged():
        for headers in (bearer("x.y.z"), bearer(foreign), bearer(spent)):
            answer = await live.http.post("/auth/ticket", headers=headers)
            refused(answer, 401, "invalid_token")
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        nothing = await live.http.post("/auth/ticket")
        assert (nothing.status_code, nothing.headers["www-authenticate"]) == (401, "Bearer")
        assert (await live.get("/auth/ticket", spent)).status_code == 405


async def test_no_ticket_and_no_token_in_the_url_makes_a_ticket(live, refused):
    token = (await live.login())["access_token"]
    ticket = await mint(live, token)
    with live.unchanged():
        refused(await use(live, ticket, "/auth/ticket", method="POST"), 400, "invalid_request")
        for query in (f"ticket={ticket}", f"access_token={token}"):
            answer = await live.http.post(f"/auth/ticket?{query}", headers=bearer(token))
            refused(answer, 400, "invalid_request")


@pytest.mark.attack("D-07")
async def test_minting_counts_as_asking_for_tokens(build):
    server = build(
        prepare, limit_token="3 + 1/min", env="production", issuer="https://auth.example.com"
    )
    await server.auth.start()
    await server.add_user("johndoe")
    token = (await server.login())["access_token"]
    for _ in range(2):
        await mint(server, token)
    answer = await server.http.post("/auth/ticket", headers=bearer(token))
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert len(kept(server)) == 2
    assert [event.policy for event in server.told("limit.reached")] == ["token"]


@pytest.mark.attack("W-09")
async def test_pages_of_registered_origins_may_ask(build):
    server = build(prepare, browser_origins=ORIGIN)
    await server.auth.start()
    await server.add_user("johndoe")
    headers = {**bearer((await server.login())["access_token"]), "Origin": ORIGIN}
    for answer in (
        await server.http.post("/auth/ticket", headers=headers),
        await server.http.post("/auth/ticket", headers={"Origin": ORIGIN}),
        await server.http.options("/auth/ticket", headers={"Origin": ORIGIN}),
    ):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["vary"] == "Origin"
    evil = {**headers, "Origin": "https://evil.example.com"}
    answer = await server.http.post("/auth/ticket", headers=evil)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.attack("S-02")
async def test_what_is_kept_is_neither_a_ticket_nor_a_token(live, caplog):
    token = (await live.login())["access_token"]
    ticket = await mint(live, token)
    for secret in (token, token.rpartition(".")[2], ticket, ticket.removeprefix("wwt_")):
        assert secret not in repr(live.snapshot())
    await use(live, ticket)
    await use(live, ticket)
    assert ticket not in caplog.text and token not in caplog.text


# --- using ---


@pytest.mark.parametrize("path", ["/whole", "/kernel", "/users/me", "/users/me/items"])
async def test_a_ticket_opens_once_what_its_token_opens(live, path):
    token = (await live.login())["access_token"]
    ticket = await mint(live, token)
    opened = await use(live, ticket, path)
    assert opened.status_code == 200, opened.text
    assert opened.content == (await live.get(path, token)).content
    assert kept(live) == []
    with live.unchanged():
        is_refused(await use(live, ticket, path))
    assert (await live.get(path, token)).is_success, "the token is as good as before"


async def test_a_ticket_has_the_scopes_of_its_token(live):
    ticket = await mint(live, (await live.login(scope="me"))["access_token"])
    answer = await use(live, ticket)
    assert answer.status_code == 403 and answer.json()["scope"] == "items"
    assert kept(live) == [], "it has opened a request, which was not let in"


async def test_after_its_time_it_opens_nothing(live):
    tickets = [await mint(live) for _ in range(2)]
    live.clock.tick(29.9)
    assert (await use(live, tickets[0])).is_success
    live.clock.tick(0.1)
    with live.unchanged():
        is_refused(await use(live, tickets[1]))


@pytest.mark.parametrize("ticket", ["wwt_", "wwt_" + "A" * 60, "wwt_%00", "wwt_\u00ff", "wwt_x+y"])
async def test_what_strangers_make_up_costs_no_statement(live, ticket, monkeypatch):
    asked = []
    for name in ("read", "write"):
        monkeypatch.setattr(live.auth.driver, name, lambda *a, **more: asked.append(a))
    is_refused(await use(live, ticket))
    assert asked == []


async def test_a_ticket_of_another_server_is_unknown(live, build):
    other = build(prepare)
    await other.auth.start()
    await other.add_user("johndoe")
    ticket = await mint(other)  # written with the same secret, kept in another database
    is_refused(await use(live, ticket))
    assert (await use(other, ticket)).is_success


@pytest.mark.attack("T-41")
async def test_no_other_thing_that_works_once_is_a_ticket(live):
    ticket = await mint(live)
    live.rows("UPDATE watchword_once SET kind = 'code'")
    is_refused(await use(live, ticket))
    assert [kind for kind, _ in kept(live)] == ["code"]


@pytest.mark.parametrize("end", ["revoked", "expired", "disabled"])
async def test_a_ticket_dies_with_its_token(live, end):
    tokens = await live.login()
    live.clock.tick(live.auth.settings.access_ttl + 10)  # within what clocks may differ by
    if end != "expired":
        tokens = await live.login()
    ticket = await mint(live, tokens["access_token"])
    if end == "revoked":
        await live.http.post("/revoke-token", headers=bearer(tokens["access_token"]))
    elif end == "disabled":
        await live.auth.store.set_disabled("u_johndoe", live.clock(), disabled=True)
    else:
        live.clock.tick(20)
    is_refused(await use(live, ticket))


@pytest.mark.attack("J-35")
async def test_a_ticket_beside_another_credential_is_refused_and_stays(live):
    token = (await live.login())["access_token"]
    ticket, other = await mint(live, token), await mint(live, token)
    with live.unchanged():
        for answer in (
            await use(live, ticket, headers=bearer(token)),
            await use(live, f"{ticket}&ticket={other}"),
            await use(live, f"{ticket}&access_token={token}"),
        ):
            assert answer.status_code == 400 and answer.json()["error"] == "invalid_request"
            assert "error=" in answer.headers["www-authenticate"]
    assert (await use(live, ticket)).is_success


async def test_a_ticket_opens_no_page_and_changes_nothing(live):
    ticket = await mint(live)
    with live.unchanged():
        for more in ({"method": "POST"}, {"headers": {"Accept": "*/*"}}):
            answer = await use(live, ticket, **more)
            assert answer.status_code == 400 and answer.json()["error"] == "invalid_request"
    assert (await use(live, ticket)).is_success


@pytest.mark.attack("J-35")
async def test_a_token_in_the_url_opens_nothing_as_ever(live):
    token = (await live.login())["access_token"]
    for query in (f"access_token={token}", f"ticket={token}", f"token={token}"):
        answer = await live.http.get(f"/kernel?{query}", headers=STREAM)
        assert (answer.status_code, answer.json()["code"]) == (401, "WW-201")


async def test_an_apps_own_ticket_is_its_own(live):
    token = (await live.login())["access_token"]
    assert (await live.get("/messages?ticket=42", token)).json() == "42"


@pytest.mark.attack("Z-15")
async def test_of_fifty_at_once_one_gets_in(live):
    for _ in range(4):
        ticket = await mint(live)
        answers = await asyncio.gather(*(use(live, ticket, "/whole") for _ in range(50)))
        assert sorted(answer.status_code for answer in answers) == [200, *[401] * 49]


async def test_a_store_that_is_away_lets_nobody_in_and_spends_nothing(live, monkeypatch):
    from watchword.seams import Unavailable

    ticket = await mint(live)

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("disk full")

    monkeypatch.setattr(live.auth.driver, "write", away)
    answer = await use(live, ticket)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    monkeypatch.undo()
    assert (await use(live, ticket)).is_success


async def test_in_development_a_refusal_says_what_to_do(live):
    ticket = await mint(live)
    await use(live, ticket)
    hint = (await use(live, ticket)).json()["hint"]
    assert "used before" in hint and "ticket" in hint and "explain" not in hint


# --- sockets and streams ---


async def test_a_socket_opens_once_and_is_closed_with_its_token(live):
    token = (await live.login())["access_token"]
    ticket, other = await mint(live, token), await mint(live)
    client = TestClient(live.app, base_url="http://localhost:8000")
    with (
        client.websocket_connect(f"/ws?ticket={ticket}", subprotocols=["chat"]) as socket,
        client.websocket_connect(f"/ws?ticket={other}") as unharmed,
    ):
        assert socket.accepted_subprotocol is None
        time.sleep(0.2)  # ten looks at the token behind it
        live.clock.tick(60)  # and the ticket's own end is nothing to a socket that is open
        time.sleep(0.1)
        socket.send_text("hi")
        assert socket.receive_text() == "johndoe: hi"
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            client.websocket_connect(f"/ws?ticket={ticket}"),
        ):
            pass
        assert denied.value.status_code == 401
        client.post("/revoke-token", headers=bearer(token))
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 4401
        unharmed.send_text("still here")
        assert unharmed.receive_text() == "johndoe: still here"


async def test_a_socket_ends_when_its_token_expires(live):
    ticket = await mint(live)
    client = TestClient(live.app, base_url="http://localhost:8000")
    with client.websocket_connect(f"/ws?ticket={ticket}") as socket:
        live.clock.tick(live.auth.settings.access_ttl + 60)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 4401


async def test_a_stream_ends_with_its_token(live):
    token = (await live.login())["access_token"]
    streaming = asyncio.create_task(use(live, await mint(live, token), "/events"))
    await asyncio.sleep(0.2)
    assert not streaming.done()
    await live.http.post("/revoke-token", headers=bearer(token))
    answer = await asyncio.wait_for(streaming, 5)
    assert answer.status_code == 200 and "data: tick" in answer.text


# --- guards beside the server's own ---


async def test_a_guard_alone_knows_no_tickets(live):
    guard = Guard(issuer="http://localhost:8000", audience="http://localhost:8000")

    @live.app.get("/alone", dependencies=[guard.require()])
    async def alone(ticket: str) -> str:
        return ticket

    ticket = await mint(live)
    with live.unchanged():
        answer = await use(live, ticket, "/alone")
        assert (answer.status_code, answer.json()["code"]) == (401, "WW-201")
    assert (await use(live, ticket)).is_success


@pytest.mark.parametrize("first", [True, False])
async def test_guards_that_are_joined_take_the_servers_tickets(live, first):
    other = Guard(issuer="https://other.example.com", audience="https://api.example.com")
    joined = Guard.any_of(*((live.auth, other) if first else (other, live.auth)))
    own = live.auth.token()

    @live.app.get("/joined", dependencies=[joined.require("items")])
    async def route(token: Annotated[AccessToken, own]) -> str:
        return token.sub

    ticket = await mint(live)
    assert (await use(live, ticket, "/joined")).json() == "u_johndoe"
    is_refused(await use(live, ticket, "/joined"))
    neither = Guard.any_of(other, other)

    @live.app.get("/neither", dependencies=[neither.require()])
    async def elsewhere() -> None:
        """Nobody gets here."""

    assert (await use(live, await mint(live), "/neither")).json()["code"] == "WW-201"


async def test_scopes_around_a_route_and_a_guard_inside_count_for_one_ticket(live):
    deep = live.auth.require("me")

    def inner(token: Annotated[AccessToken, Security(deep.dependency)]) -> str:
        return token.sub

    @live.app.get("/deep", dependencies=[live.auth.require("items")])
    async def route(sub: Annotated[str, Security(inner)]) -> str:
        return sub

    assert (await use(live, await mint(live), "/deep")).json() == "u_johndoe"


@pytest.mark.attack("Z-15")
async def test_across_a_network_one_gets_in_too(build, postgres_url):
    one = build(prepare, database_url=postgres_url)
    await one.auth.start()
    await one.add_user("johndoe")
    other = build(prepare, database_url=postgres_url, now=one.clock)
    await other.auth.start()
    token = (await one.login())["access_token"]
    for _ in range(3):
        ticket = await mint(one, token)
        answers = await asyncio.gather(
            *(use((one, other)[n % 2], ticket, "/whole") for n in range(20))
        )
        assert sorted(answer.status_code for answer in answers) == [200, *[401] * 19]
    ticket = await mint(one, token)
    await one.http.post("/revoke-token", headers=bearer(token))
    is_refused(await use(one, ticket))

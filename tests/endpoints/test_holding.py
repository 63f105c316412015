"""Refusals that are held back: for a moment, for a bounded number, and for nobody who has gone."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
import uvicorn

from watchword.endpoints import holding
from watchword.endpoints.holding import Holding
from watchword.endpoints.routing import Endpoints
from watchword.limits import Limit

OFF = Limit.parse("off")
LOGIN = {"username": "johndoe", "password": "secret"}


class Client:
    """What a server tells of a client: that it has gone, once it has."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def held_for(back: Holding, client: Client) -> float:
    began = time.monotonic()
    await back.back(client.receive)
    return time.monotonic() - began


@pytest.fixture
async def full(build):
    """A server whose hash queue is full, and stays so."""
    server = build()
    await server.auth.start()
    await server.add_user("johndoe")
    server.auth.passwords.waiting = 10_000_000
    yield server
    server.auth.passwords.waiting = 0


async def test_a_refusal_is_held_for_a_moment():
    back = Holding()
    assert 0.045 <= await held_for(back, Client()) < 5
    assert back.held == 0


async def test_the_more_are_held_the_longer():
    back = Holding()
    back.held = 300
    assert await held_for(back, Client()) >= 0.6
    assert back.held == 300


@pytest.mark.attack("D-02")
async def test_beyond_a_bound_nobody_is_held():
    back = Holding()
    waiting = [asyncio.ensure_future(held_for(back, Client())) for _ in range(holding._MOST)]
    await asyncio.sleep(0)
    assert back.held == holding._MOST
    assert await held_for(back, Client()) < 0.04
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert back.held == 0


async def test_who_has_gone_is_let_go_of():
    back, client = Holding(), Client()
    back.held = 500  # so that it would be held for a second at least
    one = asyncio.ensure_future(held_for(back, client))
    await asyncio.sleep(0.05)
    assert (back.held, one.done()) == (501, False)
    client.gone.set()
    assert await one < 0.9
    assert back.held == 500


async def test_a_rest_of_the_body_is_not_a_going_away():
    back = Holding()
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        return await Client().receive()

    began = time.monotonic()
    await back.back(receive)
    assert time.monotonic() - began >= 0.045


@pytest.mark.attack("L-12")
async def test_a_full_queue_refuses_before_anything_is_looked_up(full, refused, monkeypatch):
    async def unreachable(*args):
        raise AssertionError(args)

    monkeypatch.setattr(full.auth.store, "head", unreachable)
    monkeypatch.setattr(full.auth.users, "by_login", unreachable)
    began = time.monotonic()
    answer = await full.post("/token", LOGIN)
    refused(answer, 503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - began >= 0.045
    monkeypatch.undo()
    full.auth.passwords.waiting = 0
    for _ in range(5):  # it was not counted against the account
        assert (await full.post("/token", {**LOGIN, "password": "x"})).status_code == 401


@pytest.mark.attack("D-02")
async def test_forty_who_would_retry_at_once_wait_and_nobody_waits_for_them(full, monkeypatch):
    monkeypatch.setattr(holding, "_SHORTEST", 60.0)
    full.auth._bench.limits.policies.update(dict.fromkeys(full.auth._bench.limits.policies, OFF))
    (back,) = [one._holding for one in full.app.router.routes if isinstance(one, Endpoints)]
    clients = [asyncio.ensure_future(full.post("/token", LOGIN)) for _ in range(40)]
    async with asyncio.timeout(30):
        while back.held < 40:
            await asyncio.sleep(0.01)
    assert (await full.get("/open")).is_success
    assert not any(client.done() for client in clients)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    assert back.held == 0


async def test_a_real_server_hears_that_a_held_client_has_gone(full, monkeypatch):
    monkeypatch.setattr(holding, "_SHORTEST", 60.0)
    (back,) = [one._holding for one in full.app.router.routes if isinstance(one, Endpoints)]
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(full.app, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve([listening]))
    try:
        async with asyncio.timeout(30):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            body = b"username=johndoe&password=secret"
            writer.write(
                b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\n%b" % (len(body), body)
            )
            while back.held < 1:
                await asyncio.sleep(0.01)
            writer.close()
            while back.held:
                await asyncio.sleep(0.01)
    finally:
        server.should_exit = True
        await serving


async def test_other_requests_are_not_held(full):
    answer = await full.post("/token", {"grant_type": "refresh_token", "refresh_token": "x"})
    assert answer.status_code == 400

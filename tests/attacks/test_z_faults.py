"""Row Z-34: whatever fails of what decides, the request fails with it; nothing is served instead.

The functions are those of the parts that endpoints and guards work with, found by looking.
Each is made to raise while every flow is tried: a flow that called it must not succeed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from watchword.crypto import jose
from watchword.endpoints import client_auth, forms
from watchword.endpoints import ticket as ticket_endpoint
from watchword.guard import decisions, tickets, verifier
from watchword.rules import claims, params
from watchword.rules.clients import FIRST_PARTY, Client
from watchword.rules.needs import Need

PARTS = ("store", "limits", "users", "passwords", "signing", "refresh_tokens", "tickets", "devices")
FUNCTIONS = [
    (client_auth, "identify"),
    (forms, "read"),
    (params, "token_ask"),
    (claims, "access"),
    (jose, "verify"),
    (verifier, "judged"),
    (tickets, "token_of"),
    (tickets, "presented"),
    (decisions, "presented"),
    (decisions.Decisions, "token_of"),
    (decisions.Decisions, "still_good"),
    (Client, "must_be_allowed"),
    (Client, "must_differ_from"),
    (Need, "judge"),
    (ticket_endpoint, "redeemed"),
]
# What was committed is acknowledged, even if this process cannot read of it: it lets nobody in.
COMMITTED = {("store.tail", "revoke"), ("store.tail", "revoke bearer")}


class Fault(Exception):
    """What nobody expects."""


def sabotaged(real: Any, calls: list[str]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(real):

        async def later(*_: object, **__: object) -> Any:
            calls.append("x")
            raise Fault

        return later

    def now(*_: object, **__: object) -> Any:
        calls.append("x")
        raise Fault

    return now


def functions(at: Any) -> list[tuple[str, Any, str]]:
    """Every function of every part: its name here, where it is, what it is called there."""
    found = [(f"{place.__name__.split('.')[-1]}.{name}", place, name) for place, name in FUNCTIONS]
    found.append(("log.catch_up", type(at.log), "catch_up"))
    for part in PARTS:
        thing = getattr(at, part)
        for name, _ in inspect.getmembers(type(thing), inspect.isfunction):
            if not name.startswith("_"):
                found.append((f"{part}.{name}", type(thing), name))
    return found


@pytest.fixture
async def house(build):
    made = build(limit_token="off", limit_login_device="off", limit_login_account_ip="off",
                 limit_login_account="off", limit_login_ip="off")  # fmt: skip
    await made.auth.start()
    await made.add_user("johndoe")
    made.job = await made.add_client(
        "job", scopes="items", introspects=(made.auth.settings.audience,)
    )
    return made


class Flows:
    """Everything that can be asked of a server, each with tokens of its own."""

    def __init__(self, server, tokens: list[dict[str, Any]], ticket: str) -> None:
        self.server, self.ticket = server, ticket
        self.mine, self.doomed, self.bearer_doomed = tokens
        self.id, self.secret = server.job

    def all(self) -> dict[str, Callable[[], Any]]:
        me = self.mine["access_token"]
        post, get = self.server.post, self.server.get
        job = {"client_id": self.id, "client_secret": self.secret}
        bearer = {"Authorization": f"Bearer {me}"}
        stream = {"Accept": "text/event-stream"}
        return {
            "guarded": lambda: get("/guarded", me),
            "me": lambda: get("/users/me", me),
            "ticket": lambda: post("/auth/ticket", headers=bearer),
            "by ticket": lambda: get(f"/guarded?ticket={self.ticket}", headers=stream),
            "introspect": lambda: post("/introspect", {"token": me, **job}),
            "service": lambda: post("/token", {"grant_type": "client_credentials", **job}),
            "login": lambda: post("/token", {"username": "johndoe", "password": "secret"}),
            "refresh": lambda: self.server.refresh(self.mine["refresh_token"]),
            "revoke": lambda: post("/revoke", {"token": self.doomed["refresh_token"], "client_id": FIRST_PARTY}),
            "revoke bearer": lambda: post(
                "/revoke-token",
                headers={"Authorization": f"Bearer {self.bearer_doomed['access_token']}"},
            ),
        }  # fmt: skip


async def flows(server) -> dict[str, Callable[[], Any]]:
    tokens = [await server.login() for _ in range(3)]
    bearer = {"Authorization": f"Bearer {tokens[0]['access_token']}"}
    ticket = (await server.post("/auth/ticket", headers=bearer)).json()["ticket"]
    return Flows(server, tokens, ticket).all()


def succeeded(answer: Any) -> bool:
    return answer.status_code == 200 and answer.json() != {"active": False}


@pytest.mark.attack("Z-34")
async def test_every_flow_succeeds_when_nothing_fails(house):
    for name, ask in (await flows(house)).items():
        answer = await ask()
        assert succeeded(answer), (name, answer.text)


@pytest.mark.attack("Z-34")
async def test_a_flow_whose_part_fails_does_not_succeed(house, monkeypatch):
    used = set()
    for name, place, attribute in functions(house.auth._bench):
        asks = await flows(house)
        calls: list[str] = []
        for flow, ask in asks.items():
            before = len(calls)
            with monkeypatch.context() as patched:
                real = inspect.getattr_static(place, attribute)
                patched.setattr(place, attribute, sabotaged(real, calls))
                try:
                    answer = await ask()
                except Fault:
                    pass  # a plain 500 of the server above
                else:
                    served = len(calls) > before and succeeded(answer)
                    assert not served or (name, flow) in COMMITTED, answer.text
            if len(calls) > before:
                used.add(name)
    assert len(used) >= 40, "the list is of functions that nobody calls"

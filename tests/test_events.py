"""What happened, as values: told in order, after it is true, and without any secret."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from watchword import events
from watchword.events import Event, Events, LimitReached, SignInFailed

KINDS = [
    kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)
]


def test_every_event_has_a_kind_of_its_own_and_cannot_change():
    assert len({kind.kind for kind in KINDS}) == len(KINDS)
    event = SignInFailed(1.0, "wrong password", "abc", "watchword", "203.0.113.1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at = 2.0


@pytest.mark.attack("S-03")
def test_no_event_has_a_place_for_a_secret():
    for kind in KINDS:
        names = {field.name for field in dataclasses.fields(kind)}
        assert not names & {
            "password",
            "token",
            "refresh_token",
            "access_token",
            "secret",
            "username",
        }


def test_a_listener_that_fails_stops_nobody(caplog):
    told, sink = [], Events()

    def broken(event):
        raise RuntimeError("the siem is away")

    sink.listen(broken)
    sink.listen(told.append)
    event = SignInFailed(1.0, "wrong password", "abc", "watchword", "203.0.113.1")
    sink(event)
    assert told == [event]
    assert "a listener failed on login.failed" in caplog.text


def test_the_line_in_the_log_carries_facts_as_fields(caplog):
    caplog.set_level(logging.DEBUG, "watchword.events")
    evil = "x\r\nlogin.succeeded \x1b[31m"
    Events()(SignInFailed(1.0, evil, "abc", evil, evil))
    (record,) = caplog.records
    assert record.getMessage() == "login.failed"
    assert record.levelno == logging.WARNING
    assert (record.reason, record.client_id, record.event) == (evil, evil, "login.failed")


async def test_a_session_is_told_from_login_to_logout(server):
    tokens = await server.login()
    tokens = (await server.refresh(tokens["refresh_token"])).json()
    await server.post("/revoke", {"token": tokens["refresh_token"]})
    await server.post("/token", {"username": "johndoe", "password": "wrong"})
    kinds = [event.kind for event in server.events if event.kind != "keys.rotated"]
    assert kinds == ["login.succeeded", "token.refreshed", "token.revoked", "login.failed"]
    signed_in, refreshed, revoked, failed = server.events[-4:]
    assert signed_in.grant_id == refreshed.grant_id == revoked.target
    assert (signed_in.sub, signed_in.ip, signed_in.client_id) == (
        "u_johndoe",
        "127.0.0.1",
        "watchword",
    )
    assert failed.reason == "wrong password"
    assert {event.at for event in (signed_in, refreshed, revoked, failed)} == {server.clock()}


@pytest.mark.sqlite
async def test_an_app_is_told_what_it_asked_for(build):
    heard = []

    def prepare(app, auth) -> None:
        @auth.after("login.failed")
        def alarm(event) -> None:
            heard.append(event.kind)

    server = build(prepare, database_url="sqlite:///:memory:")
    await server.auth.start()
    await server.add_user("johndoe")
    await server.login()
    await server.post("/token", {"username": "johndoe", "password": "wrong"})
    assert heard == ["login.failed"]


def test_an_app_may_tell_of_events_of_its_own():
    @dataclasses.dataclass(frozen=True, slots=True)
    class Invited(Event):
        kind = "user.invited"
        by: str

    @dataclasses.dataclass(frozen=True, slots=True)
    class InvitedTwice(Invited):
        """It has no kind of its own, so it is no other event."""

    assert events.kinds()["user.invited"] is Invited
    assert set(events.kinds()) >= {kind.kind for kind in KINDS if kind is not Event}
    assert Event.kind not in events.kinds()


def test_each_event_has_an_id_that_says_nothing_about_what_it_tells():
    one, other = (LimitReached(1.0, "login_ip", "203.0.113.1") for _ in range(2))
    assert one.id != other.id
    assert one == other
    assert len(one.id) == 32


def test_what_the_store_has_kept_is_not_kept_again():
    told, kept, sink = [], [], Events()
    sink.listen(told.append)
    sink.keep = kept.append
    mine, others = (LimitReached(at, "login_ip", "203.0.113.1") for at in (1.0, 2.0))
    sink.tell(others)
    sink(mine)
    assert told == [others, mine]
    assert kept == [mine]


@pytest.mark.attack("D-12", "L-08")
async def test_a_flood_is_told_once_and_not_for_every_drop(build):
    server = build(env="production", issuer="https://id.example.com")
    await server.auth.start()
    for _ in range(100):
        await server.post("/token", {"username": "johndoe", "password": "wrong"})
    assert len(server.told("login.failed")) == 5
    reached = [event.policy for event in server.told("limit.reached")]
    assert reached == ["login_account_ip", "login_ip"], "each limit once"

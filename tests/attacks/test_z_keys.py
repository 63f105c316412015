"""Rows Z-16, Z-24, Z-25 and Z-35: clocks, keys and chance that fail, on either database."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets

import pytest

from watchword.crypto.secrets import fresh
from watchword.errors import ConfigError
from watchword.signing import LEAD

SQLITE = pytest.param("sqlite", marks=pytest.mark.sqlite)


@pytest.fixture(params=[SQLITE, "postgresql", "postgresql, without hints"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/w.db"
    url = request.getfixturevalue("postgres_url")
    return f"{url}?pgbouncer=true" if "hints" in request.param else url


@pytest.fixture
async def two(build, url):
    """Two servers on one database, with one clock."""
    one = build(database_url=url, limit_token="off")
    await one.auth.start()
    await one.add_user("johndoe")
    other = build(database_url=url, limit_token="off", now=one.clock)
    await other.auth.start()
    return one, other


async def status(server, token: str) -> int:
    return (await server.get("/guarded", token)).status_code


# --- Z-24 ---


@pytest.mark.attack("Z-24")
async def test_sessions_outlive_a_rotation_wherever_they_are(two):
    one, other = two
    sessions = [await one.login() for _ in range(100)]
    await one.auth.signing.rotate("ES256", even_if_young=True)
    one.clock.tick(LEAD + 1)
    for n, tokens in enumerate(sessions):
        here, there = two if n % 2 else (other, one)
        assert await status(here, tokens["access_token"]) == 200
        fresh_ = await here.refresh(tokens["refresh_token"])
        assert fresh_.status_code == 200
        assert await status(there, fresh_.json()["access_token"]) == 200


@pytest.mark.attack("Z-24")
async def test_a_token_of_a_key_that_is_new_to_a_node_is_no_stranger(two):
    """After a leak the successor signs at once: no node may refuse what it has signed."""
    one, other = two
    for _ in range(20):
        await other.login()  # it knows the key before
        assert await one.auth.signing.rotate("ES256", at_once=True)
        token = (await one.login())["access_token"]
        assert await status(other, token) == 200
        one.clock.tick(1)


@pytest.mark.attack("Z-24")
async def test_whoever_dies_between_making_a_key_and_publishing_it_leaves_nothing(two, monkeypatch):
    one, other = two
    published = await kids(other)

    async def dies(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(one.auth.store, "add_key", dies)
        with pytest.raises(asyncio.CancelledError):
            await one.auth.signing.rotate("ES256", at_once=True)
    assert await kids(other) == await kids(one) == published
    token = (await one.login())["access_token"]
    assert await status(other, token) == 200


async def kids(server) -> set[str]:
    return {key["kid"] for key in (await server.get("/.well-known/jwks.json")).json()["keys"]}


# --- Z-25 ---


@pytest.mark.attack("Z-25")
async def test_a_key_that_cannot_be_read_signs_nothing_and_nothing_steps_in(two, url, build):
    one, other = two
    tokens = await one.login()
    rows = one.rows("SELECT kid FROM watchword_signing_keys ORDER BY kid")
    if one.auth.driver.is_local:
        one.auth.driver._writer.execute("UPDATE watchword_signing_keys SET sealed = x'00'")
    else:
        one.rows("UPDATE watchword_signing_keys SET sealed = '\\x00'::bytea")
    for server in two:
        await server.add_client(f"news_{id(server)}")  # the keys are read again
        for ask in (
            server.post("/token", {"username": "johndoe", "password": "secret"}),
            server.refresh(tokens["refresh_token"]),
        ):
            answer = await ask
            if answer.status_code == 200:  # by the key that this process had opened before
                assert await status(other, answer.json()["access_token"]) == 200
            else:
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) > 0
        assert await status(server, tokens["access_token"]) == 200, "it verifies as before"
    third = build(database_url=url, now=one.clock)
    with pytest.raises(ConfigError, match="cannot be opened"):
        await third.auth.start()
    assert one.rows("SELECT kid FROM watchword_signing_keys ORDER BY kid") == rows


# --- Z-16 ---

MOST_WAITED = 120  # seconds; what the slowest bucket takes for one try, twice


async def signs_in(server, clock) -> dict:
    """An honest person, who comes back when told to."""
    waited = 0
    while True:
        answer = await server.post("/token", {"username": "johndoe", "password": "secret"})
        if answer.status_code == 200:
            return answer.json()
        assert answer.status_code == 429, answer.text
        waited += int(answer.headers["retry-after"])
        assert waited <= MOST_WAITED
        clock.tick(int(answer.headers["retry-after"]))


@pytest.mark.no_redis  # its clock is its own, and does not leap with ours
@pytest.mark.attack("Z-16")
@pytest.mark.parametrize("leap", [3600.0, -3600.0, -600.0, 1.0])
async def test_a_clock_that_leaps_revives_nothing_and_locks_nobody_out(two, leap):
    one, other = two
    spent = (await one.login())["refresh_token"]
    tokens = (await one.refresh(spent)).json()
    gone = await one.login()
    for _ in range(3):
        await one.post("/token", {"username": "johndoe", "password": "wrong"})
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    ticket = (await one.post("/auth/ticket", headers=bearer)).json()["ticket"]
    assert await opens(one, ticket) == 200
    await one.post("/revoke-token", headers={"Authorization": f"Bearer {gone['access_token']}"})
    await other.hear()

    for by in (leap, -leap):
        one.clock.tick(by)
        for server in two:
            assert await opens(server, ticket) == 401
            assert await status(server, gone["access_token"]) == 401
            assert (await server.refresh(gone["refresh_token"])).status_code == 400
            fresh_ = await signs_in(server, one.clock)
            for where in two:
                assert await status(where, fresh_["access_token"]) == 200
    if abs(leap) > 30:
        one.clock.tick(leap)
        assert (await other.refresh(spent)).status_code == 400, "beyond the window, either way"


async def opens(server, ticket: str) -> int:
    stream = {"Accept": "text/event-stream"}
    return (await server.http.get(f"/guarded?ticket={ticket}", headers=stream)).status_code


# --- Z-35 ---


@pytest.mark.attack("Z-35")
async def test_without_chance_nothing_is_made(two, monkeypatch):
    one, _ = two
    tokens = await one.login()

    def empty(*_: object) -> bytes:
        raise OSError("no entropy")

    monkeypatch.setattr(os, "urandom", empty)
    monkeypatch.setattr(secrets, "token_bytes", empty)
    monkeypatch.setattr(one.auth._bench, "fresh", empty)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    with one.unchanged():
        for ask in (
            lambda: one.post("/token", {"username": "johndoe", "password": "secret"}),
            lambda: one.post("/auth/ticket", headers=bearer),
        ):
            with pytest.raises(OSError, match="no entropy"):  # a plain 500 of the server above
                await ask()
    assert await status(one, tokens["access_token"]) == 200


def _tell(end) -> None:
    end.send([fresh("x").clear for _ in range(3)])
    end.close()


@pytest.mark.attack("Z-35")
def test_workers_that_were_forked_from_one_process_make_different_secrets():
    made = [fresh("x").clear for _ in range(3)]
    fork = multiprocessing.get_context("fork")
    for _ in range(4):
        answers, question = fork.Pipe(duplex=False)
        child = fork.Process(target=_tell, args=(question,))
        child.start()
        made += answers.recv()
        child.join(30)
        for end in (answers, question):
            end.close()
    assert len(set(made)) == len(made) == 15

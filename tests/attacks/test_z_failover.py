"""Rows Z-09, Z-10 and Z-31 on real standbys and backups: nobody revoked is let in, and nothing
that works once works twice, whatever a database has forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from cable import Cable
from pg import PostgresServer

from watchword.seams import Unavailable
from watchword.store import schema
from watchword.store.databases import driver_of

STALE = 1.0


class Pair:
    """A primary, and a standby that hears of it through a cable that can be cut."""

    def __init__(self) -> None:
        self.primary = PostgresServer()
        self.cable = Cable(self.primary.port)
        self.standby = PostgresServer(follows=self.primary, by=self.cable.port)

    @property
    def url(self) -> str:
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://postgres@{hosts}/w"

    def until_it_has_heard(self) -> None:
        (here,) = self.primary.ask("SELECT pg_current_wal_lsn()")[0]
        ask = f"SELECT pg_last_wal_replay_lsn() >= '{here}'"
        until(lambda: self.standby.ask(ask) == [(True,)], "the standby hears everything")

    def lose_the_tail(self) -> None:
        """From now on the standby hears nothing."""
        self.cable.cut(for_good=True)

    def fail_over(self) -> None:
        self.primary.kill()
        self.standby.promote()

    def close(self) -> None:
        self.standby.close()
        self.primary.close()
        self.cable.cut(for_good=True)


def until(true: Callable[[], object], what: str, within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, f"it took too long: {what}"
        time.sleep(0.05)


@pytest.fixture
def pair():
    made = Pair()
    made.primary.database("w")
    made.until_it_has_heard()
    yield made
    made.close()


@pytest.fixture
async def served(pair, build):
    """A server that may be led to either, by the primary's clock and nobody else's."""
    server = build(database_url=pair.url, max_stale=f"{STALE}s", limit_token="off", now=time.time)
    await server.auth.start()
    await server.add_user("johndoe")
    return server


async def status(server, token: str) -> int:
    return (await server.get("/guarded", token)).status_code


async def comes(server, token: str, wanted: int) -> None:
    """In time, and no other answer but 503 before."""
    end = time.monotonic() + 20
    while (found := await status(server, token)) != wanted:
        assert found == 503
        assert time.monotonic() < end
        time.sleep(0.05)


async def revoke(server, tokens) -> None:
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await server.post("/revoke-token", headers=bearer)).status_code == 200


@pytest.mark.attack("Z-09")
async def test_nobody_reads_from_a_standby(pair, build):
    schema.prepare(driver_of(pair.primary.url("w")), upgrade=False)
    pair.until_it_has_heard()
    alone = driver_of(pair.standby.url("w"))
    with pytest.raises(Unavailable, match="hot standby|recovery"):
        schema.prepare(alone, upgrade=False)
    server = build(database_url=pair.standby.url("w"))
    assert (await server.get("/guarded", "x.y.z")).status_code == 503
    assert (await server.get("/auth/health/ready")).status_code == 503


@pytest.mark.attack("Z-09")
async def test_a_standby_that_lags_lets_nobody_revoked_in(pair, served):
    tokens, gone = [await served.login() for _ in range(2)]
    pair.until_it_has_heard()
    pair.standby.ask("SELECT pg_wal_replay_pause()")
    await revoke(served, gone)
    assert await status(served, gone["access_token"]) == 401
    assert await status(served, tokens["access_token"]) == 200
    disabled = await served.auth.store.set_disabled("u_johndoe", served.clock(), disabled=True)
    assert disabled
    assert await status(served, tokens["access_token"]) == 401
    assert (await served.refresh(tokens["refresh_token"])).status_code == 400
    assert (await served.get("/auth/health/ready")).status_code == 200


@pytest.mark.attack("Z-10")
async def test_a_standby_that_heard_everything_takes_over_and_nothing_is_lost(pair, served):
    tokens, gone = [await served.login() for _ in range(2)]
    spent = tokens["refresh_token"]
    tokens = (await served.refresh(spent)).json()
    await revoke(served, gone)
    pair.until_it_has_heard()
    pair.fail_over()
    await comes(served, tokens["access_token"], 200)
    assert await status(served, gone["access_token"]) == 401
    assert (await served.refresh(gone["refresh_token"])).status_code == 400
    assert (await served.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.attack("Z-10", "Z-31")
async def test_a_standby_that_lost_the_tail_takes_over(pair, served, build, caplog):
    """What was issued, spent and revoked in the tail is unknown to the new primary."""
    known, spent, gone = [await served.login() for _ in range(3)]
    twice = [spent["refresh_token"]]
    twice.append((await served.refresh(twice[0])).json()["refresh_token"])
    pair.until_it_has_heard()
    pair.lose_the_tail()
    lost = await served.login()
    for _ in range(3):
        twice.append((await served.refresh(twice[-1])).json()["refresh_token"])
    await revoke(served, gone)
    pair.fail_over()

    time.sleep(STALE)  # what was known of the old primary is of no use any more
    await comes(served, known["access_token"], 200)
    assert "the revocation log went back" in caplog.text
    assert await status(served, gone["access_token"]) == 401, "this process had heard of it"
    # The newest token works, by healing the grant; those before it do not.
    assert (await served.refresh(lost["refresh_token"])).status_code == 400
    healed = await served.refresh(twice[-1])
    assert healed.status_code == 200
    assert (await served.refresh(twice[2])).status_code == 400, "spent: it ends the grant"
    assert (await served.refresh(healed.json()["refresh_token"])).status_code == 400

    before = await served.login()
    await served.auth.store.bump_epoch(served.clock(), end_everything=True)
    later = build(database_url=pair.url, max_stale=f"{STALE}s", now=time.time)
    await later.auth.start()
    for tokens in (known, gone, lost, before):
        for server in (served, later):
            await comes(server, tokens["access_token"], 401)
            assert (await server.refresh(tokens["refresh_token"])).status_code == 400
    fresh = await later.login()
    await comes(served, fresh["access_token"], 200)
    await comes(later, fresh["access_token"], 200)


@pytest.mark.attack("Z-10")
async def test_an_old_primary_that_comes_back_is_not_believed(pair, served):
    """It knows nothing of the epoch that has begun meanwhile."""
    tokens = await served.login()
    pair.until_it_has_heard()
    pair.fail_over()
    await comes(served, tokens["access_token"], 200)
    await served.auth.store.bump_epoch(served.clock(), end_everything=False)
    await revoke(served, tokens)
    pair.standby.stop()
    pair.primary.start()
    refused = await status(served, tokens["access_token"])
    assert refused in (401, 503), "by what it knew, until that is too old"
    fresh = await served.login()  # of the old primary, which takes writes
    time.sleep(STALE * 1.5)
    assert await status(served, fresh["access_token"]) == 503
    assert await status(served, tokens["access_token"]) in (401, 503)

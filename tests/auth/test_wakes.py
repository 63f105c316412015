"""Where nobody can listen to the database, Redis says that there is news."""

from __future__ import annotations

import asyncio
import time

import pytest

from watchword.seams import Account, StoredUser
from watchword.store import schema
from watchword.store.postgres import Postgres

SLOW = 40.0  # seconds; a poll of its own would come after ten


@pytest.fixture
def pooled(postgres_url):
    schema.prepare(Postgres(postgres_url), upgrade=False)
    return f"{postgres_url}?pgbouncer=true"


@pytest.mark.parametrize("told", [True, pytest.param(False, marks=pytest.mark.no_redis)])
async def test_another_process_hears_of_a_revocation_at_once(build, pooled, valkey, told):
    more = {"redis_url": valkey.url} if told else {"redis_url": ""}
    here, there = (build(database_url=pooled, max_stale=SLOW, **more) for _ in range(2))
    await here.auth.start()
    await there.auth.start()
    hashed = await here.auth.passwords.hash("secret")
    account = Account("u_johndoe", "johndoe", scopes=("me",))
    await here.auth.store.add_user(StoredUser(account, hashed))
    token = (await here.login())["access_token"]
    assert (await there.get("/guarded", token)).status_code == 200
    await asyncio.sleep(0.5)  # until it listens
    assert (await here.http.post("/revoke-token", headers=_bearer(token))).status_code == 200
    assert (await here.get("/guarded", token)).status_code == 401
    began = time.monotonic()
    while (await there.get("/guarded", token)).status_code == 200:
        if time.monotonic() - began > 3:
            break
        await asyncio.sleep(0.01)
    assert (time.monotonic() - began < 3) is told


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}

"""How a server ends: in order, and without a word."""

from __future__ import annotations

import asyncio
import logging

import pytest
from fastapi import FastAPI

from watchword import Auth

SECRET = "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A"


@pytest.fixture
def app(postgres_url, valkey) -> FastAPI:
    """Everything across a network, so that there is something to end."""
    made = FastAPI()
    Auth(
        made,
        env="development",
        issuer="http://localhost:8000",
        secret=SECRET,
        database_url=postgres_url,
        redis_url=valkey.url,
        redis_timeout=5.0,
        audit_routes="off",
    )
    return made


def told(caplog) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.levelno >= logging.WARNING]


async def others() -> set[asyncio.Task]:
    await asyncio.sleep(0)
    return asyncio.all_tasks() - {asyncio.current_task()}


async def in_the_midst(auth: Auth) -> None:
    """Until a poll is under way, which is when an end comes least conveniently."""
    polls = auth.revocations._feed
    real, begun = polls.tail, asyncio.Event()

    class Slow:
        async def tail(self, after: int, epoch: int):
            begun.set()
            return await real(after, epoch)

    auth.revocations._feed = Slow()
    auth.revocations.wake()
    async with asyncio.timeout(10):
        await begun.wait()


@pytest.mark.parametrize("poll", ["at rest", "under way"])
async def test_at_the_end_of_the_app_nothing_is_left_and_nothing_said(app, caplog, poll) -> None:
    auth, before = app.state.watchword, await others()
    for _ in range(2):  # and it begins again
        async with app.router.lifespan_context(app):
            assert await others() > before
            caplog.clear()
            if poll == "under way":
                await in_the_midst(auth)
        assert await others() == before
        assert told(caplog) == []


@pytest.mark.parametrize("poll", ["at rest", "under way"])
async def test_close_is_as_quiet_and_ends_everything_soon(app, caplog, poll) -> None:
    auth, before = app.state.watchword, await others()
    await auth.start()
    caplog.clear()
    if poll == "under way":
        await in_the_midst(auth)
    auth.close()
    async with asyncio.timeout(10):
        while await others() != before:
            await asyncio.sleep(0.01)
    assert told(caplog) == []


async def test_what_never_began_can_be_stopped(app) -> None:
    await app.state.watchword.stop()

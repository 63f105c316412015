"""A server's life beside its requests: with the app's lifespan, and once a minute."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from watchword.rules.clients import FIRST_PARTY, Client
from watchword.rules.scopes import NONE
from watchword.seams import Store, Unavailable

if TYPE_CHECKING:
    from fastapi import FastAPI

    from watchword.auth import Auth

log = logging.getLogger("watchword")
TICK = 60.0  # seconds between two rounds of clean-up


def live_with(app: FastAPI, auth: Auth) -> None:
    """Start and end with an app, whatever lifespan it has; a mounted app starts lazily."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(of: Any) -> AsyncIterator[Any]:
        auth.deliveries.hold()
        await auth.start()
        if auth.shared is not None:
            await auth.shared.greet()
        tidying = asyncio.create_task(_tidy_forever(auth))
        handed_back = auth.readiness.drain_when_told(auth.settings.drain)
        try:
            async with inner(of) as state:
                await auth.deliveries.release()
                try:
                    yield state
                finally:  # functions may need what the app's own lifespan closes
                    await auth.deliveries.end()
        finally:
            handed_back()
            tidying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tidying
            await auth.stop()

    app.router.lifespan_context = lifespan


async def stop(self: Auth) -> None:
    """As `close`, in order: what goes on beside the requests ends before its connections do."""
    await self.deliveries.end()
    await self.revocations.stop()
    if self.shared is not None:
        await self.shared.aclose()
    self.close()


async def _tidy_forever(auth: Auth) -> None:
    while True:
        await asyncio.sleep(TICK)
        try:
            await auth.tidy()
        except Unavailable as fault:
            log.warning("no clean-up now: %s", fault)
        except Exception:
            log.exception("clean-up failed; it is tried again in a minute")


async def have_first_party(store: Store, now: float) -> None:
    """Register the built-in client of the tutorial's calls, if it is not there."""
    if await store.client(FIRST_PARTY) is None:
        client = Client(
            id=FIRST_PARTY,
            name="This app",
            auth_method="none",
            grants=frozenset({"password", "refresh_token"}),
            scopes=NONE,
            created_at=now,
        )
        await store.add_client(client, now)

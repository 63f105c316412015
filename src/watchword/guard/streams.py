"""Sockets and streams outlive the request that opened them, but not their token."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from watchword.errors import OAuthError
from watchword.guard.bearer import SUBPROTOCOL
from watchword.guard.decisions import Decisions
from watchword.guard.requirement import policies_of

log = logging.getLogger("watchword.guard")

CHECK_EVERY = 0.5  # seconds between two looks at a token that is in use
CLOSED = 4401  # in the private range of RFC 6455 section 7.4.2; reads as 401


def subprotocol(socket: WebSocket) -> str | None:
    """The protocol to accept with when the token came as one; browsers insist on an answer."""
    for offered in socket.scope.get("subprotocols", ()):
        if offered.startswith(SUBPROTOCOL):
            return str(offered)
    return None


@asynccontextmanager
async def until_revoked(connection: HTTPConnection, decisions: Decisions) -> AsyncIterator[None]:
    """Run the body; end it when the token is no longer good.

    A WebSocket is closed with code 4401, so that the body's next receive or send ends
    it; the body of a stream is cancelled. Expected ends are not errors.
    """
    body = asyncio.current_task()
    ended = left = False

    async def watch() -> None:
        nonlocal ended
        await _until_bad(connection, decisions)
        ended = True
        with contextlib.suppress(Exception):  # the peer may be gone; the body ends all the same
            await _closed(connection)
        if body is not None and not left:
            body.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not ended or body is None or body.uncancel() > 0:
            raise
    except (RuntimeError, WebSocketDisconnect):
        if not ended:  # what a body meets on a socket that we closed
            raise
    finally:
        left = True
        if not ended:  # a socket that is being closed is closed to the end: the peer waits for it
            watcher.cancel()
        await asyncio.wait((watcher,))


async def _until_bad(connection: HTTPConnection, decisions: Decisions) -> None:
    scope, named = connection.scope, asyncio.Event()
    wake = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, named.set)
    policies = policies_of(scope, decisions)
    try:
        token = await decisions.token_of(scope, next(iter(policies)))
        with decisions.watching(token, wake):
            while True:
                for policy in policies:
                    lasting = policy and policy.while_in_use
                    await decisions.still_good(scope, lasting, in_use=True)
                # An entry that names the token ends the wait; so does knowledge that runs out.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(CHECK_EVERY, decisions.lasts() + 0.01)):
                        await named.wait()
                named.clear()
    except OAuthError:
        return
    except Exception:
        log.exception("a token in use could not be checked, so it is not used any longer")
        return


async def _closed(connection: HTTPConnection) -> None:
    open_socket = isinstance(connection, WebSocket) and (
        connection.application_state is WebSocketState.CONNECTED
    )
    if open_socket:
        await connection.close(CLOSED, "token ended")  # type: ignore[attr-defined]

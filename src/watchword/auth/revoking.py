"""`auth.revoke(...)`: ending what was given, from an app's own code."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from watchword.errors import InvalidToken
from watchword.guard.following import DRIFT
from watchword.guard.freshness import Asked
from watchword.rules.access import AccessToken
from watchword.seams import Account, Unavailable
from watchword.store.sql import SqlStore

if TYPE_CHECKING:
    from watchword.auth import Auth

_NOW = Asked(within=0)


async def revoke(
    self: Auth,
    *,
    user: str | Account | None = None,
    client: str | None = None,
    grant: str | bytes | None = None,
    token: str | AccessToken | None = None,
    barrier: bool = False,
) -> str:
    """End everything of a user or of a client, one grant, or what an access token belongs to.

    This process obeys from here on, and every other one on this machine; guards across
    a network within `max_stale`.

    Args:
        self: the server.
        user: an account or its subject.
        client: its id.
        grant: its id; `fid` in a token.
        token: an access token; its whole grant ends.
        barrier: whether to return only when no guard anywhere accepts it any more.

    Returns:
        The log's position. Who sends it as `Auth-Min-Seq` is judged by no older knowledge.

    Raises:
        TypeError: not exactly one of the four was given.
        Unavailable: nothing was revoked.
    """
    if sum(one is not None for one in (user, client, grant, token)) != 1:
        raise TypeError("revoke one thing: user=, client=, grant= or token=")
    await self.start()
    if user is not None:
        subject = user.sub if isinstance(user, Account) else user
        await self.store.revoke_user(subject, self.now())
    elif client is not None:
        await self.store.revoke_client(client, self.now())
    elif grant is not None:
        grant_id = bytes.fromhex(grant) if isinstance(grant, str) else grant
        await self.store.revoke_grant(grant_id, self.now())
    else:
        await _token(self, token)
    epoch, seq = await self.store.position()
    with suppress(Unavailable):  # it is revoked; who cannot hear of it lets nobody in
        await self.revocations.meet(_NOW)
        self.revocations.catch_up(self.now())  # sockets and streams here are cut at once
    if barrier:
        await _settled(self)
    return f"{epoch}.{seq}"


async def _settled(self: Auth) -> None:
    """Return when no guard accepts what was revoked before this call."""
    await self.revocations.settled()
    if not self.revocations.bound and any(one.introspects for one in await self.store.clients()):
        # Here it is obeyed already, but guards elsewhere may follow as such a client.
        await asyncio.sleep(self.settings.max_stale * DRIFT)


async def _token(self: Auth, token: str | AccessToken | None) -> None:
    if isinstance(token, str):
        try:
            token = await self._bench.verify(token)
        except InvalidToken:
            return  # it opens nothing as it is (RFC 7009 section 2.2)
    if token is None:
        return
    if token.fid is not None:
        await self.store.revoke_grant(bytes.fromhex(token.fid), self.now())
    elif token.jti is not None:
        await self.store.revoke_token(token.jti, token.expires_at, self.now())


async def stands(store: SqlStore, token: AccessToken) -> bool:
    """Whether a token is good as the database has it now: one read."""
    return not await store.is_revoked(
        grant_id=None if token.fid is None else bytes.fromhex(token.fid),
        user_id=token.sub,
        client_id=token.client_id,
        jti=token.jti or "",
        rev=token.rev or 0,
    )

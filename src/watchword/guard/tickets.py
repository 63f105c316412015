"""A ticket in place of a token: spent once, for as long as the connection that it opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from starlette.types import Scope

from watchword.errors import InvalidToken
from watchword.guard.bearer import ticket_of, token_of

if TYPE_CHECKING:  # a guard without a store has no secrets
    from watchword.crypto.secrets import Secret

BEHIND = "watchword.ticket"  # where a spent ticket's token stands in its request's scope

Redeem = Callable[[str], "Awaitable[Secret | None]"]
"""Spends a ticket for the token behind it; None when it opens nothing (any more)."""


async def presented(scope: Scope, redeem: Redeem | None) -> str:
    """The token that a request comes with, or the one behind its ticket.

    Whoever asks again, another dependency or a watch over the connection, gets the same
    token, to be judged anew; the ticket is taken by the first.

    Args:
        scope: the request's.
        redeem: None for a guard that knows no tickets; to it they are parameters of the app.

    Raises:
        OAuthError: as `bearer.token_of` and `bearer.ticket_of`; the ticket is not good.
        Unavailable: the store cannot tell.
    """
    ticket = None if redeem is None else ticket_of(scope)
    if redeem is None or ticket is None:
        return token_of(scope)
    token: Secret | None = scope.get(BEHIND)
    if token is None:
        token = scope[BEHIND] = await redeem(ticket)
    if token is None:
        raise InvalidToken("", detail="the ticket was used before, has expired, or is unknown")
    return token.clear


def of_any(known: Sequence[Redeem]) -> Redeem | None:
    """Spends the tickets of several guards, each of which knows its own."""

    async def redeem(ticket: str) -> Secret | None:
        for one in known:
            token = await one(ticket)
            if token is not None:
                return token
        return None

    return redeem if known else None

"""Tickets at `POST {prefix}/ticket`: for what a browser opens by a URL and nothing else.

`new WebSocket(url)` and `new EventSource(url)` cannot send a header, and a token must not
be in a URL (RFC 9700 section 4.3.2). So a page asks for a ticket with its token in the
header, and opens the URL with the ticket: it opens once, within half a minute, what the
token behind it opens, and no longer than that. What is logged on the way is spent already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from watchword.crypto import tickets
from watchword.crypto.secrets import Secret
from watchword.endpoints import answers, forms
from watchword.endpoints.token import caller_of
from watchword.exchanges.bench import Bench
from watchword.guard.bearer import token_of
from watchword.rules.access import AccessToken
from watchword.rules.forwarded import address_key

LIFE = 30  # seconds from the answer to the connection
_KIND = "ticket"


async def ticket(
    request: Request, at: Bench, judged: Callable[[Scope], Awaitable[AccessToken]]
) -> Response:
    """Mint a ticket for the bearer token of this very request.

    Args:
        request: the request.
        at: the bench.
        judged: verifies the token as this server's own guards do.
    """
    await at.limits.spend(at.now(), ("token", address_key(caller_of(request, at).ip)))
    forms.no_secret_in_url(request)
    await judged(request.scope)
    ends_at = at.now() + LIFE
    new = at.tickets.new(at.fresh(tickets.SECRET_LENGTH), ends_at)
    kept = tickets.sealed(token_of(request.scope), new)
    await at.store.put_once(_KIND, tickets.name(new), kept, ends_at)
    return answers.json({"ticket": new.clear, "expires_in": LIFE})


async def redeemed(text: str, at: Bench) -> Secret | None:
    """The token behind a ticket; the ticket is spent. None when it opens nothing (any more).

    The token is not judged here: whoever asks does that, now and for as long as it is used.

    Raises:
        Unavailable: the store cannot tell.
    """
    now = at.now()
    if not at.tickets.may_open(text, now):
        return None
    presented = Secret(text)
    kept = await at.store.take_once(_KIND, tickets.name(presented), now)
    return None if kept is None else tickets.unsealed(kept, presented)

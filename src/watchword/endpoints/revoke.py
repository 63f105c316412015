"""Revocation: RFC 7009 at `POST {prefix}/revoke`, and the tutorial's `POST /revoke-token`.

Whatever is revoked, its whole grant ends: access tokens, refresh token, at once in
every process. The answer never tells whether a token existed (attack rows V-02 to V-06).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from watchword.endpoints import answers, client_auth, forms
from watchword.endpoints.token import caller_of
from watchword.errors import InvalidToken
from watchword.exchanges.bench import Bench
from watchword.guard.bearer import token_of
from watchword.rules import params
from watchword.rules.access import AccessToken
from watchword.rules.clients import Client
from watchword.rules.forwarded import address_key


async def revoke(request: Request, at: Bench) -> Response:
    """RFC 7009 section 2: a client ends one of its own tokens; unknown ones are fine."""
    await at.limits.spend(at.now(), ("token", address_key(caller_of(request, at).ip)))
    fields = await forms.read(request)
    text = params.token_parameter(fields)
    client = await client_auth.identify(request, fields, at)
    presented = at.refresh_tokens.read(text, client.id)
    if presented is not None:
        found = await at.store.grant(presented.grant_id)
        if found is not None and found.proof == presented.proof:
            await at.store.revoke_grant(found.id, at.now())
    else:
        await _end_access_token(text, client, at)
    return answers.json({})


async def revoke_bearer(request: Request, at: Bench) -> Response:
    """The tutorial's logout: the bearer token of this very request, and its grant, end."""
    forms.no_secret_in_url(request)
    token = await at.verify(token_of(request.scope))
    await _end(token, at)
    return answers.json({"detail": "Token revoked"})


async def _end_access_token(text: str, client: Client, at: Bench) -> None:
    try:
        token = await at.verify(text)
    except InvalidToken:
        return  # RFC 7009 section 2.2: an invalid token is already what the client wants
    if token.client_id == client.id:
        await _end(token, at)


async def _end(token: AccessToken, at: Bench) -> None:
    if token.fid is not None:
        await at.store.revoke_grant(bytes.fromhex(token.fid), at.now())
    elif token.jti is not None:
        await at.store.revoke_token(token.jti, token.expires_at, at.now())

"""Introspection (RFC 7662) at `POST {prefix}/introspect`: for those who cannot verify.

Only confidential clients may ask, and only about their own tokens or those for
resources they were registered to look into; about everything else there is one
answer (attack rows V-07 to V-11).
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from watchword.endpoints import answers, client_auth, forms
from watchword.endpoints.token import caller_of
from watchword.errors import InvalidClient, InvalidToken
from watchword.exchanges.bench import Bench
from watchword.rules import params
from watchword.rules.access import AccessToken
from watchword.rules.clients import Client
from watchword.rules.forwarded import address_key

_INACTIVE = {"active": False}  # RFC 7662 section 2.2: and nothing else


async def introspect(request: Request, at: Bench) -> Response:
    """Say whether a token is active, to those who may know."""
    await at.limits.spend(at.now(), ("token", address_key(caller_of(request, at).ip)))
    fields = await forms.read(request)
    text = params.token_parameter(fields)
    client = await client_auth.identify(request, fields, at)
    if client.is_public:  # RFC 7662 section 2.1: or it would be open to token scanning
        raise InvalidClient("Client authentication failed.", detail="a public client")
    return answers.json(
        await _refresh_token(text, client, at) or await _access_token(text, client, at)
    )


async def _refresh_token(text: str, client: Client, at: Bench) -> dict[str, Any] | None:
    presented = at.refresh_tokens.read(text, client.id)
    if presented is None:
        return None
    grant = await at.store.grant(presented.grant_id)
    now = at.now()
    if (
        grant is None
        or grant.proof != presented.proof
        or grant.generation != presented.generation
        or not grant.lives(now)
    ):
        return dict(_INACTIVE)
    return {
        "active": True,
        "client_id": grant.client_id,
        "sub": grant.user_id,
        "scope": str(grant.scopes),
        "exp": int(min(grant.expires_at, grant.idle_until)),
        "iat": int(grant.rotated_at),
        "iss": at.settings.issuer,
    }


async def _access_token(text: str, client: Client, at: Bench) -> dict[str, Any]:
    try:
        token = await at.verify(text)
    except InvalidToken:
        return dict(_INACTIVE)
    if not _may_know(client, token):
        return dict(_INACTIVE)
    claims = {name: value for name, value in token.claims.items() if name not in ("fid", "rev")}
    return {"active": True, "token_type": "Bearer", **claims}


def _may_know(client: Client, token: AccessToken) -> bool:
    if token.client_id == client.id:
        return True
    return any(resource in client.introspects for resource in token.audience)

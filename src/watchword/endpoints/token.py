"""The token endpoint (RFC 6749 section 3.2): `POST /token` and `POST {prefix}/token`.

What every grant type shares happens here once: the limit, the form, the client, the
permission, the claims, the signature. Attack rows T-01 to T-08 and T-25 to T-34.
"""

from __future__ import annotations

import base64

from starlette.requests import Request
from starlette.responses import Response

from watchword.endpoints import answers, client_auth, devices, forms
from watchword.errors import UnsupportedGrantType
from watchword.events import TokenIssued
from watchword.exchanges.bench import Bench, Caller, Entitlement
from watchword.rules import claims, params
from watchword.rules.clients import Client
from watchword.rules.forwarded import address_key
from watchword.seams import ClaimsContext


async def token(request: Request, at: Bench) -> Response:
    """Exchange what the client has for tokens."""
    caller = caller_of(request, at)
    await at.limits.spend(at.now(), ("token", address_key(caller.ip)))  # before any parsing
    fields = await forms.read(request)
    ask = params.token_ask(fields)
    client = await client_auth.identify(request, fields, at)
    return await exchanged(ask, client, caller, at)


async def refresh(request: Request, at: Bench) -> Response:
    """The tutorial's `POST /refresh-token`: the refresh token in a form or as the bearer."""
    caller = caller_of(request, at)
    await at.limits.spend(at.now(), ("token", address_key(caller.ip)))
    forms.no_secret_in_url(request)
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and "content-type" not in request.headers:
        fields = {"refresh_token": bearer.strip()}
    else:
        fields = await forms.read(request)
    ask = params.token_ask({**fields, "grant_type": "refresh_token"})
    client = await client_auth.identify(request, fields, at)
    return await exchanged(ask, client, caller, at)


async def exchanged(ask: params.TokenAsk, client: Client, caller: Caller, at: Bench) -> Response:
    """Redeem an ask and mint what it earned."""
    exchange = at.exchanges.get(ask.grant_type)
    if exchange is None:
        raise UnsupportedGrantType("This grant type is not supported.")
    client.must_be_allowed(ask.grant_type)
    earned = await exchange(ask, client, caller, at)
    access_token = await minted(earned, client, ask.grant_type, caller, at)
    response = answers.tokens(earned, access_token, at.settings.access_ttl)
    if earned.device is not None:
        devices.keep(earned.device, caller.connection, response, at)
    return response


async def minted(
    earned: Entitlement, client: Client, grant_type: str, caller: Caller, at: Bench
) -> str:
    """Sign the access token, after everything else has been committed."""
    if earned.grant_id is not None:
        client.must_differ_from(earned.subject)  # RFC 9700 section 4.15, whatever the exchange
    extra = None
    if at.add_claims is not None:
        extra = await at.add_claims(
            ClaimsContext(earned.subject, client.id, earned.scopes, earned.account, grant_type),
            caller,
        )
    now = at.now()
    jti = base64.urlsafe_b64encode(at.fresh(16)).decode().rstrip("=")
    content = claims.access(
        issuer=at.settings.issuer,
        subject=earned.subject,
        client_id=client.id,
        audience=earned.audience,
        scopes=earned.scopes,
        jti=jti,
        now=now,
        ttl=at.settings.access_ttl,
        rev=earned.rev,
        fid=earned.grant_id,
        auth_time=earned.auth_time,
        roles=earned.account.roles if earned.account else (),
        extra=extra,
    )
    if earned.grant_id is None:
        at.events(TokenIssued(now, client.id, jti))
    return at.signing.access_token(content, now)


def caller_of(request: Request, at: Bench) -> Caller:
    """Where a request comes from, behind declared proxies only."""
    peer = request.client.host if request.client else None
    if request.client is not None and request.client.port == 0:
        # No socket has port 0: the server in front of us (uvicorn, by default, for local
        # peers) has put in what a header claims. Whom to believe is for our own settings.
        peer = "127.0.0.1"
    ip = at.proxies.client_ip(peer, request.scope["headers"], at.settings.forwarded_header)
    return Caller(ip, request, devices.carried(request, at))

"""Who is calling: Basic, post or none (RFC 6749 section 2.3).

An unknown client and a wrong secret get the same answer after the same work
(attack row T-08). A request without any client is the built-in first-party client,
which is how the tutorial's calls come.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from starlette.requests import Request

from watchword.crypto.secrets import digest, same
from watchword.errors import InvalidClient, InvalidRequest
from watchword.exchanges.bench import Bench
from watchword.rules.clients import FIRST_PARTY, Client
from watchword.rules.params import Form

_NOBODY = "0" * 64  # compared with when there is no such client
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client showed; `method` is how, `in_header` whether the Basic scheme was used."""

    client_id: str
    secret: str | None = field(repr=False)
    method: str
    in_header: bool = False


async def identify(request: Request, fields: Form, at: Bench) -> Client:
    """The authenticated client of a request.

    Raises:
        InvalidClient: 401; the same for every cause.
        InvalidRequest: two methods at once, or two different ids.
    """
    shown = credentials(request, fields)
    if shown is None:
        client = await at.clients.find(FIRST_PARTY, at.now())
        if client is None or client.disabled:
            raise InvalidClient("Client authentication failed.", detail="no first-party client")
        return client
    client = await at.clients.find(shown.client_id, at.now())
    reason = _objection(client, shown)
    if reason is not None or client is None:
        raise InvalidClient(
            "Client authentication failed.",
            detail=reason or "",
            challenge=shown.in_header,  # RFC 6749 section 5.2
        )
    return client


def credentials(request: Request, fields: Form) -> Credentials | None:
    """What was shown, or None when nothing was.

    Raises:
        InvalidClient: the Basic header is not decodable.
        InvalidRequest: two methods at once, or two different ids.
    """
    basic = _basic(request)
    client_id, secret = fields.get("client_id"), fields.get("client_secret")
    if basic is not None:
        if secret is not None:  # RFC 6749 section 2.3: one method per request
            raise InvalidRequest("The client authenticated in two ways at once.")
        if client_id is not None and client_id != basic.client_id:
            raise InvalidRequest("Two different client ids were sent.")
        return basic
    if client_id is None:
        if secret is not None:
            raise InvalidRequest("client_secret came without client_id.")
        return None
    method = "none" if secret is None else "client_secret_post"
    return Credentials(client_id, secret, method)


def _basic(request: Request) -> Credentials | None:
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise InvalidRequest("The Authorization header was sent more than once.")
    scheme, _, encoded = (headers[0] if headers else "").partition(" ")
    if scheme.lower() != "basic":
        return None
    pair = _decoded(encoded.strip())
    if pair is None:
        raise InvalidClient("Client authentication failed.", challenge=True)
    client_id, secret = pair
    if not client_id and not secret:
        return None  # Swagger UI's password flow sends an empty pair
    if not secret:
        # how some libraries send a public client
        return Credentials(client_id, None, "none", in_header=True)
    return Credentials(client_id, secret, "client_secret_basic", in_header=True)


def _decoded(encoded: str) -> tuple[str, str] | None:
    try:
        pair = base64.b64decode(encoded, validate=True).decode("utf-8")
        client_id, colon, secret = pair.partition(":")
        # RFC 6749 section 2.3.1: both halves are form-encoded before they are joined
        halves = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (ValueError, binascii.Error):
        return None
    # RFC 6749 appendix A has NUL in no client's id, and PostgreSQL no place for it.
    fits = colon and len(encoded) <= _LONGEST and "\0" not in halves[0]
    return halves if fits else None


def _objection(client: Client | None, shown: Credentials) -> str | None:
    """Why these credentials do not do; the digest is compared in every case."""
    offered = digest(shown.secret or "")
    kept = client.secrets if client is not None and client.secrets else (_NOBODY,)
    matches = [same(offered, secret) for secret in kept]
    if client is None:
        return "unknown client"
    if client.disabled:
        return "disabled client"
    if client.is_public:
        return None if shown.secret is None else "a public client sent a secret"
    if shown.secret is None or not any(matches):
        return "wrong or missing secret"
    if client.auth_method not in ("client_secret", shown.method):
        return "another method is registered"
    return None

"""Protocol values -> responses; an OAuthError becomes JSON here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from watchword.errors import (
    BadCredentials,
    Busy,
    InvalidClient,
    NoToken,
    OAuthError,
    TooManyRequests,
    WrongMethod,
)
from watchword.exchanges.bench import Entitlement

log = logging.getLogger("watchword.endpoints")

# RFC 6749 section 5.1: tokens and refusals must not be kept by anything on the way.
NEVER_KEPT = {
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
_encode = msgspec.json.Encoder().encode


def json(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer that nobody keeps."""
    return Response(
        _encode(content),
        status,
        {**NEVER_KEPT, **(headers or {})},
        media_type="application/json",
    )


def document(content: Mapping[str, Any], max_age: int) -> Response:
    """A public document, for any origin (interface: discovery, key set)."""
    return Response(
        _encode(content),
        headers={
            "Cache-Control": f"public, max-age={max_age}",
            "Access-Control-Allow-Origin": "*",
            "X-Content-Type-Options": "nosniff",
        },
        media_type="application/json",
    )


def tokens(earned: Entitlement, access_token: str, ttl: float) -> Response:
    """RFC 6749 section 5.1; the scope is always said, in the order it was asked."""
    content: dict[str, Any] = {
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": int(ttl),
        "scope": str(earned.scopes),
    }
    if earned.refresh_token is not None:
        content["refresh_token"] = earned.refresh_token.clear
    return json(content)


def refusal(error: OAuthError) -> Response:
    """RFC 6749 section 5.2."""
    content: dict[str, Any] = {"error": error.code or "invalid_token"}
    if error.why:
        content["error_description"] = error.why
    if isinstance(error, BadCredentials | TooManyRequests | Busy):
        content["detail"] = error.why  # the tutorial's clients read it
    if error.detail:
        log.info("refused: %s", error.code, extra={"detail": error.detail})
    return json(content, error.status, _headers(error))


def _headers(error: OAuthError) -> dict[str, str]:
    """What a client is told beside the code: how to authenticate, when to come back."""
    headers: dict[str, str] = {}
    if isinstance(error, BadCredentials | NoToken):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, InvalidClient) and error.challenge:
        headers["WWW-Authenticate"] = 'Basic realm="watchword"'
    elif error.status == 401 and error.code == "invalid_token":  # noqa: PLR2004
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    elif isinstance(error, WrongMethod):
        headers["Allow"] = error.allow
    return headers | error.waiting


def cross_origin(response: Response, request: Request, origins: tuple[str, ...]) -> Response:
    """Let a registered browser origin read the answer; it never comes with cookies."""
    origin = request.headers.get("origin")
    if origins:
        response.headers["Vary"] = "Origin"
    if origin is not None and origin in origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "WWW-Authenticate, Retry-After"
    return response


def preflight(request: Request, origins: tuple[str, ...], allow: str) -> Response:
    """The answer to a CORS preflight."""
    response = Response(status_code=204)
    if request.headers.get("origin") in origins:
        response.headers["Access-Control-Allow-Methods"] = allow
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        response.headers["Access-Control-Max-Age"] = "600"
    return cross_origin(response, request, origins)

"""Finding the token of a request; turning a refusal into a challenge (RFC 6750)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from watchword.errors import (
    InsufficientScope,
    InvalidRequest,
    NoToken,
    OAuthError,
    StaleLogin,
)
from watchword.guard.freshness import MIN_SEQ

SUBPROTOCOL = "watchword.bearer."  # how browsers send a token when opening a WebSocket
_SCHEME = re.compile(rb"(?i)bearer +")
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")  # b64token, RFC 6750 section 2.1
_IN_QUERY = re.compile(rb"(?:^|&)access_token=")
# Only what is spelt like one (crypto/tickets.py): an app may have a `ticket` of its own.
_TICKET = re.compile(rb"(?:^|&)ticket=(wwt_[^&]*)")
_EVENT_STREAM = b"text/event-stream"
_UNQUOTABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


def token_of(scope: Mapping[str, Any]) -> str:
    """The bearer token in the header of a request, or in a WebSocket's subprotocol.

    Never from the query: URLs are logged, cached and shared (RFC 9700 section 4.3.2).

    Raises:
        NoToken: none was sent.
        InvalidRequest: the header is malformed or repeated, or the token was sent twice.
    """
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            if found is not None:
                raise InvalidRequest("The Authorization header was sent more than once.")
            found = value
    if found is None:
        return _in_subprotocol(scope)
    if any(offered.startswith(SUBPROTOCOL) for offered in scope.get("subprotocols", ())):
        raise InvalidRequest("The access token was sent in more than one place.")
    scheme = _SCHEME.match(found)
    if scheme is None:
        if found[:6].lower() == b"bearer":
            raise InvalidRequest("The Authorization header is malformed.")
        raise NoToken("Not authenticated", detail="another scheme")
    token = found[scheme.end() :]
    if scheme.end() != 7 or not _TOKEN.fullmatch(token):  # noqa: PLR2004 - "Bearer" and one space
        raise InvalidRequest("The Authorization header is malformed.")
    if _IN_QUERY.search(scope.get("query_string", b"")):
        raise InvalidRequest("The access token was sent in more than one place.")
    return token.decode("ascii")


def plain_token(scope: Mapping[str, Any]) -> bytes | None:
    """The token of the plainest of requests: one header, nothing odd; None for all others.

    Says nothing about the token's form: whoever knows it has read it by `token_of` before.
    """
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            if found is not None:
                return None
            found = value
        elif name == MIN_SEQ:  # which position it asks for is for the full look
            return None
    if found is None or scope.get("query_string") or scope.get("subprotocols"):
        return None
    return found[7:] if found[:7] == b"Bearer " else None


def ticket_of(scope: Mapping[str, Any]) -> str | None:
    """The ticket in the URL of what a browser opens without headers of the page's choice.

    Raises:
        InvalidRequest: it came twice, beside another credential, or with any other request.
    """
    found = _TICKET.findall(scope.get("query_string", b""))
    if not found:
        return None
    named = {name for name, _ in scope["headers"]}
    offered = any(protocol.startswith(SUBPROTOCOL) for protocol in scope.get("subprotocols", ()))
    alone = not (offered or b"authorization" in named or _IN_QUERY.search(scope["query_string"]))
    if len(found) > 1 or not alone:
        raise InvalidRequest("A ticket was sent beside another credential.")
    if scope["type"] != "websocket" and not _is_event_stream(scope):
        raise InvalidRequest("A ticket opens WebSockets and event streams only.")
    return str(found[0].decode("latin-1"))


def _is_event_stream(scope: Mapping[str, Any]) -> bool:
    """Whether this is what an EventSource sends: a GET that accepts its type (HTML section 9.2.2).

    So a link, an image or a form with a ticket in its URL opens nothing.
    """
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
    kinds = (kind.partition(b";")[0].strip().lower() for kind in accepted.split(b","))
    return scope["method"] == "GET" and _EVENT_STREAM in kinds


def _in_subprotocol(scope: Mapping[str, Any]) -> str:
    offered = [p for p in scope.get("subprotocols", ()) if p.startswith(SUBPROTOCOL)]
    if not offered:
        raise NoToken("Not authenticated")
    token = offered[0].removeprefix(SUBPROTOCOL)
    if len(offered) > 1 or not _TOKEN.fullmatch(token.encode("latin-1", "replace")):
        raise InvalidRequest("The token in the subprotocol is malformed.")
    return str(token)


class Challenge(HTTPException):
    """A refusal on an app's route. FastAPI's own handler answers it with `detail` and the
    challenge; ours, where it is installed, adds the code and the hint."""  # noqa: D205, D209

    def __init__(
        self, status: int, detail: str, headers: dict[str, str], body: dict[str, Any]
    ) -> None:
        super().__init__(status_code=status, detail=detail, headers=headers)
        self.body = body


def challenge(
    error: OAuthError,
    *,
    resource_metadata: str | None = None,
    scopes: tuple[str, ...] = (),
    hint: str | None = None,
    docs: str | None = None,
) -> Challenge:
    """The HTTP form of a refusal on a guarded route.

    Args:
        error: what went wrong.
        resource_metadata: where RFC 9728's document is.
        scopes: what the route needs, so that a client can ask for all of it at once.
        hint: for the developer, on their own machine only.
        docs: the page of the error's number.
    """
    # One sentence for every bad token: the reason is for the log (attack rows J).
    bad = error.code == "invalid_token" or not error.why
    why = "The access token is not valid." if bad else error.why
    body: dict[str, Any] = {"detail": why}
    needed = scopes or (error.scopes if isinstance(error, InsufficientScope) else ())
    if error.code:
        body["error"] = error.code
    if needed and error.status in (401, 403):
        body["scope"] = " ".join(needed)
    body["code"] = error.number
    if hint:
        body["hint"] = hint
    if docs:
        body["docs"] = docs
    headers = {"Cache-Control": "no-store"}
    if error.status in (401, 403) or isinstance(error, InvalidRequest):
        headers["WWW-Authenticate"] = _header(error, why, resource_metadata, needed)
        headers["Access-Control-Expose-Headers"] = "WWW-Authenticate"
    return Challenge(error.status, body["detail"], headers | error.waiting, body)


def _header(
    error: OAuthError, why: str, resource_metadata: str | None, needed: tuple[str, ...]
) -> str:
    """RFC 6750 section 3; no error code when no token came (section 3.1)."""
    members: list[tuple[str, str]] = []
    if error.code:
        members.append(("error", error.code))
        members.append(("error_description", why))
    if isinstance(error, StaleLogin):  # RFC 9470 section 3
        if error.max_age is not None:
            members.append(("max_age", str(error.max_age)))
        if error.acr is not None:
            members.append(("acr_values", error.acr))
    if needed and not isinstance(error, StaleLogin):
        members.append(("scope", " ".join(needed)))
    if resource_metadata:  # RFC 9728 section 5.1
        members.append(("resource_metadata", resource_metadata))
    text = ", ".join(f'{name}="{_quotable(value)}"' for name, value in members if value)
    return f"Bearer {text}" if text else "Bearer"


def _quotable(value: str) -> str:
    """RFC 6750 section 3: no quotes and backslashes, so nothing needs escaping."""
    return _UNQUOTABLE.sub("_", value.replace('"', "'"))


async def answer(connection: HTTPConnection, refusal: Exception) -> Response:
    """The exception handler that `init_app` installs; serves WebSockets' denials too."""
    del connection
    assert isinstance(refusal, Challenge)  # noqa: S101 - Starlette picks by class
    return JSONResponse(refusal.body, refusal.status_code, refusal.headers)

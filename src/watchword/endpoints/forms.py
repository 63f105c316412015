"""Reading the body of a protocol request: urlencoded, small, and nothing else.

The multipart parser never sees an OAuth request, and the size is capped while the
body arrives, whatever it claims about its length (attack rows T-25, T-26, D-04, D-06).
"""

from __future__ import annotations

from starlette.requests import Request

from watchword.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from watchword.rules import params

LARGEST = 64 * 1024  # bytes
_FORM = "application/x-www-form-urlencoded"
# Secrets in URLs end up in logs and histories (RFC 6749 section 2.3.1).
_NEVER_IN_URL = frozenset(
    {
        "client_secret",
        "password",
        "refresh_token",
        "token",
        "access_token",
        "code",
        "client_assertion",
    }
)


async def read(request: Request) -> params.Form:
    """The fields of a form.

    Raises:
        UnsupportedMediaType: another content type, or compressed.
        TooLarge: more than any honest request.
        InvalidRequest: malformed, repeated fields, or secrets in the URL.
    """
    no_secret_in_url(request)
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != _FORM or rest.strip().lower() not in ("", "charset=utf-8"):
        raise UnsupportedMediaType(f"Send the parameters as {_FORM}.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body uncompressed.")
    fields = params.form(await body(request))
    # RFC 6749 section 3.2: parameters are in the body, and nowhere a second time
    if not fields.keys().isdisjoint(_in_url(request)):
        raise InvalidRequest("A parameter was sent in the URL and in the body.")
    return fields


async def body(request: Request) -> bytes:
    """The body, refused as soon as it is too large."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:12]) > LARGEST:
        raise TooLarge("The body is too large.")
    collected = bytearray()
    async for chunk in request.stream():
        collected += chunk
        if len(collected) > LARGEST:
            raise TooLarge("The body is too large.")
    return bytes(collected)


def no_secret_in_url(request: Request) -> None:
    """Refuse a request that carries a secret in its URL.

    Raises:
        InvalidRequest: it does.
    """
    if not _NEVER_IN_URL.isdisjoint(_in_url(request)):
        raise InvalidRequest("Secrets belong into the body, never into the URL.")


def _in_url(request: Request) -> frozenset[str]:
    """The names in the query, from the routed request and not from a URL rebuilt with its Host."""
    return frozenset(request.query_params) if request.scope["query_string"] else frozenset()

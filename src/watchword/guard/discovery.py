"""What an issuer publishes about itself: found where the standards put it, believed if it fits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from watchword import fetch

Documents = Callable[[str], Awaitable[dict[str, Any]]]

REVOCATIONS = "watchword_revocations_endpoint"  # where a Watchword answers for its log
INTROSPECTION = "introspection_endpoint"  # RFC 8414 section 2


async def discovered(issuer: str, document: Documents) -> dict[str, Any]:
    """The issuer's metadata: OpenID Discovery appends the well-known path, RFC 8414 inserts it.

    Raises:
        FetchError: neither place has a document of this issuer.
    """
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    trouble = fetch.FetchError("no discovery document")
    for url in (
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
    ):
        try:
            found = await document(url)
        except fetch.FetchError as error:
            trouble = error
            continue
        # RFC 8414 section 3.3: the document must name the issuer we started from
        if found.get("issuer") != issuer or not isinstance(found.get("jwks_uri"), str):
            trouble = fetch.FetchError(f"{url} is not the document of {issuer}")
        elif endpoint(found, "jwks_uri", issuer) is None:
            trouble = fetch.FetchError(f"{url} names a key set without TLS")
        else:
            return found
    raise trouble


def endpoint(metadata: Mapping[str, Any], name: str, issuer: str) -> str | None:
    """An address that the metadata names; None when there is none, or none that may be asked.

    What an issuer with TLS names without TLS is not asked for anything.
    """
    found = metadata.get(name)
    if not isinstance(found, str) or (
        urlsplit(issuer).scheme == "https" and not found.startswith("https://")
    ):
        return None
    return found

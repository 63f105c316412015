"""The protected resource's metadata: which issuers' tokens an API takes (RFC 9728)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse

from watchword.rules.discovery import protected_resource

if TYPE_CHECKING:
    from fastapi import FastAPI

WELL_KNOWN = "/.well-known/oauth-protected-resource"  # RFC 9728 section 3


def publish(app: FastAPI, resource: str, issuers: Sequence[str], scopes: tuple[str, ...]) -> None:
    """Serve the document on an app; browsers of any origin may read it."""
    document = protected_resource(resource, issuers[0], scopes)
    document |= {"authorization_servers": list(issuers)}

    async def answer(_: Request) -> JSONResponse:
        return JSONResponse(
            document,
            headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=300"},
        )

    app.add_route(_path(resource), answer, include_in_schema=False)


def url(resource: str) -> str | None:
    """Where the document of a resource is; None when the resource is a mere name."""
    if not resource.startswith(("https://", "http://")):
        return None
    scheme, _, rest = resource.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}{_path(resource)}"


def _path(resource: str) -> str:
    """RFC 9728 section 3.1: the well-known part goes between host and path."""
    path = resource.split("://", 1)[-1].partition("/")[2].rstrip("/")
    return WELL_KNOWN + (f"/{path}" if path and "://" in resource else "")

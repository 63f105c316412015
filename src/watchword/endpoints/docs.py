"""The docs page from our own origin: no CDN, so it works offline and tells nobody."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response

from watchword.endpoints.routing import Endpoint
from watchword.exchanges.bench import Bench

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_BANNER = (
    '<div style="background:#8a1c1c;color:#fff;padding:.5rem 1rem;font-family:system-ui">'
    "Development mode: never put this server on a network.</div>"
)


def page(app: FastAPI, static: str) -> Endpoint:
    """The endpoint for an app's docs page; `static` is the path of the assets."""

    async def docs(request: Request, at: Bench) -> Response:
        root: str = request.scope.get("root_path", "").rstrip("/")
        answer = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=f"{app.title} - docs",
            swagger_js_url=f"{root}{static}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{static}/swagger-ui.css",
            swagger_favicon_url=f"{root}{static}/favicon-32x32.png",
            init_oauth=app.swagger_ui_init_oauth,
            swagger_ui_parameters={
                "persistAuthorization": False,
                **(app.swagger_ui_parameters or {}),
            },
        )
        if at.settings.is_development:
            content = bytes(answer.body).replace(b"<body>", b"<body>" + _BANNER.encode(), 1)
            return Response(content, media_type="text/html")
        return answer

    return docs


def asset(name: str) -> Endpoint:
    """The endpoint for one asset."""

    async def static(request: Request, at: Bench) -> Response:
        del request, at
        return Response(
            _read(name),
            headers={"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"},
            media_type=_ASSETS[name],
        )

    return static


async def absent(request: Request, at: Bench) -> Response:
    """What production answers where the docs would be."""
    del request, at
    return Response('{"detail":"Not Found"}', 404, media_type="application/json")


@lru_cache
def _read(name: str) -> bytes:
    return (files("fastapi_swagger") / "resources" / name).read_bytes()


def table(app: FastAPI, static: str, *, shown: bool) -> dict[str, dict[str, Any]]:
    """The rows for the endpoint table; what is not shown answers as if it were not there."""
    if not shown:
        described = (
            app.docs_url,
            app.redoc_url,
            app.openapi_url,
            app.swagger_ui_oauth2_redirect_url,
        )
        return {path: {"GET": absent} for path in described if path is not None}
    if app.docs_url is None or app.openapi_url is None:
        return {}
    rows: dict[str, dict[str, Any]] = {app.docs_url: {"GET": page(app, static)}}
    rows |= {f"{static}/{name}": {"GET": asset(name)} for name in _ASSETS}
    return rows

"""Every route of an app and what guards it; a guard that FastAPI dropped stops the start."""

import logging
import textwrap
import types
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Route

from watchword import AccessToken, Auth
from watchword.errors import ConfigError
from watchword.guard import audit


def found(app: FastAPI) -> dict[str, tuple[str, str]]:
    return {
        f"{row.method} {row.path}": (row.guard, " ".join(row.scopes)) for row in audit.routes(app)
    }


def prepare(app: FastAPI, auth: Auth) -> None:
    router = APIRouter(prefix="/r", dependencies=[auth.require("items")])

    @router.get("/in")
    async def inside() -> None: ...

    @router.websocket("/ws")
    async def socket(socket: WebSocket) -> None: ...

    app.include_router(router, prefix="/v1")

    def nested(token: Annotated[AccessToken, auth.token("me")]) -> AccessToken:
        return token

    @app.get("/nested")
    async def below(token: Annotated[AccessToken, Depends(nested)]) -> None: ...

    @app.api_route("/both", methods=["GET", "POST"], dependencies=[auth.public])
    async def both() -> None: ...

    @app.get("/legacy")
    async def legacy() -> None: ...

    sub = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @sub.get("/open")
    async def sub_open() -> None: ...

    @sub.get("/closed", dependencies=[auth.require()])
    async def sub_closed() -> None: ...

    app.mount("/sub", sub)
    behind_host = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @behind_host.get("/hosted")
    async def hosted() -> None: ...

    app.router.routes.append(Host("api.example.com", behind_host))
    app.router.routes.append(Route("/plain", lambda _: PlainTextResponse("x")))


async def test_nothing_is_missed(build) -> None:
    rows = found(build(prepare).app)
    expected = {
        "GET /open": ("public", ""),
        "GET /guarded": ("token", "me"),
        "GET /users/me/items": ("token", "items"),
        "GET /token-claims": ("token", ""),
        "GET /v1/r/in": ("token", "items"),
        "WS /v1/r/ws": ("token", "items"),
        "GET /nested": ("token", "me"),
        "GET /both": ("public", ""),
        "POST /both": ("public", ""),
        "GET /legacy": ("NONE", ""),
        "GET /sub/open": ("NONE", ""),
        "GET /sub/closed": ("token", ""),
        "GET /hosted": ("NONE", ""),
    }
    assert rows == expected


async def test_the_audit_is_the_same_when_the_server_has_started(build) -> None:
    server = build(prepare)
    before = found(server.app)
    await server.auth.start()
    assert found(server.app) == before


async def test_frontends_are_listed(build, tmp_path) -> None:
    (tmp_path / "index.html").write_text("hello")

    def with_frontends(app: FastAPI, auth: Auth) -> None:
        app.frontend("/ui", directory=tmp_path)
        private = APIRouter(prefix="/private", dependencies=[auth.require("me")])
        private.frontend("/files", directory=tmp_path)
        app.include_router(private)

    server = build(with_frontends)
    rows = found(server.app)
    assert rows["GET /ui"] == ("files", "") and rows["GET /private/files"] == ("token", "me")
    await server.auth.start()
    await server.add_user("johndoe")
    assert (await server.get("/ui/")).text == "hello"
    assert (await server.get("/private/files/")).status_code == 401
    token = (await server.login())["access_token"]
    assert (await server.get("/private/files/", token)).text == "hello"


async def test_each_row_says_where_it_stands(build) -> None:
    rows = {row.path: row for row in audit.routes(build(prepare).app)}
    assert rows["/legacy"].source.startswith("test_audit.py:")
    assert rows["/legacy"].flags == ("UNPROTECTED",) and rows["/open"].flags == ()


async def test_deny_stops_the_start_and_names_every_route(build) -> None:
    with pytest.raises(ConfigError) as raised:
        await build(prepare, audit_routes="deny").auth.start()
    for path in ("GET /legacy", "GET /sub/open", "GET /hosted"):
        assert path in raised.value.what
    assert "/v1" not in raised.value.what
    await build(audit_routes="deny").auth.start()


async def test_warn_warns_and_off_is_silent(build, caplog) -> None:
    with caplog.at_level(logging.WARNING, "watchword.guard"):
        await build(prepare, audit_routes="off").auth.start()
        assert "unprotected" not in caplog.text
        await build(prepare, audit_routes="warn").auth.start()
    assert "unprotected: GET /legacy" in caplog.text and "GET /open;" not in caplog.text


FACTORIES = {
    "route": """
        @app.get("/x")
        async def x(user: Annotated[Account, auth.current_user()]) -> None: ...
    """,
    "router": """
        router = APIRouter()
        @router.get("/x")
        async def x(user: Annotated[Account, auth.current_user()]) -> None: ...
        app.include_router(router, prefix="/deep")
    """,
    "router of a router": """
        inner, outer = APIRouter(), APIRouter()
        @inner.get("/x")
        async def x(user: Annotated[Account, auth.current_user()]) -> None: ...
        outer.include_router(inner)
        app.include_router(outer)
    """,
    "socket": """
        @app.websocket("/x")
        async def x(socket: WebSocket, token: Annotated[AccessToken, auth.token()]) -> None: ...
    """,
    "mounted app": """
        sub = FastAPI()
        @sub.get("/x")
        async def x(user: Annotated[Account, auth.current_user()]) -> None: ...
        app.mount("/sub", sub)
    """,
    "dependency of a route": """
        def caller(user: Annotated[Account, auth.current_user()]): ...
        @app.get("/x", dependencies=[Depends(caller)])
        async def x() -> None: ...
    """,
    "class as a dependency": """
        class Caller:
            def __init__(self, user: Annotated[Account, auth.current_user()]) -> None: ...
        @app.get("/x", dependencies=[Depends(Caller)])
        async def x() -> None: ...
    """,
    "object as a dependency": """
        class Caller:
            def __call__(self, user: Annotated[Account, auth.current_user()]) -> None: ...
        @app.get("/x", dependencies=[Depends(Caller())])
        async def x() -> None: ...
    """,
}


def _module(body: str) -> types.ModuleType:
    """A module of somebody who writes annotations as text and routes in a factory."""
    source = (
        "from __future__ import annotations\n"
        "from typing import Annotated\n"
        "from fastapi import APIRouter, Depends, FastAPI, WebSocket\n"
        "from watchword import AccessToken, Account, Auth\n"
        "def declare(app, auth):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    )
    module = types.ModuleType("factory")
    exec(compile(source, "factory.py", "exec"), vars(module))
    return module


@pytest.mark.parametrize("where", FACTORIES)
@pytest.mark.parametrize("mode", ["off", "warn"])
async def test_a_guard_that_fastapi_dropped_stops_the_start(build, where, mode) -> None:
    server = build(_module(FACTORIES[where]).declare, audit_routes=mode)
    for _ in range(2):
        with pytest.raises(ConfigError, match="did not bind") as raised:
            await server.auth.start()
        assert "/x" in raised.value.what and "module level" in raised.value.fix


async def test_text_that_can_be_read_is_fine(build) -> None:
    body = """
        @app.get("/x", dependencies=[auth.require("me")])
        async def x(limit: int = 5, name: str | None = None) -> dict[str, int]:
            return {"limit": limit}
    """
    server = build(_module(body).declare)
    await server.auth.start()
    assert (await server.get("/x")).status_code == 401


def test_an_app_without_anything() -> None:
    app: Any = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    assert audit.routes(app) == [] and audit.paths(app) == []

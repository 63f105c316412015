from __future__ import annotations

import sys

import pytest

APP = """
from typing import Annotated

from fastapi import APIRouter, FastAPI, WebSocket

from watchword import Auth

app = FastAPI()
auth = Auth(app, scopes={"items:read": "See", "items:write": "Change", "feed": "Follow"})
router = APIRouter()


@app.get("/items", dependencies=[auth.require("items:read")])
async def items(): ...


@app.post("/items", dependencies=[auth.require("items:write")])
async def add(): ...


@app.get("/me", dependencies=[auth.require()])
async def me(): ...


@app.post("/pay", dependencies=[auth.require(max_stale=0, when_stale="introspect")])
async def pay(): ...


@app.get("/news", dependencies=[auth.require(when_stale="open", open_for=60)])
async def news(): ...


@app.get("/health", dependencies=[auth.public])
async def health(): ...


@router.get("/report")
async def report(): ...


@app.websocket("/ws", dependencies=[auth.require("feed")])
async def ws(sock: WebSocket): ...


%s


def make():
    return app


text = "no app"
"""
TABLE = """\
METHOD  PATH            GUARD   SCOPES       NOTES
GET     /items          token   items:read
POST    /items          token   items:write
GET     /me             token   -
POST    /pay            token   -            max_stale=0, when_stale=introspect
GET     /news           token   -            when_stale=open for 60 s
GET     /health         public  -            auth.public
WS      /ws             token   feed
GET     /legacy/report  NONE    -            UNPROTECTED  add auth.require() or auth.public
8 routes, 1 unprotected
"""


@pytest.fixture
def app(run, monkeypatch):
    """Writes an app whose module has a name nothing else has imported."""

    def write(name: str, *, legacy: bool) -> str:
        included = 'app.include_router(router, prefix="/legacy")' if legacy else ""
        (run.directory / f"{name}.py").write_text(APP % included)
        return name

    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        if name.startswith("shop"):
            del sys.modules[name]


def test_an_unprotected_route_is_shown_and_ends_with_1(run, app) -> None:
    name = app("shop_open", legacy=True)
    assert run("routes", "--app", f"{name}:app", code=1).stdout == TABLE
    listed = run("routes", "--app", f"{name}:app", "--unprotected", code=1).stdout
    assert "/legacy/report" in listed
    assert "/health" not in listed
    told = run.json("routes", "--app", f"{name}:app", code=1)
    assert told["unprotected"] == 1
    assert told["total"] == 8


def test_an_app_where_everything_is_decided_ends_with_0(run, app) -> None:
    name = app("shop_shut", legacy=False)
    assert "7 routes, 0 unprotected" in run("routes", "--app", f"{name}:app").stdout
    assert "7 routes" in run("routes", "--app", f"{name}:make").stdout


def test_what_cannot_be_loaded_is_said(run, app) -> None:
    name = app("shop_else", legacy=False)
    run("routes", "--app", "main", code=2)
    assert "directory of the app" in run("routes", "--app", "shop_none:app", code=4).stderr
    run("routes", "--app", f"{name}:nothing", code=4)
    run("routes", "--app", f"{name}:text", code=1)
    (run.directory / "shop_lame.py").write_text("import shop_missing_module\n")
    lame = run("routes", "--app", "shop_lame:app", code=1)
    assert "pip install shop_missing_module" in lame.stderr


def test_an_app_that_cannot_be_served_says_why(run, app) -> None:
    name = app("shop_bare", legacy=False)
    run("routes", "--app", f"{name}:app", code=78, WATCHWORD_ISSUER="http://id.example.com")

"""Requirements that stand in front of their route: sooner than FastAPI's, never weaker."""

import copy
import gc
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import compile_path

from watchword import AccessToken, Auth
from watchword.guard.hoisting import Guarded, hoist
from watchword.guard.requirement import Requirement

SCOPES = {"me": "See who you are", "items": "See your items", "billing": "See invoices"}
LOG: list[str] = []


def note(what: str) -> Any:
    def noted() -> str:
        LOG.append(what)
        return what

    return Depends(noted)


def prepare(app: FastAPI, auth: Auth) -> None:
    LOG.clear()

    @app.post("/orders", dependencies=[note("before"), auth.require("items"), note("after")])
    async def order(
        body: Annotated[dict[str, int], Body()], own: Annotated[str, note("own")]
    ) -> Any:
        LOG.append("handler")
        return body

    inner = APIRouter(dependencies=[auth.require("items")])

    @inner.get("/deep", dependencies=[auth.require("billing")])
    async def deep(token: Annotated[AccessToken, auth.token("me")]) -> dict[str, str]:
        return {"sub": token.sub}

    outer = APIRouter(prefix="/outer")
    outer.include_router(inner, prefix="/inner")
    app.include_router(outer)
    app.include_router(outer, prefix="/twice", dependencies=[auth.require("me")])
    sub = FastAPI()

    @sub.get("/report", dependencies=[auth.require("billing")])
    async def report() -> dict[str, bool]:
        return {"ok": True}

    app.mount("/sub", sub)
    app.state.outer, app.state.inner, app.state.sub = outer, inner, sub


@pytest.fixture
async def shop(build):
    made = build(prepare, scopes=SCOPES)
    await made.auth.start()
    await made.add_user("johndoe", scopes="me items billing")
    return made


async def token(server, scope: str = "") -> str:
    return (await server.login(scope=scope))["access_token"]


def guarded(routes: Any) -> set[str]:
    """The paths that have a check in front."""
    return {
        context.path
        for context in iter_route_contexts(routes)
        if isinstance(getattr(context._effective_route, "app", None), Guarded)
    }


async def test_what_nobody_takes_moves_and_nothing_else(shop) -> None:
    assert guarded(shop.app.routes) == {
        "/guarded", "/orders", "/outer/inner/deep", "/twice/outer/inner/deep",
    }  # fmt: skip
    assert guarded(shop.app.state.sub.routes) == {"/report"}


async def test_a_copy_of_a_route_is_as_guarded_as_the_route(build) -> None:
    """It shares the dependant and the handler, but not the check in front."""
    other = FastAPI()

    def copied(app: FastAPI, auth: Auth) -> None:
        for path, into in (("/here", app), ("/there", other)):

            @app.get(f"/of{path}", dependencies=[auth.require("items")])
            async def of() -> str:
                return "served"

            twin = copy.copy(app.routes[-1])
            twin.path_regex, twin.path_format, twin.param_convertors = compile_path(path)
            into.router.routes.append(twin)

    made = build(copied)
    await made.auth.start()
    await made.add_user("johndoe")
    for path in ("/of/here", "/here", "/of/there"):
        assert (await made.get(path)).status_code == 401
        assert (await made.get(path, await token(made))).json() == "served"
    made.app.mount("/other", other)
    assert (await made.get("/other/there")).status_code == 401
    assert guarded(made.app.routes) == {"/guarded"}


async def test_what_cannot_be_seen_to_be_alone_stays(build) -> None:
    made = build()
    gc.freeze()
    try:
        await made.auth.start()
    finally:
        gc.unfreeze()
    assert guarded(made.app.routes) == set()
    assert (await made.get("/guarded")).status_code == 401


async def test_the_guard_decides_before_every_other_dependency(shop) -> None:
    headers = {"Authorization": f"Bearer {await token(shop, 'me')}"}
    refused = await shop.http.post("/orders", json={"n": 1}, headers=headers)
    assert refused.status_code == 403 and LOG == []
    headers = {"Authorization": f"Bearer {await token(shop)}"}
    served = await shop.http.post("/orders", json={"n": 1}, headers=headers)
    assert served.json() == {"n": 1} and LOG == ["before", "after", "own", "handler"]


async def test_requirements_are_judged_in_the_order_they_stand(shop) -> None:
    """Router's before route's, and each refusal names all that the route needs."""
    for path, order in (
        ("/outer/inner/deep", ["items", "billing", "me"]),
        ("/twice/outer/inner/deep", ["me", "items", "billing"]),
    ):
        needed = " ".join(order)
        for missing in order:
            held = " ".join(scope for scope in order if scope != missing)
            answer = await shop.get(path, await token(shop, held))
            assert answer.status_code == 403 and answer.json()["scope"] == needed
            assert f'lacks the scope "{missing}"' in answer.json()["detail"]
        assert (await shop.get(path, await token(shop))).json() == {"sub": "u_johndoe"}


async def test_a_refused_body_is_never_read(shop) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was asked for")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/orders", "raw_path": b"/orders",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"9999999")],
        "client": ("127.0.0.1", 1), "server": ("localhost", 8000),
    }  # fmt: skip
    await shop.app(scope, receive, send)
    assert sent[0]["status"] == 401 and LOG == []
    assert b"www-authenticate" in dict(sent[0]["headers"])


async def test_a_body_that_cannot_be_parsed_is_401_and_not_422(shop) -> None:
    assert (await shop.http.post("/orders", content=b"{")).status_code == 401
    headers = {"Authorization": f"Bearer {await token(shop)}"}
    assert (await shop.http.post("/orders", content=b"{", headers=headers)).status_code == 422


async def test_the_schema_stays_as_it_was(build) -> None:
    made = build(prepare, scopes=SCOPES)
    before = made.app.openapi()
    made.app.openapi_schema = None
    await made.auth.start()
    after = made.app.openapi()
    assert after == before and after is not before
    security = after["paths"]["/twice/outer/inner/deep"]["get"]["security"]
    assert {name for entry in security for name in entry["Watchword"]} == {"me", "items", "billing"}


async def test_moving_twice_moves_once(shop) -> None:
    before = guarded(shop.app.routes)
    assert hoist(shop.app.routes) == 0
    shop.auth._started = False  # as a second lifespan of the same app would
    await shop.auth.start()
    assert guarded(shop.app.routes) == before
    for path in ("/guarded", "/twice/outer/inner/deep", "/sub/report"):
        assert (await shop.get(path)).status_code == 401
        assert (await shop.get(path, await token(shop))).status_code == 200


async def test_routes_that_come_later_are_guarded_by_fastapi(shop) -> None:
    """And those beside them, which FastAPI builds anew, as well."""
    app, auth = shop.app, shop.auth

    @app.get("/late", dependencies=[auth.require("billing")])
    async def late() -> dict[str, bool]:
        return {"ok": True}

    @app.state.inner.get("/late")
    async def late_inside() -> dict[str, bool]:
        return {"ok": True}

    app.include_router(app.state.outer, prefix="/late", dependencies=[auth.require("billing")])
    needs = {
        "/late": "billing",
        "/outer/inner/late": "items",
        "/outer/inner/deep": "items billing me",
        "/twice/outer/inner/late": "me items",
        "/late/outer/inner/late": "billing items",
        "/late/outer/inner/deep": "billing items me",
        "/sub/report": "billing",
        "/guarded": "me",
    }
    for _ in range(2):
        for path, needed in needs.items():
            assert (await shop.get(path)).status_code == 401, path
            everything = await token(shop)
            assert (await shop.get(path, everything)).status_code == 200, path
            for missing in needed.split():
                held = " ".join(scope for scope in SCOPES if scope != missing)
                assert (await shop.get(path, await token(shop, held))).status_code == 403, path
        hoist(app.routes)  # the second time round they stand in front
    assert set(needs) - {"/sub/report"} <= guarded(app.routes)


async def test_a_router_that_is_mounted_and_included(build) -> None:
    """One declaration at two places: what moves at one must not be missing at the other."""

    def both(app: FastAPI, auth: Auth) -> None:
        router = APIRouter()

        @router.get("/x", dependencies=[auth.require("billing")])
        async def x() -> dict[str, bool]:
            return {"ok": True}

        app.mount("/mounted", router)
        app.include_router(router, prefix="/included")
        app.state.router = router

    made = build(both, scopes=SCOPES)
    await made.auth.start()
    await made.add_user("johndoe", scopes="me billing")
    made.app.include_router(made.app.state.router, prefix="/later")
    for place in ("/mounted", "/included", "/later"):
        assert (await made.get(f"{place}/x")).status_code == 401
        assert (await made.get(f"{place}/x", await token(made, "me"))).status_code == 403
        assert (await made.get(f"{place}/x", await token(made))).status_code == 200


async def test_a_route_class_of_the_apps_own_stays_behind_the_guard(build) -> None:
    class Noting(APIRoute):
        def get_route_handler(self) -> Any:
            inner = super().get_route_handler()

            async def handler(request: Any) -> Any:
                LOG.append("route class")
                return await inner(request)

            return handler

    def routed(app: FastAPI, auth: Auth) -> None:
        router = APIRouter(route_class=Noting, dependencies=[auth.require("me")])

        @router.get("/x")
        async def x() -> dict[str, bool]:
            return {"ok": True}

        app.include_router(router)

    LOG.clear()
    made = build(routed)
    await made.auth.start()
    await made.add_user("johndoe")
    assert (await made.get("/x")).status_code == 401 and LOG == []
    assert (await made.get("/x", await token(made))).status_code == 200
    assert LOG == ["route class"]


async def test_one_token_is_verified_once_for_all_guards_in_front_and_behind(
    shop, monkeypatch
) -> None:
    asked: list[str] = []
    decisions = shop.auth._decisions
    verify, recall = decisions._verify, decisions.recall

    async def counted(text: str, now: float, *more: object) -> AccessToken:
        asked.append(text)
        return await verify(text, now, *more)

    def recalled(text: bytes, now: float) -> AccessToken | None:
        found = recall(text, now)
        if found is not None:
            asked.append(text.decode())
        return found

    monkeypatch.setattr(decisions, "_verify", counted)
    monkeypatch.setattr(decisions, "recall", recalled)
    mine = await token(shop)
    for _ in range(2):
        assert (await shop.get("/twice/outer/inner/deep", mine)).status_code == 200
    assert asked == [mine, mine], "once for each request: nothing is remembered between two"


async def test_overrides_of_other_dependencies_work_and_none_opens_the_guard(build) -> None:
    def original() -> str:
        return "original"

    kept: list[Any] = []

    def overridden(app: FastAPI, auth: Auth) -> None:
        kept.append(auth.require("me"))

        @app.get("/x", dependencies=kept)
        async def x(value: Annotated[str, Depends(original)]) -> str:
            return value

    made = build(overridden)
    await made.auth.start()
    await made.add_user("johndoe")
    made.app.dependency_overrides[original] = lambda: "another"
    made.app.dependency_overrides[kept[0].dependency] = lambda: None
    assert (await made.get("/x")).status_code == 401
    assert (await made.get("/x", await token(made))).json() == "another"


@pytest.mark.attack("Z-34")
async def test_a_fault_in_front_serves_nothing(shop, monkeypatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    mine = await token(shop)
    monkeypatch.setattr(Requirement, "judge", broken)
    headers = {"Authorization": f"Bearer {mine}"}
    with pytest.raises(ZeroDivisionError):
        await shop.http.post("/orders", json={"n": 1}, headers=headers)
    assert LOG == []

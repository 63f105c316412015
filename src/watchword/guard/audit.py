"""Every route of an app and what guards it.

Plain Starlette routes and mounts of files are not listed: there is nothing in them
that could declare a guard. FastAPI's frontends are, because their routers can.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Host, Mount

from watchword.errors import ConfigError
from watchword.guard.decisions import calls, needed_scopes
from watchword.guard.loading import CurrentUser
from watchword.guard.requirement import Public, Requirement

log = logging.getLogger("watchword.guard")


@dataclass(frozen=True, slots=True)
class Audited:
    """One route: `guard` is "token", "public", "NONE", or "files" for an open frontend;
    `flags` say what is wrong, `policies` how fresh its guards' knowledge must be."""  # noqa: D205, D209

    method: str
    path: str
    guard: str
    scopes: tuple[str, ...]
    flags: tuple[str, ...]
    source: str = ""
    policies: tuple[str, ...] = ()


def routes(app: Any) -> list[Audited]:
    """Every route of an app, included routers and mounted apps too."""
    return [*_walk(app.routes, ""), *_frontends(app)]


def paths(app: Any) -> list[str]:
    """The paths of an app's own routes."""
    found = []
    for context in iter_route_contexts(app.routes):
        path = getattr(context, "path", None)
        if isinstance(path, str):
            found.append(path)
    return found


def at_start(app: Any, mode: str) -> None:
    """Refuse what FastAPI silently dropped; warn of routes nobody decided about.

    Raises:
        ConfigError: a guard did not bind, or a route is unprotected and `mode` is "deny".
    """
    found = routes(app)
    for route in found:
        for flag in route.flags:
            if flag.startswith("DROPPED"):
                raise ConfigError(
                    f"{route.method} {route.path} declares a guard that FastAPI did not bind.",
                    why=f"{flag}; the route would run without it",
                    fix="define what the annotation names at module level, or use "
                    "dependencies=[auth.require(...)]",
                )
    unprotected = [route for route in found if route.guard == "NONE"]
    if mode == "deny" and unprotected:
        named = ", ".join(f"{route.method} {route.path}" for route in unprotected)
        raise ConfigError(
            f"Routes without a guard: {named}.",
            why="AUDIT_ROUTES is deny",
            fix="add dependencies=[auth.require()] or dependencies=[auth.public]",
        )
    if mode == "warn":
        for route in unprotected:
            log.warning(
                "unprotected: %s %s; add auth.require() or auth.public", route.method, route.path
            )


def _walk(found: Any, prefix: str) -> Iterator[Audited]:
    for context in iter_route_contexts(found):
        route: BaseRoute = context.original_route
        if isinstance(route, Mount | Host):
            under = prefix + (context.path or "") if isinstance(route, Mount) else prefix
            yield from _walk(route.routes or (), under)
            yield from _frontends(route.app, under)
            continue
        dependant = getattr(context, "dependant", None)
        if dependant is None:
            continue
        path = prefix + (context.path or "")
        endpoint = context.endpoint
        for method in sorted(getattr(context, "methods", None) or {"WS"}):
            yield _audited(method, path, dependant, endpoint)


def _frontends(app: Any, prefix: str = "") -> Iterator[Audited]:
    """What `app.frontend` serves; FastAPI keeps it apart, to be asked last."""
    asked_last = getattr(getattr(app, "router", None), "_iter_low_priority_routes", tuple)
    for group in asked_last():
        original = getattr(group, "original_route", group)
        for files in getattr(original, "routes", ()):
            path = prefix + getattr(group, "frontend_prefix", "") + files.path
            found = _audited("GET", path, group.dependant, original.matches)
            if found.guard == "NONE":
                found = replace(found, guard="files", flags=())
            yield replace(found, source="")


def _audited(method: str, path: str, dependant: Any, endpoint: Any) -> Audited:
    guards = list(calls(dependant))
    guarded = any(isinstance(call, Requirement | CurrentUser) for call in guards)
    public = any(isinstance(call, Public) for call in guards)
    guard = "token" if guarded else "public" if public else "NONE"
    flags = [f"DROPPED {name}" for call in (endpoint, *guards) for name in _dropped(call)]
    if guard == "NONE":
        flags.append("UNPROTECTED")
    code = getattr(inspect.unwrap(endpoint), "__code__", None)
    source = f"{code.co_filename.rsplit('/', 1)[-1]}:{code.co_firstlineno}" if code else ""
    policies = tuple(
        dict.fromkeys(
            str(call.policy)
            for call in guards
            if isinstance(call, Requirement) and call.policy is not None and str(call.policy)
        )
    )
    needed = needed_scopes(dependant)
    return Audited(method, path, guard, needed, tuple(flags), source, policies)


def _dropped(endpoint: Any) -> list[str]:
    """Parameters whose annotation is text that cannot be read where the route stands.

    FastAPI turns such a parameter into a query parameter, and whatever it depended on
    never runs.
    """
    function = inspect.unwrap(endpoint.__init__ if inspect.isclass(endpoint) else endpoint)
    if not hasattr(function, "__globals__"):
        function = getattr(getattr(function, "__call__", None), "__func__", None)  # noqa: B004
    if not hasattr(function, "__globals__"):
        return []
    annotations = getattr(function, "__annotations__", {})
    lost = []
    for name, annotation in annotations.items():
        if name == "return" or not isinstance(annotation, str):
            continue
        try:
            eval(annotation, function.__globals__)  # noqa: S307 - the app's own source text
        except Exception:  # noqa: BLE001 - whatever it is, FastAPI could not read it either
            lost.append(f"{name}: {annotation}")
    return lost


__all__ = ["Audited", "at_start", "paths", "routes"]

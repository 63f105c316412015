"""Guards run in front of FastAPI's own dependencies, because that is cheaper and safer.

`dependencies=[auth.require(...)]` is a FastAPI dependency for everyone who reads the
app: the schema, the audit, another framework layer. Solving one costs FastAPI more
than the guard's whole decision, and it happens after the body was read. So when the
app starts, requirements whose value nobody takes move in front of the route: they
decide first, and a refused request's body is never parsed.

Two objects change together, and only here: the dependant that the route's handler
works from loses the requirement, and the route's app gains the check in front. The
route itself keeps a full copy for the schema. A route that is built anew later is
built from the full list, hence guarded by FastAPI again: slower, never open. A copy of
a route works from the same dependant without being the route that is changed; where
there is one, both stay as they were.
"""

from __future__ import annotations

import dataclasses
import gc
from collections import Counter
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from watchword.guard.decisions import NEEDED, needed_scopes
from watchword.guard.requirement import Requirement


def hoist(routes: Any) -> int:
    """Move what can move, in these routes and everything below; returns how many moved."""
    return _hoist(routes, _holders())


def _hoist(routes: Any, holders: Counter[int]) -> int:
    moved = 0
    for context in iter_route_contexts(routes):
        route = context.original_route
        if isinstance(route, Mount):
            moved += _hoist(getattr(route, "routes", None) or (), holders)
        elif isinstance(route, APIRoute):
            # An included route is served by what was made of it at its place.
            served = getattr(context, "_effective_route", route)
            # Not fewer either: what `gc.freeze` hides could be shared unseen.
            if holders[id(getattr(served, "dependant", None))] == (served is route):
                moved += _hoist_one(served)
    return moved


def _holders() -> Counter[int]:
    """How many routes of this process, wherever they are, work from each dependant."""
    routes = (thing for thing in gc.get_objects() if issubclass(type(thing), APIRoute))
    return Counter(id(route.dependant) for route in routes if hasattr(route, "dependant"))


def _hoist_one(served: Any) -> int:
    dependant, inner = getattr(served, "dependant", None), getattr(served, "app", None)
    if not isinstance(dependant, Dependant) or inner is None:
        return 0
    in_front: list[Requirement] = []
    kept: list[Dependant] = []
    for below in dependant.dependencies:
        if below.name is None and isinstance(below.call, Requirement):
            in_front.append(below.call)
        else:
            kept.append(below)
    if not in_front or isinstance(inner, Guarded):
        return 0
    served.app = Guarded(inner, tuple(in_front), needed_scopes(dependant))
    served.dependant = dataclasses.replace(dependant, dependencies=list(dependant.dependencies))
    # A new list, never a shorter one in place: a request may be walking the old one.
    dependant.dependencies = kept
    return len(in_front)


class Guarded:
    """A route's app behind its requirements."""

    __slots__ = ("inner", "needed", "requirements")

    def __init__(
        self, inner: ASGIApp, requirements: tuple[Requirement, ...], needed: tuple[str, ...]
    ) -> None:
        self.inner = inner
        self.requirements = requirements
        self.needed = needed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide, then serve; a refusal is an exception, as a dependency's would be."""
        scope[NEEDED] = self.needed
        for requirement in self.requirements:
            await requirement.judge(scope)
        await self.inner(scope, receive, send)

"""What a test may do to a guard, and that nobody else may."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from watchword.errors import ConfigError
from watchword.guard.decisions import Decisions, calls
from watchword.guard.discovery import Documents
from watchword.guard.jwks import RemoteKeys
from watchword.guard.requirement import Requirement
from watchword.guard.verifier import Verifier
from watchword.rules.access import Expectation

_SIGNS = ("PYTEST_VERSION", "PYTEST_CURRENT_TEST")  # pytest sets them while it runs


def only_in_tests() -> None:
    """Refuse what would be a back door in a server.

    Raises:
        ConfigError: pytest is not running.
    """
    if not any(sign in os.environ for sign in _SIGNS):
        raise ConfigError(
            "The fixtures of watchword.testing are switched on outside pytest.",
            why="keys and users that tests make up would open a real server",
            fix="remove in_memory() and offline() from everything but tests",
        )


@contextmanager
def offline(
    verifier: Verifier,
    decisions: Decisions,
    now: Callable[[], float],
    documents: Documents,
    silent: AbstractContextManager[None],
) -> Iterator[tuple[Expectation, frozenset[str]]]:
    """Judge by another clock and by these documents; afterwards as before.

    Raises:
        ConfigError: pytest is not running.
    """
    only_in_tests()
    keys, clock = verifier.keys, decisions.now
    with ExitStack() as switched:
        if isinstance(keys, RemoteKeys):
            switched.enter_context(keys.answered_by(documents))
        switched.enter_context(silent)
        decisions.now = now
        try:
            yield verifier.expected, getattr(keys, "algorithms", frozenset())
        finally:
            decisions.now = clock


def guards_of(app: Any) -> list[tuple[Any, Any]]:
    """The guards of an app and of the apps mounted in it, each with the app it is on.

    An `Auth` stands before guards that only verify; each guard is named once.
    """
    found = list(_mounted(app))
    found += [(part, app) for owner in _owners(app.routes) for part in owner.parts]
    once: dict[int, tuple[Any, Any]] = {}
    for guard, on in found:
        once.setdefault(id(guard), (guard, on))
    return list(once.values())


def _mounted(app: Any) -> Iterator[tuple[Any, Any]]:
    auth = getattr(getattr(app, "state", None), "watchword", None)
    if auth is not None:
        yield auth, app
    for route in getattr(app, "routes", ()):
        if isinstance(route, Mount):
            yield from _mounted(route.app)


def _owners(routes: Any) -> Iterator[Any]:
    for context in iter_route_contexts(routes):
        route = context.original_route
        if isinstance(route, Mount):
            yield from _owners(getattr(route, "routes", None) or ())
            continue
        for call in calls(getattr(context, "dependant", None)):
            if isinstance(call, Requirement) and call.decisions.owner is not None:
                yield call.decisions.owner

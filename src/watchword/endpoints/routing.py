"""One route in front of the app's own: a table of exact paths, one look-up per request.

Exact but for slashes at the end, so that no spelling of a path reaches an endpoint
around its limits (attack row L-15). The routed path decides, never a URL rebuilt from
headers (W-10).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette._utils import get_route_path
from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from watchword.endpoints import answers
from watchword.endpoints.holding import Holding
from watchword.endpoints.token import caller_of
from watchword.errors import Busy, OAuthError, TooManyRequests, WrongMethod
from watchword.events import LimitReached
from watchword.exchanges.bench import Bench
from watchword.seams import Unavailable

log = logging.getLogger("watchword.endpoints")

Endpoint = Callable[[Request, Bench], Awaitable[Response]]


async def _answered(request: Request, at: Bench) -> Response:
    """Stands in the table for what needs no bench; other methods are refused as everywhere."""
    del at
    raise AssertionError(f"{request.method} is answered before")


class Endpoints(BaseRoute):
    """The protocol endpoints as one Starlette route.

    Args:
        table: path -> method -> endpoint.
        bench: gives the bench, once it is ready.
        shared: paths that pages of registered origins may call.
        yields: says of a path whether an app's own route takes it over.
        unprepared: paths that are answered even where nothing is ready.
    """

    def __init__(
        self,
        table: Mapping[str, Mapping[str, Endpoint]],
        bench: Callable[[], Awaitable[Bench]],
        *,
        shared: frozenset[str] = frozenset(),
        yields: Callable[[str], bool] = lambda _: False,
        unprepared: Mapping[str, Callable[[Request], Awaitable[Response]]] | None = None,
    ) -> None:
        self._unprepared = unprepared or {}
        self.table = {**table, **{path: {"GET": _answered} for path in self._unprepared}}
        self._bench = bench
        self._shared = shared
        self._yields = yields
        self._holding = Holding()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path is one of ours."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path = get_route_path(scope)
        # Starlette would answer `/token/` with a redirect, and many clients that follow one
        # leave the body of a POST or its credentials behind.
        ours = path if path in self.table else path.rstrip("/")
        if ours not in self.table or self._yields(path):
            return Match.NONE, {}
        return Match.FULL, {"watchword.path": ours}

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        """These have fixed paths and no names."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; every refusal becomes a response here."""
        request = Request(scope, receive)
        path: str = scope["watchword.path"]
        alone = self._unprepared.get(path)
        if alone is not None and request.method in ("GET", "HEAD"):
            response = await alone(request)
        else:
            response = await self._answer(request, path)
        await response(scope, receive, send)

    async def _answer(self, request: Request, path: str) -> Response:
        methods = self.table[path]
        allow = ", ".join(sorted({*methods, *({"HEAD"} if "GET" in methods else ())}))
        method = "GET" if request.method == "HEAD" else request.method
        origins: tuple[str, ...] = ()
        at: Bench | None = None
        try:
            at = await self._bench()
            origins = at.settings.browser_origins if path in self._shared else ()
            if method == "OPTIONS" and origins:
                return answers.preflight(request, origins, allow)
            endpoint = methods.get(method)
            if endpoint is None:
                raise WrongMethod(f"This endpoint takes {allow} only.", allow=allow)
            response = await endpoint(request, at)
        except OAuthError as error:
            if at is not None and isinstance(error, TooManyRequests) and error.policy:
                at.events(LimitReached(at.now(), error.policy, caller_of(request, at).ip))
            if isinstance(error, Busy):
                await self._holding.back(request.receive)
            response = answers.refusal(error)
        except Unavailable as fault:
            log.warning("the store is unavailable: %s", fault)
            response = answers.refusal(Busy("Try again in a moment.", retry_after=2))
        if at is not None and at.settle is not None:
            await at.settle()
        return answers.cross_origin(response, request, origins)

"""How a guard decides: shared by all requirements of one guard, built once."""

from __future__ import annotations

import difflib
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from starlette.types import Scope

from watchword.errors import Busy, ConfigError, NoUser, OAuthError
from watchword.guard.bearer import Challenge, challenge, plain_token
from watchword.guard.freshness import Freshness, Stale, position_in
from watchword.guard.revocations import Revocations, Wake
from watchword.guard.stale import Verify, WhenStale
from watchword.guard.tickets import BEHIND, Redeem, presented
from watchword.rules.access import AccessToken
from watchword.seams import Unavailable

NEEDED = "watchword.needed"  # where a route's scopes stand in a request's scope
log = logging.getLogger("watchword.guard")

Recall = Callable[[bytes, float], AccessToken | None]
Logs = Callable[[], Iterable[Revocations]]


class Decisions:
    """The verifier, the clock and the words of refusal of one guard.

    Args:
        verify: token and time -> verified token.
        now: the clock, Unix seconds.
        declared: scope -> sentence; empty when the app declared none.
        resource_metadata: where RFC 9728's document is.
        token_url: where /docs logs in; None for a guard without a server.
        hints: whether refusals say how to fix the cause.
        ready: awaited before the first decision.
        recall: a token verified before, if it is still good, without awaiting anything;
            None while there is nothing to recall from.
        redeem: spends a ticket for the token behind it; None for a guard without a store.
        logs: what tells this guard of revocations.
        when_stale: what to do when they cannot tell in time.
        owner: the guard whose decisions these are.
    """

    def __init__(
        self,
        verify: Verify,
        now: Callable[[], float],
        *,
        declared: Mapping[str, str],
        resource_metadata: str | None,
        token_url: str | None = None,
        hints: bool = False,
        ready: Callable[[], Awaitable[None]] | None = None,
        recall: Recall | None = None,
        redeem: Redeem | None = None,
        logs: Logs = tuple,
        when_stale: WhenStale | None = None,
        owner: Any = None,
    ) -> None:
        self._verify = verify
        self.now = now
        self.declared = declared
        self.resource_metadata = resource_metadata
        self.token_url = token_url
        self._hints = hints
        self._ready = ready
        self.recall = recall
        self.redeem = redeem
        self.logs = logs
        self.when_stale = when_stale or WhenStale(Freshness())
        self.follows = False  # whether a log is followed: then requests may name positions of it
        self.owner = owner
        self._memo = f"watchword.token.{id(self)}"

    def must_be_declared(self, scopes: Iterable[str]) -> None:
        """Refuse a scope that nobody can grant, where the route says it.

        Raises:
            ConfigError: the app declared scopes, and this is none of them.
        """
        for name in scopes if self.declared else ():
            if name not in self.declared:
                near = difflib.get_close_matches(name, self.declared, n=1)
                raise ConfigError(
                    f'Unknown scope "{name}".',
                    why="no token could ever hold a scope that nobody can grant",
                    fix=f'did you mean "{near[0]}"?'
                    if near
                    else f"declare it; known are: {', '.join(self.declared)}",
                )

    async def ready(self) -> None:
        """Return when a decision can be made."""
        if self._ready is not None:
            await self._ready()

    def recalled(self, scope: Scope) -> AccessToken | None:
        """The request's token, when it was verified before: most requests end here."""
        token: AccessToken | None = scope.get(self._memo)
        if token is None and (recall := self.recall) is not None:
            text = plain_token(scope)
            if text is not None:
                try:
                    token = recall(text, self.now())
                except Unavailable:  # the full look says what is to be done
                    return None
                if token is not None:
                    scope[self._memo] = token
        return token

    async def token_of(self, scope: Scope, policy: Freshness | None = None) -> AccessToken:
        """The verified token of a request: verified once, however many dependencies ask.

        Raises:
            OAuthError: no token, a bad one, or the means to verify it are away.
        """
        # What one policy lets pass another need not: each is remembered apart.
        memo = self._memo if policy is None else f"{self._memo}, {policy}"
        token: AccessToken | None = scope.get(memo)
        if token is None:
            token = scope[memo] = await self.still_good(scope, policy)
        return token

    async def still_good(
        self, scope: Scope, policy: Freshness | None = None, *, in_use: bool = False
    ) -> AccessToken:
        """Verify the request's token now, whatever was found before.

        Args:
            scope: the request's.
            policy: what the route says; None for what the guard does.
            in_use: whether the request was let in before and still goes on.

        Raises:
            OAuthError: as `token_of`.
        """
        policy = policy or self.when_stale.usual
        try:
            text = await presented(scope, self.redeem)
            position = position_in(scope) if self.follows and not in_use else None
            await self.ready()
            asked = policy.asked(position)
            try:
                return await self._verify(text, self.now(), asked)
            except Stale as fault:
                return await self.when_stale.decide(
                    policy, text, self._verify, self.now(), fault, asked=asked
                )
        except Unavailable as fault:
            raise _away(fault) from fault

    def lasts(self) -> float:
        """Seconds for which decisions can be made at least, if nothing more is heard."""
        return min((known.lasts() for known in self.logs()), default=math.inf)

    @contextmanager
    def watching(self, token: AccessToken, wake: Wake) -> Iterator[None]:
        """Call `wake` when there may be an end to this token."""
        with ExitStack() as watched:
            for known in self.logs():
                watched.enter_context(known.watching(token, wake))
            yield

    def challenge(self, refusal: OAuthError, scope: Scope) -> Challenge:
        """The HTTP form of a refusal, naming all that the route needs."""
        log.debug("refused with %s: %s", refusal.number, refusal.detail)
        route = route_of(scope)
        needed = scope.get(NEEDED)
        if needed is None:
            needed = needed_scopes(getattr(route, "dependant", None))
        hint = self._hint(refusal, needed, scope, route) if self._hints else None
        return challenge(
            refusal, resource_metadata=self.resource_metadata, scopes=needed, hint=hint
        )

    def _hint(
        self,
        refusal: OAuthError,
        needed: tuple[str, ...],
        scope: Scope,
        route: Any,
    ) -> str:
        token: AccessToken | None = next(
            (scope[name] for name in scope if name.startswith(self._memo)), None
        )
        where = _source(route)
        if isinstance(refusal, NoUser):
            return f"The token belongs to a client, not to a person; {where} needs a person."
        if refusal.status == 403 and token is not None:  # noqa: PLR2004
            has = " ".join(token.scopes) or "no scope"
            if not needed:
                return f"{refusal.why} {where} says so."
            return (
                f"This token has: {has}. Ask for {' '.join(needed)} when logging in, "
                f"or change what {where} requires."
            )
        if refusal.code == "invalid_token":
            known = "another ticket" if BEHIND in scope else "watchword explain TOKEN"
            return f"{refusal.detail or 'refused'}. Try: {known}"
        if not refusal.code:
            return "Send the header: Authorization: Bearer <access_token>; POST /token gives one."
        return refusal.detail


def _away(fault: Unavailable) -> Busy:
    """Fail closed, but not with 401: the token may be good."""
    return Busy("Try again in a moment.", detail=str(fault), retry_after=1)


def needed_scopes(dependant: Any) -> tuple[str, ...]:
    """Everything a route's requirements ask for, so that one step up is enough."""
    from watchword.guard.requirement import Requirement  # noqa: PLC0415 - they know each other

    found: dict[str, None] = {}
    for call in calls(dependant):
        if isinstance(call, Requirement):
            found.update(dict.fromkeys(call.need.scopes or call.need.any_of))
    return tuple(found)


def calls(dependant: Any) -> Iterable[Any]:
    """Every callable in a route's tree of dependencies."""
    if dependant is None:
        return
    for below in dependant.dependencies:
        yield below.call
        yield from calls(below)


def route_of(scope: Mapping[str, Any]) -> Any:
    """The route that was taken, with the dependencies of every router around it.

    FastAPI keeps an included router's route as it was declared; what its inclusion
    adds stands beside it.
    """
    route = scope.get("route")
    beside = scope.get("fastapi")
    context = beside.get("effective_route_context") if isinstance(beside, dict) else None
    return context if getattr(context, "original_route", None) is route else route


def _source(route: Any) -> str:
    endpoint = inspect.unwrap(getattr(route, "endpoint", None) or (lambda: None))
    code = getattr(endpoint, "__code__", None)
    if code is None:
        return "the route"
    name = code.co_filename.rsplit("/", 1)[-1]
    return f"{endpoint.__name__} in {name}:{code.co_firstlineno}"

"""What an app gains: the table of endpoints, their place in its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from watchword.endpoints import (
    answers,
    docs,
    health,
    introspect,
    me,
    openapi,
    revocations,
    revoke,
    ticket,
    token,
    wellknown,
)
from watchword.endpoints.routing import Endpoint, Endpoints
from watchword.errors import InvalidToken
from watchword.exchanges.bench import Bench
from watchword.guard import audit
from watchword.guard.requirement import SCHEME, Requirement
from watchword.rules.needs import Need

if TYPE_CHECKING:
    from fastapi import FastAPI

    from watchword.auth import Auth

ME = ("/users/me", "/users/me/")


def mount(auth: Auth, app: FastAPI, requirement: Requirement) -> None:
    """Put the endpoints in front of an app's routes and into its schema.

    Args:
        auth: the server.
        app: the app.
        requirement: what `/users/me` asks for.
    """
    settings = auth.settings
    table = _table(auth, requirement)
    shown = settings.docs if settings.docs is not None else settings.is_development
    table |= docs.table(app, f"{settings.prefix}/static", shown=shown)
    ours = ("token", "ticket", "revoke")
    shared = frozenset(path for path in table if any(word in path for word in ours))
    health_of = f"{settings.prefix}/health"
    endpoints = Endpoints(
        table,
        auth.ready,
        shared=shared,
        yields=_OwnPaths(app, ME),
        unprepared={
            f"{health_of}/live": health.live,
            f"{health_of}/ready": health.ready(auth.readiness),
        },
    )
    app.router.routes.insert(0, endpoints)
    _describe(auth, app, requirement)


def _table(auth: Auth, requirement: Requirement) -> dict[str, dict[str, Endpoint]]:
    settings = auth.settings
    prefix = settings.prefix
    table: dict[str, dict[str, Endpoint]] = {
        f"{prefix}/token": {"POST": token.token},
        f"{prefix}/revoke": {"POST": revoke.revoke},
        f"{prefix}/introspect": {"POST": introspect.introspect},
        f"{prefix}/revocations": {"GET": revocations.Log()},
        f"{prefix}/ticket": {"POST": _ticket(requirement)},
        wellknown.JWKS: {"GET": wellknown.jwks},
    }
    for document in (wellknown.OPENID, wellknown.OAUTH):
        for place in wellknown.places(settings.issuer, document):
            table[place] = {"GET": wellknown.server_metadata}
    for place in wellknown.places(settings.audience, wellknown.RESOURCE):
        table[place] = {"GET": wellknown.resource_metadata}
    if settings.first_party_paths:
        who = _me(requirement)
        table |= {
            "/token": {"POST": token.token},
            "/refresh-token": {"POST": token.refresh},
            "/revoke-token": {"POST": revoke.revoke_bearer},
            "/revoke": {"POST": revoke.revoke},
            "/introspect": {"POST": introspect.introspect},
            **{path: {"GET": who} for path in ME},
        }
    return table


def _me(requirement: Requirement) -> Endpoint:
    async def who(request: Request, at: Bench) -> Response:
        found = await requirement.judge(request.scope)
        account = await at.users.by_subject(found.sub)
        if account is None or account.disabled:
            gone = InvalidToken("", detail="the user is gone or disabled")
            raise requirement.decisions.challenge(gone, request.scope)
        return answers.json(me.described(account))

    return who


def _ticket(requirement: Requirement) -> Endpoint:
    async def minted(request: Request, at: Bench) -> Response:
        return await ticket.ticket(request, at, requirement.decisions.token_of)

    return minted


def _describe(auth: Auth, app: FastAPI, requirement: Requirement) -> None:
    """Add the endpoints to the schema that FastAPI makes of the rest."""
    original, settings = app.openapi, auth.settings
    scheme, own = Requirement(requirement.decisions, Need()), _OwnPaths(app, ME)

    def described() -> dict[str, Any]:
        document = original()
        if "x-watchword" not in document:
            document["x-watchword"] = {"mode": settings.env}
            ours = openapi.paths(
                first_party=settings.first_party_paths,
                password=not settings.strict,
                prefix=settings.prefix,
            )
            if settings.first_party_paths and not own(ME[0]):
                ours |= openapi.who(ME[0], requirement.need.scopes)
            document["paths"] = {**ours, **document.get("paths", {})}
            schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes.setdefault(SCHEME, scheme.described())
        return document

    app.openapi = described  # type: ignore[method-assign]


class _OwnPaths:
    """Whether an app's own route answers in our place: at one of these paths, or where only
    a slash at the end makes the path one of ours. The app is asked once."""  # noqa: D205, D209

    def __init__(self, app: FastAPI, paths: tuple[str, ...]) -> None:
        self._app = app
        self._paths = paths
        self._own: frozenset[str] | None = None

    def __call__(self, path: str) -> bool:
        if path not in self._paths and not path.endswith("/"):
            return False
        if self._own is None:
            self._own = frozenset(audit.paths(self._app))
        if path in self._paths:
            return not self._own.isdisjoint(self._paths)
        return path in self._own

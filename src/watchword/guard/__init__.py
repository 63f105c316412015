"""Protects the routes of an app; works without the server.

`Guard(issuer=..., audience=...)` verifies the access tokens of any issuer over its
published keys. `Auth` is a guard too, so routes stay as they are when the issuer
moves into or out of the app.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Depends, Security

from watchword.errors import ConfigError
from watchword.guard import bearer, joining, metadata, presets, rehearsal, streams
from watchword.guard.decisions import Decisions
from watchword.guard.jwks import Documents, RemoteKeys
from watchword.guard.loading import AccountOf, CurrentUser, Loader
from watchword.guard.requirement import Public, Requirement
from watchword.guard.verifier import Verifier
from watchword.rules.access import AccessToken, Expectation
from watchword.rules.needs import Need

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import HTTPConnection
    from starlette.websockets import WebSocket

__all__ = ["AccessToken", "Guard"]

F = TypeVar("F", bound=Callable[..., Any])


class Guard:
    """Lets requests pass that carry a good access token of one issuer.

    Args:
        app: the app to publish RFC 9728 metadata on; or call `init_app` later.
        issuer: the issuer's identifier, exactly as it writes it into `iss`.
        audience: what this API is called there (`resource` is another name for it).
        scopes: scope -> sentence; then a misspelt scope fails at start.
        algorithms: what the issuer signs with.
        jwks_uri: its key set, for issuers without discovery documents.
        preset: how the issuer writes scopes and roles; see `Guard.keycloak` and its like.
        now: the clock, Unix seconds; tests pass their own.

    Raises:
        ConfigError: issuer or audience is missing.
    """

    _parts: tuple[Guard, ...] = ()

    def __init__(
        self,
        app: FastAPI | None = None,
        *,
        issuer: str,
        audience: str = "",
        resource: str = "",
        scopes: Mapping[str, str] | None = None,
        algorithms: Iterable[str] = ("ES256", "RS256", "PS256", "Ed25519"),
        jwks_uri: str | None = None,
        preset: presets.Preset = presets.STANDARD,
        shared_audience: bool = True,
        now: Callable[[], float] = time.time,  # noqa: TID251 - a guard alone is its own root
    ) -> None:
        audience = audience or resource
        if not issuer or not audience:
            raise ConfigError(
                "A guard needs an issuer and an audience.",
                why="a token for another API must not open this one (RFC 9068 section 4)",
                fix='Guard(issuer="https://login.example.com", audience="https://api.example.com")',
            )
        verifier = Verifier(
            RemoteKeys(issuer, frozenset(algorithms), jwks_uri),
            Expectation(
                issuer,
                audience,
                shared_audience=shared_audience,
                scopes_of=preset.scopes,
                roles_of=preset.roles,
                audience_of=preset.audience,
                is_access=preset.is_access,
                is_machine=preset.is_machine,
                strict=False,
            ),
            types=presets.FOREIGN_TYPES,
        )
        self._issuers: tuple[str, ...] = (issuer,)
        self._resource = audience
        self._account_of: AccountOf | None = None
        self._verifiers: tuple[Verifier, ...] = (verifier,)
        self._assemble(
            Decisions(
                self._verify,
                now,
                declared=dict(scopes or {}),
                resource_metadata=metadata.url(audience),
                recall=verifier.recall,
                owner=self,
            )
        )
        if app is not None:
            self.init_app(app)

    def _assemble(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._loader: Loader | None = None
        self._creator: Loader | None = None
        self._current_user_asked = False
        self.public = Depends(Public())

    async def _verify(self, token: str, now: float) -> AccessToken:
        # asked for each time: a test may have given a part other verifiers
        verifiers = [verifier for part in self.parts for verifier in part._verifiers]
        return await joining.verified(verifiers, token, now)

    def _join(self, guards: tuple[Guard, ...]) -> None:
        first = guards[0]
        self._issuers = tuple(issuer for guard in guards for issuer in guard._issuers)
        self._resource = first._resource
        self._account_of = joining.account_by_issuer(
            {issuer: guard._account_of for guard in guards for issuer in guard._issuers}
        )
        self._parts = tuple(part for guard in guards for part in guard.parts)
        joined = [guard._decisions for guard in guards]
        self._assemble(joining.decisions(joined, self._verify, self))

    @property
    def parts(self) -> tuple[Guard, ...]:
        """The guards that this one joins; a guard of one issuer is its own only part."""
        return self._parts or (self,)

    # --- presets: each issuer hides scopes and roles elsewhere ---

    @classmethod
    def any_of(cls, *guards: Guard) -> Guard:
        """A guard that accepts the tokens of any of these."""
        if not guards:
            raise ConfigError("Guard.any_of needs at least one guard.")
        joined = cls.__new__(cls)
        joined._join(guards)
        return joined

    @classmethod
    def keycloak(cls, issuer: str, *, audience: str, **options: Any) -> Guard:
        """A Keycloak realm: roles are in `realm_access` and `resource_access`."""
        return cls(issuer=issuer, audience=audience, preset=presets.KEYCLOAK, **options)

    @classmethod
    def entra(cls, *, tenant: str, audience: str, **options: Any) -> Guard:
        """A Microsoft Entra tenant: scopes are in `scp`, roles in `roles`."""
        issuer = f"https://login.microsoftonline.com/{tenant}/v2.0"
        return cls(issuer=issuer, audience=audience, preset=presets.ENTRA, **options)

    @classmethod
    def auth0(cls, domain: str, *, audience: str, **options: Any) -> Guard:
        """An Auth0 tenant: granted `permissions` count as scopes."""
        return cls(issuer=f"https://{domain}/", audience=audience, preset=presets.AUTH0, **options)

    @classmethod
    def cognito(cls, issuer: str, *, audience: str, **options: Any) -> Guard:
        """An Amazon Cognito pool: roles are in `cognito:groups`, the audience is the app client."""
        return cls(issuer=issuer, audience=audience, preset=presets.COGNITO, **options)

    # --- what routes say ---

    def require(
        self,
        *scopes: str,
        any_of: Iterable[str] = (),
        role: str | Iterable[str] = (),
        max_age: int | None = None,
        acr: str | None = None,
        client: str | None = None,
    ) -> Any:
        """A dependency that lets a request pass whose token holds all of `scopes`.

        Args:
            *scopes: all of these.
            any_of: at least one of these.
            role: this role, or one of these.
            max_age: seconds since the person signed in, at most.
            acr: how they signed in.
            client: the client the token was issued to.

        Raises:
            ConfigError: a scope that was not declared, at declaration.
        """
        need = self._need(scopes, any_of, role, max_age=max_age, acr=acr, client=client)
        return Security(Requirement(self._decisions, need), scopes=list(need.scopes))

    require_scopes = require

    def token(self, *scopes: str) -> Any:
        """A dependency whose value is the verified `AccessToken`."""
        need = self._need(scopes)
        return Security(Requirement(self._decisions, need), scopes=list(need.scopes))

    def current_user(self, *scopes: str) -> Any:
        """A dependency whose value is the caller as the app's own user.

        Without a `user_loader` it is the `Account`. A client's own token is refused.
        """
        self._current_user_asked = True
        need = self._need(scopes, user=True)
        dependency = CurrentUser(
            Requirement(self._decisions, need), self._account_of, self._loader, self._creator
        )
        return Security(dependency, scopes=list(need.scopes))

    def user_loader(self, function: F) -> F:
        """Decorates the function that loads the app's user for a token.

        It is a FastAPI dependency: a parameter typed `AccessToken` is bound here, the
        rest by FastAPI, so it uses the route's own session. Return None for nobody.

        Raises:
            ConfigError: it stands below the first `current_user()`.
        """
        self._loader = Loader(self._in_time(function, "user_loader"))
        return function

    def on_first_login(self, function: F) -> F:
        """Decorates the function that makes the app's user when the loader finds nobody.

        Parameters typed `Account` and `AccessToken` are bound here, the rest by FastAPI.

        Raises:
            ConfigError: it stands below the first `current_user()`.
        """
        self._creator = Loader(self._in_time(function, "on_first_login"))
        return function

    def _in_time(self, function: F, decorator: str) -> F:
        if self._current_user_asked:
            raise ConfigError(
                f"@{decorator} on {function.__qualname__} comes after current_user() was used.",
                why="FastAPI reads a dependency's parameters when the route is declared",
                fix="move it above the first current_user()",
            )
        return function

    def _need(
        self,
        scopes: tuple[str, ...],
        any_of: Iterable[str] = (),
        role: str | Iterable[str] = (),
        **conditions: Any,
    ) -> Need:
        roles = (role,) if isinstance(role, str) else tuple(role)
        need = Need(tuple(scopes), tuple(any_of), roles, **conditions)
        self._decisions.must_be_declared((*need.scopes, *need.any_of))
        return need

    # --- the app ---

    def init_app(self, app: FastAPI) -> None:
        """Publish the protected resource's metadata (RFC 9728) and answer refusals in full."""
        app.add_exception_handler(bearer.Challenge, bearer.answer)
        metadata.publish(app, self._resource, self._issuers, tuple(self._decisions.declared))

    def offline(
        self, now: Callable[[], float], documents: Documents
    ) -> AbstractContextManager[tuple[Expectation, frozenset[str]]]:
        """Judge by another clock, and by keys that do not come over the network; for tests.

        Args:
            now: the clock, Unix seconds.
            documents: URL -> the JSON document there: the issuer's metadata and key set.

        Returns:
            A context: what is expected of a token, and the algorithms that may have signed it.

        Raises:
            ConfigError: this is not a test.
        """
        (verifier,) = self._verifiers
        return rehearsal.offline(verifier, self._decisions, now, documents)

    # --- sockets and streams ---

    def ws_subprotocol(self, socket: WebSocket) -> str | None:
        """The subprotocol to accept a socket with, when its token came as one."""
        return streams.subprotocol(socket)

    @asynccontextmanager
    async def until_revoked(self, connection: HTTPConnection) -> AsyncIterator[None]:
        """Run a socket's or stream's body for as long as its token is good.

        A socket is closed with code 4401 when the token expires or is revoked.
        """
        async with streams.until_revoked(connection, self._decisions):
            yield

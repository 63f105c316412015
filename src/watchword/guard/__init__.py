"""Protects the routes of an app; works without the server.

`Guard(issuer=..., audience=...)` verifies the access tokens of any issuer over its
published keys; as a client of a Watchword it follows its revocations as well. `Auth` is
a guard too, so routes stay as they are when the issuer moves into or out of the app.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from watchword.errors import ConfigError
from watchword.guard import bearer, contact, joining, metadata, presets, rehearsal, streams
from watchword.guard.decisions import Decisions
from watchword.guard.declaring import Declaring
from watchword.guard.discovery import Documents
from watchword.guard.elsewhere import Elsewhere, live_with
from watchword.guard.freshness import AS_USUAL, Asked, Freshness
from watchword.guard.jwks import RemoteKeys
from watchword.guard.loading import AccountOf
from watchword.guard.opaque import Opaque, says_nothing
from watchword.guard.revocations import Revocations
from watchword.guard.stale import WhenStale
from watchword.guard.verifier import Verifier
from watchword.rules.access import AccessToken, Expectation

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import HTTPConnection
    from starlette.websockets import WebSocket

__all__ = ["AccessToken", "Guard"]


class Guard(Declaring):
    """Lets requests pass that carry a good access token of one issuer.

    Args:
        app: the app to publish RFC 9728 metadata on; or call `init_app` later.
        issuer: the issuer's identifier, exactly as it writes it into `iss`.
        audience: what this API is called there (`resource` is another name for it).
        scopes: scope -> sentence; then a misspelt scope fails at start.
        algorithms: what the issuer signs with.
        jwks_uri: its key set, for issuers without discovery documents.
        preset: how the issuer writes scopes and roles; see `Guard.keycloak` and its like.
        revocations: whether the issuer's revocation log is followed, without which a revoked
            token lives on until it ends: "auto" where the issuer publishes one and this guard
            is a client of it, "required" or nobody is let in, "off"; or a feed of your own.
        client_id: this guard's own client at the issuer, one that may look into tokens.
        client_secret: its secret.
        introspection: asks the issuer about tokens (RFC 7662): about those that say nothing
            themselves, and about all where no log is followed or, by `when_stale`, while it
            cannot be; True, its endpoint, or a function of your own.
        max_stale: seconds after which a revocation is noticed or nobody is let in.
        when_stale: whether then nobody is let in, or "introspect" asks about each token.
        now: the clock, Unix seconds; tests pass their own.

    Raises:
        ConfigError: issuer or audience is missing, or a policy cannot be held.
    """

    _parts: tuple[Guard, ...] = ()
    _elsewhere: Elsewhere | None = None

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
        revocations: contact.Log = "auto",
        client_id: str = "",
        client_secret: str = "",
        introspection: contact.Inquiry = False,
        max_stale: float = 2.0,
        when_stale: Literal["closed", "introspect"] = "closed",
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
        asked = contact.contact_with(
            issuer,
            revocations=revocations,
            introspection=introspection,
            client_id=client_id,
            client_secret=client_secret,
            has_metadata=jwks_uri is None,
            max_stale=max_stale,
        )
        elsewhere = Elsewhere(verifier, asked, max_stale=max_stale, now=now)
        self._elsewhere = elsewhere
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
                logs=self._logs,
                ready=elsewhere.ready,
                when_stale=WhenStale(Freshness(when_stale=when_stale), elsewhere.ask),
                owner=self,
            )
        )
        self._decisions.follows = elsewhere.follows
        if verifier.revocations is not None or when_stale != "closed":
            self._must_hold(self._decisions.when_stale.usual)
        if app is not None:
            self.init_app(app)

    @property
    def _all_verifiers(self) -> list[Verifier]:
        # asked for each time: a test may have given a part other verifiers
        return [verifier for part in self.parts for verifier in part._verifiers]

    @property
    def _opaque(self) -> list[Opaque]:
        found = (part._elsewhere.opaque for part in self.parts if part._elsewhere is not None)
        return [opaque for opaque in found if opaque is not None]

    async def _verify(self, token: str, now: float, asked: Asked = AS_USUAL) -> AccessToken:
        if (opaque := self._opaque) and says_nothing(token):
            return await joining.told(opaque, token, now, asked)
        return await joining.verified(self._all_verifiers, token, now, asked)

    def _logs(self) -> list[Revocations]:
        logs = (verifier.revocations for verifier in self._all_verifiers)
        return [log for log in logs if log is not None]

    def _must_hold(self, policy: Freshness) -> None:
        if any(verifier.revocations is None for verifier in self._all_verifiers):
            raise ConfigError(
                f"This guard cannot hold {policy}: it does not learn of revocations.",
                why="a route would seem to be guarded better than it is",
                fix='revocations="required" with a client_id and client_secret of the issuer, or '
                "introspection=True",
            )
        asks = [part._decisions.when_stale.ask for part in self.parts]
        if policy.when_stale == "introspect" and None in asks:
            raise ConfigError(
                "This guard has nobody to ask about a token.",
                why='when_stale="introspect" asks the issuer about each',
                fix="introspection=True with a client_id and client_secret of the issuer",
            )

    def _join(self, guards: tuple[Guard, ...]) -> None:
        first = guards[0]
        self._issuers = tuple(issuer for guard in guards for issuer in guard._issuers)
        self._resource = first._resource
        self._account_of = joining.account_by_issuer(
            {issuer: guard._account_of for guard in guards for issuer in guard._issuers}
        )
        self._parts = tuple(part for guard in guards for part in guard.parts)
        joined = [guard._decisions for guard in guards]
        stale = {issuer: g._decisions.when_stale for g in guards for issuer in g._issuers}
        self._assemble(
            joining.decisions(joined, self._verify, joining.stale_by_issuer(stale), self)
        )

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

    # --- the app ---

    def init_app(self, app: FastAPI) -> None:
        """Publish the protected resource's metadata (RFC 9728), answer refusals in full, and
        begin to follow revocations with the app."""  # noqa: D205, D209
        app.add_exception_handler(bearer.Challenge, bearer.answer)
        metadata.publish(app, self._resource, self._issuers, tuple(self._decisions.declared))
        live_with(app, [part._elsewhere for part in self.parts if part._elsewhere is not None])

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
        (verifier,), elsewhere = self._verifiers, self._elsewhere
        silent = nullcontext() if elsewhere is None else elsewhere.silent()
        return rehearsal.offline(verifier, self._decisions, now, documents, silent)

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

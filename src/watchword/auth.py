"""Auth: builds every part once and mounts them on an app; is itself a guard."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from watchword import settings as settings_module
from watchword.crypto.jose import KeySet
from watchword.crypto.passwords import Cost, Passwords
from watchword.crypto.refresh_tokens import RefreshTokens
from watchword.crypto.secrets import derive
from watchword.endpoints import docs as docs_page
from watchword.endpoints import introspect, me, openapi, revoke, token, wellknown
from watchword.endpoints.hooks import Hook
from watchword.endpoints.routing import Endpoint, Endpoints
from watchword.errors import ConfigError
from watchword.events import Event, Events, scheduled
from watchword.exchanges import client_credentials, password, refresh_token
from watchword.exchanges.bench import Bench, Exchange
from watchword.guard import Guard, audit, bearer
from watchword.guard.decisions import Decisions
from watchword.guard.hoisting import hoist
from watchword.guard.rehearsal import only_in_tests
from watchword.guard.requirement import Requirement
from watchword.guard.revocations import Revocations
from watchword.guard.verifier import Verifier
from watchword.limits import Fallback, Limit, Limits, ProcessCounters
from watchword.rules import claims
from watchword.rules.access import AccessToken, Expectation
from watchword.rules.clients import FIRST_PARTY, Client
from watchword.rules.forwarded import TrustedProxies
from watchword.rules.needs import Need
from watchword.rules.scopes import Scopes, expanded, well_formed
from watchword.seams import Account, ClaimsContext, LoginContext, Users
from watchword.signing import Signing
from watchword.store import schema
from watchword.store.counters import FAULTS, SqliteCounters
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite
from watchword.store.users import BuiltinUsers

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

__all__ = ["Auth"]

log = logging.getLogger("watchword")
F = TypeVar("F", bound=Callable[..., Any])
TICK = 60.0  # seconds between two rounds of clean-up


class Auth(Guard):
    """Everything: endpoints, keys, users, guards, in one app.

    Args:
        app: the app to mount on; or call `init_app` later.
        scopes: scope -> the sentence people read; then a misspelt scope fails at start.
        roles: role -> scope patterns (`items:*`); expanded on the server, so that APIs
            check scopes only.
        users: who may sign in; by default the built-in users.
        now: the clock, Unix seconds; tests move their own.
        fresh: the source of random bytes.
        **options: every setting, by its name; see docs/settings.md.

    Raises:
        ConfigError: a setting cannot be served with; says what, why and how to fix it.
    """

    def __init__(
        self,
        app: FastAPI | None = None,
        *,
        scopes: Mapping[str, str] | None = None,
        roles: Mapping[str, Iterable[str]] | None = None,
        users: Users | None = None,
        now: Callable[[], float] = time.time,  # noqa: TID251 - the one clock is made here
        fresh: Callable[[int], bytes] = os.urandom,
        **options: Any,
    ) -> None:
        self.settings = settings_module.load(**options)
        self.now = now
        self._scopes = _declared(scopes or {})
        self._roles = {name: tuple(patterns) for name, patterns in (roles or {}).items()}
        self._started = False
        self._starting = asyncio.Lock()
        self._apps: list[FastAPI] = []
        self._in_test = False
        self._own_users, self._fresh = users, fresh
        self.events = Events()
        self._build()
        self._assemble(
            Decisions(
                self._verify,
                self.now,
                declared=self._scopes,
                resource_metadata=self.settings.issuer + wellknown.RESOURCE,
                token_url=self._token_path.lstrip("/"),
                hints=self.settings.is_development,
                ready=self.start,
                owner=self,
            )
        )
        if app is not None:
            self.init_app(app)

    def _build(self) -> None:
        settings = self.settings
        self.driver = Sqlite(settings.database_path)
        self.store = SqlStore(self.driver, token_life=settings.access_ttl)
        self.passwords = Passwords(
            Cost(settings.hash_memory_kib, settings.hash_passes), patience=settings.hash_wait
        )
        self.users: Users = self._own_users or BuiltinUsers(self.store, self.passwords, self.now)
        self.signing = Signing(self.store, settings, self.events, self.now)
        self.revocations = Revocations(self.store)
        keys = _OwnKeys(self.signing, self.revocations)
        mine = Expectation(settings.issuer, settings.audience)
        self._verifiers = (Verifier(keys, mine, types=claims.TYPES, revocations=self.revocations),)
        self._anywhere = Verifier(
            keys,
            Expectation(settings.issuer, None),
            types=claims.TYPES,
            revocations=self.revocations,
        )
        self._issuers, self._resource = (settings.issuer,), settings.audience
        self._account_of = self._account
        self.counters = self._counters()
        self._bench = Bench(
            store=self.store,
            users=self.users,
            limits=self._limits(),
            events=self.events,
            signing=self.signing,
            settings=settings,
            refresh_tokens=RefreshTokens(settings.secrets),
            proxies=TrustedProxies.parse(settings.trusted_proxies),
            exchanges=self._exchanges(),
            now=self.now,
            fresh=self._fresh,
            verify=self._verify_anywhere,
            may_have=self.may_have,
            declared=lambda: tuple(self._scopes),
        )

    @property
    def _token_path(self) -> str:
        return "/token" if self.settings.first_party_paths else f"{self.settings.prefix}/token"

    def _exchanges(self) -> dict[str, Exchange]:
        found: dict[str, Exchange] = {
            "refresh_token": refresh_token.redeem,
            "client_credentials": client_credentials.redeem,
        }
        if not self.settings.strict:
            found["password"] = password.redeem
        return found

    def _counters(self) -> SqliteCounters | ProcessCounters:
        if self.settings.limit_backend == "memory" or self.driver.in_memory:
            return ProcessCounters()
        return SqliteCounters(f"{self.settings.database_path}-limits")

    def _limits(self) -> Limits:
        settings = self.settings
        texts = {
            "login_account_ip": settings.limit_login_account_ip,
            "login_ip": settings.limit_login_ip,
            "login_account": settings.limit_login_account,
            "token": settings.limit_token,
        }
        policies = {}
        for name, text in texts.items():
            try:
                limit = Limit.parse(text)
            except ValueError as error:
                raise ConfigError(
                    f"LIMIT_{name.upper()} is not a limit.", why=str(error), fix="5 + 1/min"
                ) from error
            if settings.is_development and name in ("login_ip", "token") and not limit.off:
                # One person's machine shares one address; the account's limit stays as it is.
                limit = Limit(limit.burst * 10, limit.interval / 10)
            policies[name] = limit
        counters = Fallback(self.counters, FAULTS)
        return Limits(counters, policies, secret=derive(settings.secret, "limit keys"))

    # --- the app ---

    def init_app(self, app: FastAPI) -> None:
        """Mount everything on an app: endpoints first in its routes, one look-up each."""
        from starlette.types import ASGIApp  # noqa: F401, PLC0415

        self._apps.append(app)
        app.state.watchword = self  # for whoever has the app alone: tests, the command line
        app.add_exception_handler(bearer.Challenge, bearer.answer)
        table = self._table()
        shown = (
            self.settings.docs if self.settings.docs is not None else (self.settings.is_development)
        )
        table |= docs_page.table(app, f"{self.settings.prefix}/static", shown=shown)
        own_me = _OwnPaths(app, ("/users/me", "/users/me/"))
        shared = frozenset(path for path in table if "token" in path or "revoke" in path)
        app.router.routes.insert(
            0, Endpoints(table, self._ready_bench, shared=shared, yields=own_me)
        )
        self._describe(app, own_me)
        self._wrap_lifespan(app)

    def _table(self) -> dict[str, dict[str, Endpoint]]:
        prefix, issuer = self.settings.prefix, self.settings.issuer
        table: dict[str, dict[str, Endpoint]] = {
            f"{prefix}/token": {"POST": token.token},
            f"{prefix}/revoke": {"POST": revoke.revoke},
            f"{prefix}/introspect": {"POST": introspect.introspect},
            wellknown.JWKS: {"GET": wellknown.jwks},
        }
        for document in (wellknown.OPENID, wellknown.OAUTH):
            for place in wellknown.places(issuer, document):
                table[place] = {"GET": wellknown.server_metadata}
        for place in wellknown.places(self.settings.audience, wellknown.RESOURCE):
            table[place] = {"GET": wellknown.resource_metadata}
        if self.settings.first_party_paths:
            table |= {
                "/token": {"POST": token.token},
                "/refresh-token": {"POST": token.refresh},
                "/revoke-token": {"POST": revoke.revoke_bearer},
                "/revoke": {"POST": revoke.revoke},
                "/introspect": {"POST": introspect.introspect},
                "/users/me": {"GET": self._me},
                "/users/me/": {"GET": self._me},
            }
        return table

    async def _me(self, request: Request, at: Bench) -> Any:
        from watchword.endpoints import answers  # noqa: PLC0415

        need = Need(("me",) if "me" in self._scopes else (), user=True)
        found = await Requirement(self._decisions, need).judge(request.scope)
        account = await self._account(found)
        if account is None:
            raise self._decisions.challenge(_gone(), request.scope)
        del at
        return answers.json(me.described(account))

    def _describe(self, app: FastAPI, own_me: _OwnPaths) -> None:
        """Add the endpoints to the schema that FastAPI makes of the rest."""
        original = app.openapi
        settings = self.settings

        def described() -> dict[str, Any]:
            document = original()
            if "x-watchword" not in document:
                document["x-watchword"] = {"mode": settings.env}
                ours = openapi.paths(
                    first_party=settings.first_party_paths,
                    password="password" in self._bench.exchanges,
                    prefix=settings.prefix,
                )
                document["paths"] = {**ours, **document.get("paths", {})}
                schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
                schemes.setdefault("Watchword", Requirement(self._decisions, Need()).described())
            return document

        del own_me
        app.openapi = described  # type: ignore[method-assign]

    def _wrap_lifespan(self, app: FastAPI) -> None:
        """Start with the app, whatever lifespan it has; a mounted app starts lazily."""
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(of: Any) -> AsyncIterator[Any]:
            await self.start()
            tidying = asyncio.create_task(self._tidy_forever())
            try:
                async with inner(of) as state:
                    yield state
            finally:
                tidying.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await tidying
                self.close()

        app.router.lifespan_context = lifespan

    # --- running ---

    async def start(self) -> None:
        """Prepare schema, keys and the built-in client, and audit the routes; once.

        Raises:
            ConfigError: the server cannot be run safely as it is.
            Unavailable: the database cannot be opened.
        """
        if self._started:
            return
        if self._in_test:
            only_in_tests()
        async with self._starting:
            if self._ready():  # somebody else was faster while this one waited
                return
            schema.prepare(self.driver, upgrade=self.settings.migrate == "auto")
            await self.signing.prepare()
            await self._first_party_client()
            self.revocations.catch_up(self.now())
            for app in self._apps:
                audit.at_start(app, self.settings.audit_routes)
                hoist(app.routes)
            if self.settings.is_development:
                log.warning(
                    "development mode: issuer %s; never put this server on a network",
                    self.settings.issuer,
                )
            self._started = True

    def _ready(self) -> bool:
        return self._started

    async def _ready_bench(self) -> Bench:
        await self.start()
        return self._bench

    async def _first_party_client(self) -> None:
        if await self.store.client(FIRST_PARTY) is None:
            client = Client(
                id=FIRST_PARTY,
                name="This app",
                auth_method="none",
                grants=frozenset({"password", "refresh_token"}),
                scopes=Scopes(),
                created_at=self.now(),
            )
            await self.store.add_client(client, self.now())

    async def tidy(self) -> None:
        """One round of clean-up: dead rows, old counters, keys that need a successor."""
        now = self.now()
        await self.store.sweep(now)
        if isinstance(self.counters, SqliteCounters):
            await asyncio.to_thread(self.counters.sweep, now)
        await self.signing.prepare()

    async def _tidy_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                await self.tidy()
            except Exception:
                log.exception("clean-up failed; it is tried again in a minute")

    def close(self) -> None:
        """Finish what is queued and close the database; a later request opens it again."""
        self.passwords.close()
        if self._in_test:
            return  # what is in memory outlives the lifespans of the app within one test
        self.driver.close()
        if isinstance(self.counters, SqliteCounters):
            self.counters.close()
        self._started = False

    @contextlib.contextmanager
    def in_memory(
        self,
        now: Callable[[], float],
        *,
        secret: str | None = None,
        users: Callable[[Users], Users] = lambda own: own,
    ) -> Iterator[None]:
        """Serve from an empty store in memory, by another clock; for tests.

        The database, the counters and the keys in use are not opened. Hooks stay, and
        afterwards everything is as before. `start` refuses this outside pytest.

        Args:
            now: the clock, Unix seconds.
            secret: the server secret meanwhile; by default the one in use.
            users: makes the test's users out of the app's own, where it has some.
        """
        before, clock, bench = dict(vars(self)), self._decisions.now, self._bench
        self.settings = self.settings.model_copy(
            update={
                "database_url": "sqlite:///:memory:",
                "secret": secret or self.settings.secret,
                "hash_memory_kib": 64,  # nobody attacks these hashes
                "hash_passes": 1,
                "hash_wait": 30.0,
            }
        )
        self._own_users = users(self._own_users) if self._own_users is not None else None
        self.now = self._decisions.now = now
        self._started, self._in_test = False, True
        self._starting = asyncio.Lock()  # a test's event loops are its own
        self._build()
        self._bench.add_claims, self._bench.before_login = bench.add_claims, [*bench.before_login]
        try:
            yield
        finally:
            self._in_test = False
            self.close()
            self._decisions.now = clock
            vars(self).update(before)

    # --- people ---

    def may_have(self, account: Account) -> Scopes:
        """The scopes an account may have: its own and its roles', as far as declared."""
        from_roles = [
            name
            for role in account.roles
            for name in expanded(self._roles.get(role, ()), self._scopes)
        ]
        both = Scopes.of([*account.scopes, *from_roles])
        return both.within(self._scopes) if self._scopes else both

    async def _account(self, found: AccessToken) -> Account | None:
        account = await self.users.by_subject(found.sub)
        return None if account is None or account.disabled else account

    async def _verify_anywhere(self, text: str) -> AccessToken:
        return await self._anywhere(text, self.now())

    # --- hooks ---

    def claims(self, function: F) -> F:
        """Decorates a function that adds claims to access tokens when they are minted.

        It takes one parameter typed `ClaimsContext`; FastAPI fills the rest. Returning a
        claim the server sets itself is an error that says so.
        """
        hook = Hook(function, ClaimsContext, self._apps[0] if self._apps else None)
        earlier = self._bench.add_claims

        async def add(context: ClaimsContext, caller: Any) -> Mapping[str, object]:
            before = await earlier(context, caller) if earlier is not None else {}
            return {**before, **claims.addable(await hook(context, caller) or {})}

        self._bench.add_claims = add
        return function

    def before(self, what: str) -> Callable[[F], F]:
        """Decorates a function that may stop a login by raising `Deny`."""
        if what != "login":
            raise ConfigError(f'There is no before("{what}").', fix='before("login")')

        def decorate(function: F) -> F:
            hook = Hook(function, LoginContext, self._apps[0] if self._apps else None)
            self._bench.before_login.append(hook)
            return function

        return decorate

    def after(self, *kinds: str) -> Callable[[F], F]:
        """Decorates a function told of events, after they are committed.

        It is called with the event, in the order of events; what it raises is logged
        and stops nothing. An async function is started, not waited for.
        """

        def decorate(function: F) -> F:
            tell = scheduled(function) if inspect.iscoroutinefunction(function) else function

            def listener(event: Event) -> None:
                if event.kind in kinds:
                    tell(event)

            self.events.listen(listener)
            return function

        return decorate


class _OwnKeys:
    """The verifying keys of this very server; reloaded when the log says they changed."""

    def __init__(self, signing: Signing, revocations: Revocations) -> None:
        self._signing = signing
        self._revocations = revocations
        self._seen = -1

    def current(self, now: float) -> KeySet | None:
        if self._seen != self._revocations.config_changes:
            return None
        return self._signing.key_set(now)

    async def load(self, now: float) -> KeySet:
        seen = self._revocations.config_changes
        await self._signing.load()
        self._seen = seen
        return self._signing.key_set(now)

    async def missed(self, now: float) -> KeySet:
        return self._signing.key_set(now)


class _OwnPaths:
    """Whether an app has a route of its own at one of these paths; asked once."""

    def __init__(self, app: FastAPI, paths: tuple[str, ...]) -> None:
        self._app = app
        self._paths = paths
        self._answer: bool | None = None

    def __call__(self, path: str) -> bool:
        if path not in self._paths:
            return False
        if self._answer is None:
            self._answer = any(path in self._paths for path in audit.paths(self._app))
        return self._answer


def _declared(scopes: Mapping[str, str]) -> dict[str, str]:
    for name in scopes:
        if not well_formed(name):
            raise ConfigError(
                f"The scope {name!r} cannot be used.",
                why="a scope is printable ASCII without spaces, quotes and backslashes "
                "(RFC 6749 section 3.3)",
                fix='scopes={"items:read": "See your items"}',
            )
    return dict(scopes)


def _gone() -> Any:
    from watchword.errors import InvalidToken  # noqa: PLC0415

    return InvalidToken("The access token is not valid.", detail="the user is gone or disabled")

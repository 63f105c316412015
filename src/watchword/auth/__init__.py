"""Auth: builds every part once and mounts them on an app; is itself a guard."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from watchword import settings as settings_module
from watchword.auth.listening import Hooks
from watchword.auth.mounting import mount
from watchword.auth.parts import Given, Parts, built, declared
from watchword.auth.readiness import Readiness
from watchword.auth.rehearsing import in_memory
from watchword.auth.revoking import revoke, stands
from watchword.auth.running import have_first_party, live_with, stop
from watchword.endpoints import ticket, wellknown
from watchword.endpoints.hooks import Hook
from watchword.errors import ConfigError
from watchword.events import Events
from watchword.exchanges.bench import Bench
from watchword.guard import Guard, audit, bearer
from watchword.guard.decisions import Decisions
from watchword.guard.freshness import Freshness
from watchword.guard.hoisting import hoist
from watchword.guard.introspection import Introspection
from watchword.guard.rehearsal import only_in_tests
from watchword.guard.requirement import Requirement
from watchword.guard.stale import WhenStale
from watchword.rules import claims
from watchword.rules.access import AccessToken
from watchword.rules.needs import Need
from watchword.rules.scopes import Scopes
from watchword.seams import Account, ClaimsContext, LoginContext, Users
from watchword.store import floor, schema
from watchword.store.adopted import SQLAlchemyUsers

if TYPE_CHECKING:
    from fastapi import FastAPI

    from watchword.crypto.secrets import Secret

__all__ = ["Auth", "SQLAlchemyUsers"]

log = logging.getLogger("watchword")
F = TypeVar("F", bound=Callable[..., Any])


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
        self._started = False
        self._starting = asyncio.Lock()
        self._apps: list[FastAPI] = []
        self._in_test = False
        self.readiness = Readiness(self)
        self.events = Events()
        self._given = Given(
            scopes=declared(scopes or {}),
            roles={name: tuple(patterns) for name, patterns in (roles or {}).items()},
            users=users,
            now=now,
            fresh=fresh,
            events=self.events,
            hooks=Hooks(),
        )
        self._use(built(self.settings, self._given))
        self._issuers, self._resource = (self.settings.issuer,), self.settings.audience
        self._account_of = self._account
        first_party = self.settings.first_party_paths
        token_path = "/token" if first_party else f"{self.settings.prefix}/token"
        self._assemble(
            Decisions(
                self._verify,
                now,
                declared=self._given.scopes,
                resource_metadata=self.settings.issuer + wellknown.RESOURCE,
                token_url=token_path.lstrip("/"),
                hints=self.settings.is_development,
                ready=self.start,
                logs=self._logs,
                when_stale=WhenStale(
                    Freshness(when_stale=self.settings.when_stale),
                    Introspection(self._stands, max_age=self.settings.max_stale),
                ),
                redeem=self._redeem,
                owner=self,
            )
        )
        self._decisions.follows = self.revocations.bound > 0
        if app is not None:
            self.init_app(app)

    def _use(self, parts: Parts) -> None:
        self.driver, self.store, self.users = parts.driver, parts.store, parts.users
        self.passwords, self.signing = parts.passwords, parts.signing
        self.revocations, self.shared = parts.revocations, parts.shared
        self._counting = parts.counting
        self.deliveries = parts.deliveries
        self.events.keep = parts.deliveries.keep
        self._keys = parts.keys
        self._verifiers = (parts.verifier,)
        self._bench = parts.bench

    # --- the app ---

    def init_app(self, app: FastAPI) -> None:
        """Mount everything on an app: endpoints first in its routes, one look-up each."""
        self._apps.append(app)
        app.state.watchword = self  # for whoever has the app alone: tests, the command line
        app.add_exception_handler(bearer.Challenge, bearer.answer)
        need = Need(("me",) if "me" in self._given.scopes else (), user=True)
        mount(self, app, Requirement(self._decisions, need))
        live_with(app, self)

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
            if self._is_started():  # somebody else was faster while this one waited
                return
            await self._prepare_schema()
            await self.signing.prepare()
            await have_first_party(self.store, self.now())
            await self.revocations.start(self.now())
            for app in self._apps:
                audit.at_start(app, self.settings.audit_routes)
                hoist(app.routes)
            if self.settings.is_development:
                log.warning(
                    "development mode: issuer %s; never put this server on a network",
                    self.settings.issuer,
                )
            self._decisions.recall = self._verifiers[0].recall
            self._started = True
            await self.deliveries.begin()

    async def _prepare_schema(self) -> None:
        upgrade = self.settings.migrate == "auto"
        if self.driver.is_local:
            schema.prepare(self.driver, upgrade=upgrade)
        else:
            await asyncio.to_thread(schema.prepare, self.driver, upgrade=upgrade)

    def _is_started(self) -> bool:
        return self._started

    async def ready(self) -> Bench:
        """What the endpoints work with, once everything is prepared."""
        await self.start()
        await self._keys.catch_up(self.now())
        return self._bench

    async def _redeem(self, text: str) -> Secret | None:
        await self.start()
        return await ticket.redeemed(text, self._bench)

    async def tidy(self) -> None:
        """One round of clean-up: dead rows, old counters, keys that need a successor."""
        now = self.now()
        self.revocations.forget(now)
        try:
            await self.driver.read(floor.must_serve())
        except floor.Superseded:  # rows are not ours to delete, nor events to deliver
            self.deliveries.stop()
            raise
        await self.store.sweep(now)
        await self.deliveries.tidy()
        await self._counting.sweep(now)
        await self.signing.prepare()

    def close(self) -> None:
        """Finish what is queued and close the database; a later request opens it again."""
        self.passwords.close()
        if self._in_test:
            return  # what is in memory outlives the lifespans of the app within one test
        self.revocations.close()
        self.deliveries.stop()
        self.driver.close()
        self._counting.close()
        if self.shared is not None:
            self.shared.close()
        self._started, self._decisions.recall = False, None

    stop = stop
    in_memory = in_memory
    revoke = revoke

    # --- people ---

    def may_have(self, account: Account) -> Scopes:
        """The scopes an account may have: its own and its roles', as far as declared."""
        return self._given.may_have(account)

    async def _stands(self, text: str, found: AccessToken) -> bool:
        del text
        return await stands(self.store, found)

    async def _account(self, found: AccessToken) -> Account | None:
        account = await self.users.by_subject(found.sub)
        return None if account is None or account.disabled else account

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
        """Decorates a function that is told of events, after they are committed.

        It gets the event, sync or async, at least once: one that raises, or takes longer
        than half a minute, is called again later, after a restart too, for most of a day.
        `event.id` is the same each time.

        Raises:
            ConfigError: no event is called so.
        """

        def decorate(function: F) -> F:
            self._given.hooks.add(kinds, function)
            return function

        return decorate

"""The parts of one server, built from its settings; nothing is opened here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from watchword.auth.counting import Counting, counting_of, shared_of
from watchword.auth.delivering import Deliveries
from watchword.auth.listening import Hooks
from watchword.clients import Clients
from watchword.crypto.devices import Devices
from watchword.crypto.jose import KeySet
from watchword.crypto.passwords import Cost, Passwords
from watchword.crypto.refresh_tokens import RefreshTokens
from watchword.crypto.tickets import Tickets
from watchword.errors import ConfigError
from watchword.events import Events
from watchword.exchanges import client_credentials, password, refresh_token
from watchword.exchanges.bench import Bench, Exchange
from watchword.guard.following import Follower
from watchword.guard.freshness import Asked
from watchword.guard.revocations import Revocations
from watchword.guard.verifier import Verifier
from watchword.rules import claims
from watchword.rules.access import AccessToken, Expectation
from watchword.rules.forwarded import TrustedProxies
from watchword.rules.revoking import LONGEST_LIFE
from watchword.rules.scopes import Scopes, expanded, well_formed
from watchword.seams import Account, Unavailable, Users
from watchword.settings import Settings
from watchword.shared import RedisWakes, Shared
from watchword.signing import Signing
from watchword.store.adopted import SQLAlchemyUsers
from watchword.store.databases import Driver, driver_of
from watchword.store.floor import Superseded
from watchword.store.sql import SqlStore
from watchword.store.telling import Telling
from watchword.store.users import BuiltinUsers


@dataclass(frozen=True, slots=True)
class Given:
    """What the embedder gave besides settings: the clock and the chance among it."""

    scopes: Mapping[str, str]
    roles: Mapping[str, tuple[str, ...]]
    users: Users | None
    now: Callable[[], float]
    fresh: Callable[[int], bytes]
    events: Events
    hooks: Hooks

    def may_have(self, account: Account) -> Scopes:
        """The scopes an account may have: its own and its roles', as far as declared."""
        from_roles = [
            name
            for role in account.roles
            for name in expanded(self.roles.get(role, ()), self.scopes)
        ]
        both = Scopes.of([*account.scopes, *from_roles])
        return both.within(self.scopes) if self.scopes else both


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything one server is made of."""

    driver: Driver
    store: SqlStore
    deliveries: Deliveries
    passwords: Passwords
    users: Users
    signing: Signing
    revocations: Revocations
    keys: OwnKeys
    shared: Shared | None
    counting: Counting
    verifier: Verifier  # of tokens for this resource
    anywhere: Verifier  # of any token of this issuer, for those who judge the audience themselves
    bench: Bench


def built(settings: Settings, given: Given) -> Parts:
    """Build them.

    Raises:
        ConfigError: a limit or a proxy is not of its form.
    """
    driver = driver_of(settings.database_url)
    deliveries = Deliveries(driver, given.hooks, given.events, now=given.now, fresh=given.fresh)
    telling = Telling(given.events.tell, wanted=given.hooks.kinds, committed=deliveries.settle)
    store = SqlStore(driver, token_life=LONGEST_LIFE, telling=telling)
    cost = Cost(settings.hash_memory_kib, settings.hash_passes)
    passwords = Passwords(cost, patience=settings.hash_wait)
    signing = Signing(store, settings, given.now)
    shared = shared_of(settings)
    wakes = RedisWakes(shared) if shared is not None else None
    revocations = _revocations(store, driver, given.now, settings.max_stale, wakes)
    keys = OwnKeys(signing, revocations)
    users = given.users or BuiltinUsers(store, passwords, given.now)
    if isinstance(users, SQLAlchemyUsers):
        users.bind(store, passwords, given.now)
    counting = counting_of(settings, driver, shared)

    def verifier(audience: str | None) -> Verifier:
        expected = Expectation(settings.issuer, audience)
        return Verifier(keys, expected, types=claims.TYPES, revocations=revocations)

    anywhere = verifier(None)

    async def verify(text: str) -> AccessToken:
        return await anywhere(text, given.now())

    def changes() -> int | None:
        try:
            revocations.catch_up(given.now())
        except Unavailable:
            return None
        return revocations.config_changes

    bench = Bench(
        store=store,
        clients=Clients(store.client, changes),
        passwords=passwords,
        users=users,
        limits=counting.limits,
        events=given.events,
        signing=signing,
        settings=settings,
        refresh_tokens=RefreshTokens(settings.secrets),
        tickets=Tickets(settings.secrets),
        devices=Devices(settings.secrets),
        proxies=TrustedProxies.parse(settings.trusted_proxies),
        exchanges=_exchanges(settings),
        now=given.now,
        fresh=given.fresh,
        verify=verify,
        may_have=given.may_have,
        declared=lambda: tuple(given.scopes),
        log=revocations,
        page=store.page,
        know=lambda position: keys.know(position, given.now()),
        settle=deliveries.settle if driver.in_memory else None,
    )
    return Parts(
        driver=driver,
        store=store,
        deliveries=deliveries,
        passwords=passwords,
        users=users,
        signing=signing,
        revocations=revocations,
        keys=keys,
        shared=shared,
        counting=counting,
        verifier=verifier(settings.audience),
        anywhere=anywhere,
        bench=bench,
    )


def declared(scopes: Mapping[str, str]) -> dict[str, str]:
    """The scopes an app declares, if tokens can carry them.

    Raises:
        ConfigError: a name that no token could carry.
    """
    for name in scopes:
        if not well_formed(name):
            raise ConfigError(
                f"The scope {name!r} cannot be used.",
                why="a scope is printable ASCII without spaces, quotes and backslashes "
                "(RFC 6749 section 3.3)",
                fix='scopes={"items:read": "See your items"}',
            )
    return dict(scopes)


def _exchanges(settings: Settings) -> dict[str, Exchange]:
    found: dict[str, Exchange] = {
        "refresh_token": refresh_token.redeem,
        "client_credentials": client_credentials.redeem,
    }
    if not settings.strict:
        found["password"] = password.redeem
    return found


def _revocations(
    store: SqlStore,
    driver: Driver,
    now: Callable[[], float],
    max_stale: float,
    wakes: RedisWakes | None,
) -> Revocations:
    """On one machine the log is read at each decision; across a network it is followed.

    Redis tells the others of news where PostgreSQL cannot, behind PgBouncer, and beside it.
    """
    if driver.is_local:
        return Revocations(store)
    hints = (driver.listen,) if wakes is None else (driver.listen, wakes.listen)
    follower = Follower(store, max_stale=max_stale, hints=hints, now=now)

    async def committed() -> None:
        await asyncio.gather(
            follower.meet(Asked(within=0)), *(() if wakes is None else (wakes.publish(),))
        )

    driver.committed = committed
    return follower


class OwnKeys:
    """The verifying keys of this very server; reloaded when the log says they changed."""

    def __init__(self, signing: Signing, revocations: Revocations) -> None:
        self._signing = signing
        self._revocations = revocations
        self._seen = -1

    async def catch_up(self, now: float) -> None:
        """Know every key there is before one signs or is published: a rotation after a leak
        must not wait for the next round of clean-up.

        Raises:
            Superseded: this process may not serve any more.
        """  # noqa: D205
        try:
            self._revocations.catch_up(now)
            if self._seen != self._revocations.config_changes:
                await self.load(now)
        except Superseded:
            raise
        except Unavailable:
            return  # what is known can still be published

    async def know(self, position: tuple[int, int], now: float) -> None:
        """Know every key there was at a position of the log.

        Raises:
            Unavailable: the log cannot be read.
        """
        await self._revocations.meet(Asked(position=position))
        self._revocations.catch_up(now)
        await self.catch_up(now)

    def current(self, now: float) -> KeySet | None:
        """The keys in force, unless they have changed since they were loaded."""
        if self._seen != self._revocations.config_changes:
            return None
        return self._signing.ring.verifiers(now)

    async def load(self, now: float) -> KeySet:
        """Read them from the store."""
        seen = self._revocations.config_changes
        await self._signing.load()
        self._seen = seen
        return self._signing.key_set(now)

    async def missed(self, now: float) -> KeySet:
        """The log tells of every new key, but across a network not everybody at once.

        Strangers can name keys at will, so it is asked in turn, as for positions.
        """
        log = self._revocations
        with suppress(Unavailable):
            await log.meet(Asked(position=(log.epoch, log.position + 1)))
        if self._seen != log.config_changes:
            return await self.load(now)
        return self._signing.key_set(now)

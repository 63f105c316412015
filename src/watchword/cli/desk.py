"""The desk commands work at: settings, store and users, opened for one command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from watchword import settings as settings_module
from watchword.cli.apps import auth_in
from watchword.cli.command import clock
from watchword.cli.output import NotFound, Refused
from watchword.crypto.keys import StoredKey
from watchword.crypto.passwords import Cost, Passwords
from watchword.errors import ConfigError
from watchword.rules.revoking import LONGEST_LIFE
from watchword.seams import Account, Users
from watchword.settings import Settings
from watchword.signing import Signing, ours
from watchword.store import schema
from watchword.store.databases import Driver, driver_of
from watchword.store.sql import SqlStore
from watchword.store.telling import Telling, wanted
from watchword.store.users import BuiltinUsers

_PATIENCE = 60.0  # seconds; a person at a terminal waits for the hash


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with. A server may run on the same database at the same time.

    Attributes:
        settings: those of the app, where there is one.
        driver: the database.
        store: the verbs on it.
        now: Unix seconds.
        users: who may sign in, where an app says so.
    """

    settings: Settings
    driver: Driver
    store: SqlStore
    now: float
    users: Users | None = None

    @property
    def signing(self) -> Signing:
        """The signing keys, not yet loaded."""
        return Signing(self.store, self.settings, clock)

    def ours(self, keys: Iterable[StoredKey]) -> list[StoredKey]:
        """Those of the mode that is served in."""
        return ours(keys, self.settings)

    async def hashed(self, password: str) -> str:
        """The Argon2id hash of a new password, at the cost the server uses."""
        cost = Cost(self.settings.hash_memory_kib, self.settings.hash_passes)
        passwords = Passwords(cost, threads=1, patience=_PATIENCE)
        try:
            return await passwords.hash(password)
        finally:
            passwords.close()

    async def user(self, name: str) -> Account:
        """The account of a login or a subject.

        Raises:
            NotFound: exit code 4.
        """
        found = await self._by_login(name) or await self.by_subject(name)
        if found is None:
            raise NotFound(
                f"There is no user {name!r}.", fix="watchword user list" if self.has_users else ""
            )
        return found

    async def by_subject(self, subject: str) -> Account | None:
        """The account behind a token's `sub`; of one that the app has deleted what is kept here."""
        found = None if self.users is None else await self.users.by_subject(subject)
        if found is None and (kept := await self.store.user(subject)) is not None:
            found = kept.account
        return found

    async def _by_login(self, login: str) -> Account | None:
        if self.users is not None:
            return await self.users.by_login(login)
        found = await self.store.user_by_login(login)
        return None if found is None else found.account

    # --- whose the users are ---

    @property
    def has_users(self) -> bool:
        """Whether the users are the built-in ones."""
        return self.users is None or type(self.users) is BuiltinUsers

    def must_have_users(self, fix: str) -> None:
        """Refuse what can be done to the built-in users only.

        Raises:
            Refused: the app has users of its own.
        """
        if not self.has_users:
            raise Refused(
                "This app has users of its own.",
                why=f"{type(self.users).__name__} says who they are, and keeps them elsewhere",
                fix=fix,
            )

    async def set_password(self, account: Account, password: str) -> None:
        """Give somebody a password, and end whatever they were signed in with.

        Raises:
            Refused: the passwords are kept elsewhere.
        """
        if not isinstance(self.users, BuiltinUsers | None):  # the app's own table counts as those
            self.must_have_users("change the password there, then: watchword user revoke-all")
        await self.store.ensure_user(account.sub, self.now)
        await self.store.set_password(account.sub, await self.hashed(password), self.now)


@asynccontextmanager
async def opened(target: str | None = None) -> AsyncIterator[Desk]:
    """Open the store that the settings name, and close it at the end.

    Args:
        target: the app whose settings and users they are, as `main:app`.

    Raises:
        ConfigError: the settings cannot be worked with, or the schema is another.
        Unavailable: the database cannot be opened.
    """
    auth = None if target is None else auth_in(target)
    settings = settings_module.load() if auth is None else auth.settings
    driver = driver_of(settings.database_url) if auth is None else auth.driver
    if driver.in_memory:
        raise ConfigError(
            "The database is in memory.",
            why="it lives in the server's process; no command can reach it",
            fix="set WATCHWORD_DATABASE_URL=sqlite:///./watchword.db",
        )
    try:
        await asyncio.to_thread(schema.prepare, driver, upgrade=settings.migrate == "auto")
        now = clock()
        telling = Telling(wanted=await driver.read(wanted(now)))
        store = SqlStore(driver, token_life=LONGEST_LIFE, telling=telling)
        yield Desk(settings, driver, store, now, None if auth is None else auth.users)
    finally:
        driver.close()

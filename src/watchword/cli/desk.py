"""The desk commands work at: settings and store, opened for one command."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from watchword import settings as settings_module
from watchword.cli.output import NotFound
from watchword.crypto.passwords import Cost, Passwords
from watchword.errors import ConfigError
from watchword.rules.revoking import LONGEST_LIFE
from watchword.seams import Account
from watchword.settings import Settings
from watchword.signing import Signing
from watchword.store import schema
from watchword.store.databases import Driver, driver_of
from watchword.store.sql import SqlStore
from watchword.store.telling import Telling, wanted

clock: Callable[[], float] = time.time  # noqa: TID251 - a command is its own composition root
_PATIENCE = 60.0  # seconds; a person at a terminal waits for the hash


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with. A server may run on the same file at the same time."""

    settings: Settings
    driver: Driver
    store: SqlStore
    now: float

    @property
    def signing(self) -> Signing:
        """The signing keys, not yet loaded."""
        return Signing(self.store, self.settings, clock)

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
        found = await self.store.user_by_login(name) or await self.store.user(name)
        if found is None:
            raise NotFound(f"There is no user {name!r}.", fix="watchword user list")
        return found.account


@asynccontextmanager
async def opened() -> AsyncIterator[Desk]:
    """Open the store that the settings name, and close it at the end.

    Raises:
        ConfigError: the settings cannot be worked with, or the schema is another.
        Unavailable: the database cannot be opened.
    """
    settings = settings_module.load()
    driver = driver_of(settings.database_url)
    if driver.in_memory:
        raise ConfigError(
            "The database is in memory.",
            why="it lives in the server's process; no command can reach it",
            fix="set WATCHWORD_DATABASE_URL=sqlite:///./watchword.db",
        )
    try:
        schema.prepare(driver, upgrade=settings.migrate == "auto")
        now = clock()
        telling = Telling(wanted=await driver.read(wanted(now)))
        store = SqlStore(driver, token_life=LONGEST_LIFE, telling=telling)
        yield Desk(settings, driver, store, now)
    finally:
        driver.close()

"""Where attempts are counted: in Redis, in the database, beside it, or in this process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from watchword import limits
from watchword.crypto.secrets import derive
from watchword.errors import ConfigError
from watchword.limits import Fallback, Limit, Limits, ProcessCounters
from watchword.settings import Settings
from watchword.shared import RedisCounters, Shared
from watchword.shared.counters import FAULTS as REDIS_FAULTS
from watchword.store.counters import FAULTS as FILE_FAULTS
from watchword.store.counters import SqliteCounters
from watchword.store.databases import Driver
from watchword.store.server_counters import FAULTS as SERVER_FAULTS
from watchword.store.server_counters import ServerCounters

Counters = RedisCounters | ServerCounters | SqliteCounters | ProcessCounters

_OF_PLACES = ("login_ip", "login_wide", "token")


@dataclass(frozen=True, slots=True)
class Counting:
    """The limits of one server, and where their counters are."""

    limits: Limits
    counters: Counters

    async def sweep(self, now: float) -> None:
        """Delete some counters that are worth nothing any more."""
        if isinstance(self.counters, SqliteCounters):
            await asyncio.to_thread(self.counters.sweep, now)
        elif isinstance(self.counters, ServerCounters):
            await self.counters.sweep(now)

    def close(self) -> None:
        """Let go of the file; a later use opens it again."""
        if isinstance(self.counters, SqliteCounters):
            self.counters.close()


def shared_of(settings: Settings) -> Shared | None:
    """Redis, where there is some.

    Raises:
        ConfigError: its URL is not of its form, or its client is not installed.
    """
    if not settings.redis_url:
        return None
    return Shared(settings.redis_url, timeout=settings.redis_timeout)


def counting_of(settings: Settings, driver: Driver, shared: Shared | None) -> Counting:
    """Put the limits together.

    Raises:
        ConfigError: a limit is not of its form.
    """
    counters: Counters
    if settings.counts_in == "redis" and shared is not None:
        counters = RedisCounters(shared)
        counting: limits.Counters = Fallback(counters, REDIS_FAULTS, rest=0)
    elif settings.counts_in == "memory" or driver.in_memory:
        counting = counters = ProcessCounters()
    elif driver.is_local:
        counters = SqliteCounters(f"{settings.database_path}-limits")
        counting = Fallback(counters, FILE_FAULTS)
    else:
        counters = ServerCounters(driver)
        counting = Fallback(counters, SERVER_FAULTS)
    secret = derive(settings.secret, "limit keys")
    return Counting(Limits(counting, _policies(settings), secret=secret), counters)


def _policies(settings: Settings) -> dict[str, Limit]:
    texts = {
        "login_account_ip": settings.limit_login_account_ip,
        "login_ip": settings.limit_login_ip,
        "login_wide": settings.limit_login_wide,
        "login_account": settings.limit_login_account,
        "login_device": settings.limit_login_device,
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
        if settings.is_development and name in _OF_PLACES and not limit.off:
            # One person's machine shares one address; the account's limit stays as it is.
            limit = Limit(limit.burst * 10, limit.interval / 10)
        policies[name] = limit
    return policies

"""What `watchword doctor` and `watchword info` learn of Redis or Valkey by asking it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from watchword.errors import ConfigError
from watchword.rules.rates import Limit
from watchword.settings import Settings
from watchword.shared import Address, Fault, RedisCounters, Shared

_PATIENCE = 3.0  # seconds
_PROBE = ("doctor", Limit(1000, 60.0))


@dataclass(frozen=True, slots=True)
class Look:
    """One look at it.

    Attributes:
        fault: why it cannot be used; empty when it can.
        server: what it says it is, as far as it may be asked.
        took: seconds for taking from a bucket.
        evicts: the policy by which it drops what it was told to keep; empty when it drops nothing.
    """

    fault: str = ""
    server: str = "a server"
    took: float = 0.0
    evicts: str = ""


def place(settings: Settings) -> str:
    """Where it is, without credentials."""
    try:
        return str(Address.parse(settings.redis_url))
    except ConfigError:
        return "set, and of no known form"


def look(settings: Settings) -> Look:
    """Count something in it, as a login would.

    Raises:
        ConfigError: a server could not be started with these settings.
    """
    shared = Shared(settings.redis_url, timeout=_PATIENCE, quiet=True)
    return asyncio.run(_looked(shared))


async def _looked(shared: Shared) -> Look:
    try:
        counters = RedisCounters(shared)
        await counters.take([_PROBE], 0.0)
        began = time.perf_counter()
        await counters.take([_PROBE], 0.0)
        took = time.perf_counter() - began
        told = await _told(shared)
    except Fault as fault:
        return Look(fault=str(fault))
    finally:
        await shared.aclose()
    policy = str(told.get("maxmemory_policy", "noeviction"))
    bounded = int(told.get("maxmemory", 0)) > 0
    return Look(
        server=_named(told),
        took=took,
        evicts=policy if bounded and policy != "noeviction" else "",
    )


async def _told(shared: Shared) -> Mapping[str, Any]:
    """Its own words; nothing, where it may not be asked for them."""
    made = shared.plain()
    told: dict[str, Any] = {}
    try:
        with suppress(Exception):
            async with asyncio.timeout(_PATIENCE):
                told |= await made.redis.info("server")
                told |= await made.redis.info("memory")
    finally:
        await made.close()
    return told


def _named(told: Mapping[str, Any]) -> str:
    if "valkey_version" in told:
        return f"Valkey {told['valkey_version']}"
    return f"Redis {told['redis_version']}" if "redis_version" in told else "a server"

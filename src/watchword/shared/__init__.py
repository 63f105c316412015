"""Redis or Valkey as an accelerator: counters, wake-ups and seen identifiers of many machines.

Whatever it holds may be lost at any moment, and it may be away for any time. Then limits
are stricter, wake-ups come late, and identifiers are looked up in the database; nobody
is let in, and nobody is kept out.
"""

from __future__ import annotations

from watchword.shared.address import Address
from watchword.shared.counters import RedisCounters
from watchword.shared.link import Fault, Shared
from watchword.shared.seen import RedisSeenIds, SeenIds
from watchword.shared.wakes import RedisWakes, Wakes

__all__ = [
    "Address", "Fault", "RedisCounters", "RedisSeenIds", "RedisWakes", "SeenIds", "Shared", "Wakes",
]  # fmt: skip

"""The runs of the suite: what servers are built on, and which tests a run leaves out.

The first run is everything, on SQLite. The others repeat what builds a server, with
TEST_DATABASE=postgresql, with TEST_REDIS=valkey, and with both.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import redis
from vk import Valkey

DATABASE = os.environ.get("TEST_DATABASE", "sqlite")
REDIS = os.environ.get("TEST_REDIS", "none")
if DATABASE not in ("sqlite", "postgresql") or REDIS not in ("none", "valkey"):
    raise pytest.UsageError(
        f"there is no run on {DATABASE} and {REDIS}: TEST_DATABASE is sqlite or postgresql, "
        "TEST_REDIS none or valkey"
    )
ON_POSTGRES, ON_VALKEY = DATABASE == "postgresql", REDIS == "valkey"
ONLY_QUIET = os.environ.get("TEST_QUIET") == "only"
IS_FIRST = not (ON_POSTGRES or ON_VALKEY)

_BUILDS = frozenset({"build", "database_url", "redis_beside"})

_MOVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for _, key in ipairs(redis.call('KEYS', 'watchword:limit:*')) do
  local held = tonumber(redis.call('GET', key)) - tonumber(ARGV[1])
  if held <= now then
    redis.call('DEL', key)
  else
    redis.call('SET', key, string.format('%.0f', held), 'PX', math.ceil((held - now) / 1000))
  end
end
"""


class Beside:
    """The Valkey beside every server. Its clock goes on by itself and nobody can move it, so
    what it has counted is moved instead.
    """

    def __init__(self, valkey: Valkey) -> None:
        self.url = valkey.url
        self._client = redis.Redis(port=valkey.port, protocol=2)

    def move(self, seconds: float) -> None:
        self._client.eval(_MOVE, 0, round(seconds * 1e6))

    def close(self) -> None:
        self._client.close()


def is_left_out(item: pytest.Item, among_others: bool) -> bool:
    """Whether this run has nothing to say about a test, or would disturb it."""
    is_quiet = item.get_closest_marker("quiet") is not None
    if (is_quiet and among_others) or (ONLY_QUIET and not is_quiet):
        return True
    if IS_FIRST:
        return False
    if ON_POSTGRES and item.get_closest_marker("sqlite") is not None:
        return True
    if ON_VALKEY and item.get_closest_marker("no_redis") is not None:
        return True
    return _BUILDS.isdisjoint(getattr(item, "fixturenames", ()))


def must_be_on_it(auth: Any) -> None:
    """A test that claims to be on a server must not pass on something else."""
    if ON_POSTGRES:
        assert not auth.driver.is_local, "about SQLite itself? @pytest.mark.sqlite"
    if ON_VALKEY:
        assert auth.shared is not None, "about counters elsewhere? @pytest.mark.no_redis"

"""Clients of redis-py by address; nothing else imports it, and this only when it is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from watchword.errors import ConfigError
from watchword.shared.address import Address

_STEP = 1.0  # seconds for one step of opening: the first host asked may be the dead one


@dataclass(frozen=True, slots=True)
class Made:
    """A client, and how it begins and ends."""

    redis: Any
    open: Callable[[], Awaitable[object]]
    close: Callable[[], Awaitable[object]]


class Clients:
    """Makes clients for an address; the next one begins with another host.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self, address: Address) -> None:
        try:
            import redis.asyncio as library  # noqa: PLC0415 - only who has a REDIS_URL pays for it
        except ImportError:
            raise ConfigError(
                "REDIS_URL is set, and there is no client for it.",
                why="the package redis is not installed",
                fix="pip install watchword[redis]",
            ) from None
        self._library: Any = library
        self._address = address
        self._turns = 0

    def make(self) -> Made:
        """A client of whatever is there."""
        if self._address.kind == "cluster":
            return self._cluster()
        return self.plain()

    def plain(self) -> Made:
        """A client of one server: of any node, where there is a cluster."""
        hosts = self._next()
        if self._address.kind == "sentinel":
            return self._watched(hosts)
        at: dict[str, Any] = dict(zip(("host", "port"), hosts[0], strict=True)) if hosts else {}
        if self._address.path:
            at = {"unix_socket_path": self._address.path}
        client = self._library.Redis(**at, db=self._address.db, **self._access(), **self._habits())
        return Made(client, client.ping, client.aclose)

    def _watched(self, hosts: Sequence[tuple[str, int]]) -> Made:
        from redis.asyncio import sentinel as sentinels  # noqa: PLC0415

        own = self._options("sentinel_")
        own = {name.removeprefix("sentinel_"): value for name, value in own.items()}
        library: Any = sentinels
        sentinel = library.Sentinel(
            list(hosts),
            sentinel_kwargs={**self._tls(), **self._habits(), "socket_timeout": _STEP, **own},
            db=self._address.db,
            **self._access(),
            **self._habits(),
        )
        client: Any = sentinel.master_for(self._address.service)

        async def close() -> None:
            for one in (client, *sentinel.sentinels):
                await one.aclose()

        return Made(client, client.ping, close)

    def _cluster(self) -> Made:
        from redis.asyncio.cluster import ClusterNode  # noqa: PLC0415

        client = self._library.RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in self._next()],
            **self._access(),
            **{**self._habits(), "socket_timeout": _STEP},
        )

        async def close() -> None:
            await client.aclose()
            # After a fault it takes itself for closed, and keeps its connections.
            for nodes in ("nodes_cache", "startup_nodes"):
                await client.nodes_manager.aclose(nodes)

        return Made(client, client.initialize, close)

    def _next(self) -> tuple[tuple[str, int], ...]:
        self._turns += 1
        return self._address.turned(self._turns - 1)

    def _access(self) -> dict[str, Any]:
        return {
            "username": self._address.username,
            "password": self._address.password,
            **self._tls(),
        }

    def _tls(self) -> dict[str, Any]:
        if not self._address.tls:
            return {}
        files = self._options("ssl_")
        return {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, **files}

    def _options(self, prefix: str) -> dict[str, str]:
        found = self._address.options.items()
        return {name: value for name, value in found if name.startswith(prefix)}

    def _habits(self) -> dict[str, Any]:
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415

        return {
            # At once and once: for a connection that died while nobody used it.
            "retry": Retry(NoBackoff(), 1),
            "socket_connect_timeout": _STEP,
            "socket_timeout": None,  # there is a deadline for the whole
            "protocol": 2,  # one round trip less to begin with, and older servers know it
        }


class Script:
    """A Lua script, sent as its hash while the server remembers it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, client: Any, keys: Sequence[str], *values: object) -> Any:
        """Run it on `keys`."""
        from redis.exceptions import NoScriptError  # noqa: PLC0415

        try:
            return await client.evalsha(self._sha, len(keys), *keys, *values)
        except NoScriptError:  # a server that has restarted, or a new node
            return await client.eval(self._text, len(keys), *keys, *values)

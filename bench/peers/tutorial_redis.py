"""The tutorial's design with its later chapter: revoked tokens in Redis, asked on each request."""

import os
from dataclasses import dataclass

from redis.asyncio import Redis

from bench.peers.common import ACCESS_TTL
from bench.peers.tutorial import build


@dataclass
class RedisBlacklist:
    """One key for each revoked token, kept for as long as the token could live."""

    redis: Redis

    async def add(self, token: str) -> None:
        """Remember that `token` is revoked."""
        await self.redis.set(f"blacklist:{token}", "1", ex=ACCESS_TTL)

    async def has(self, token: str) -> bool:
        """Say whether `token` was revoked."""
        return bool(await self.redis.exists(f"blacklist:{token}"))


app = build(RedisBlacklist(Redis(host="127.0.0.1", port=int(os.environ["BENCH_REDIS_PORT"]))))

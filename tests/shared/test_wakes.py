"""Wake-ups: soon when all is well, again when it was not, and nothing depends on them."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from vk import Cluster, Valkey, Wire, closing

from watchword.shared import RedisWakes, Shared
from watchword.shared import wakes as module


class Heard:
    """Counts wake-ups, and waits for them."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1

    async def until(self, times: int, within: float = 10.0) -> None:
        end = time.monotonic() + within
        while self.times < times:
            assert time.monotonic() < end, f"{self.times} of {times}"
            await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(shared: Shared, callback):
    task = asyncio.create_task(RedisWakes(shared).listen(callback))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_whoever_listens_is_woken(valkey, connect):
    one, two = Heard(), Heard()
    async with listening(connect(valkey.url), one), listening(connect(valkey.url), two):
        await one.until(1)
        await two.until(1), "at the beginning: something may have been missed before"
        await RedisWakes(connect(valkey.url)).publish()
        await one.until(2)
        await two.until(2)
        assert (one.times, two.times) == (2, 2)
    assert valkey.do("PUBSUB", "CHANNELS") == []


async def test_a_callback_that_fails_is_called_again(valkey, connect, caplog):
    heard = Heard()

    def failing() -> None:
        heard()
        raise ZeroDivisionError

    async with listening(connect(valkey.url), failing):
        await heard.until(1)
        await RedisWakes(connect(valkey.url)).publish()
        await heard.until(2)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.quiet
@pytest.mark.attack("Z-11")
async def test_it_listens_again_when_the_server_is_back(connect, caplog):
    server = Valkey()
    with closing(server):
        shared, heard = connect(server.url, 0.2), Heard()
        wakes = RedisWakes(shared)
        async with listening(shared, heard):
            await heard.until(1)
            server.kill()
            began = time.monotonic()
            for _ in range(50):
                await wakes.publish()
            assert time.monotonic() - began < 1.0, "publishing waits for nobody"
            await asyncio.sleep(0.7)
            server.start()
            await heard.until(2), "what was published meanwhile is missed, so it looks"
            await asyncio.sleep(1.1)
            await wakes.publish()
            await heard.until(3)
        told = [record for record in caplog.records if "fails" in record.getMessage()]
        assert len(told) == 1


async def test_a_connection_that_went_silent_is_noticed(connect, valkey, monkeypatch):
    monkeypatch.setattr(module, "_QUIET", 0.2)
    monkeypatch.setattr(module, "_PROOF", 0.2)
    async with Wire(valkey.port) as wire:
        heard = Heard()
        async with listening(connect(wire.url), heard):
            await heard.until(1)
            await asyncio.sleep(0.7)
            assert heard.times == 1, "silence alone is no fault: it proves that it is alive"
            wire.silent = True
            await asyncio.sleep(0.5)
            wire.silent = False
            await heard.until(2)


async def test_any_node_of_a_cluster_will_do(connect):
    cluster = Cluster()
    with closing(*cluster.nodes):
        one, two, other = Heard(), Heard(), connect(cluster.url)
        shared = connect(cluster.url)
        shared._clients._turns = 1  # listens at another node than the first
        async with listening(shared, one), listening(other, two):
            await one.until(1)
            await two.until(1)
            await RedisWakes(other).publish()
            await one.until(2)
            await two.until(2)
            cluster.primaries[0].kill()
            await two.until(3), "it listened at that one, and has found another"
            assert one.times == 2
        await asyncio.gather(shared.aclose(), other.aclose())

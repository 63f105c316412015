"""The connection: within its deadline whatever happens, and back by itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time

import pytest
from vk import Valkey, Wire, closing, until

from watchword.shared import Fault, Shared
from watchword.shared.link import _REST, _SEATS

pytestmark = pytest.mark.quiet


async def ping(shared: Shared) -> bool:
    return await shared.run(lambda it: it.ping())


async def fails(shared: Shared) -> tuple[str, float]:
    """Why it failed, and after how many seconds."""
    began = time.monotonic()
    with pytest.raises(Fault) as fault:
        await ping(shared)
    return str(fault.value), time.monotonic() - began


async def rested() -> None:
    await asyncio.sleep(_REST + 0.01)


async def back(shared: Shared) -> None:
    """Waits until it is used again."""
    end = time.monotonic() + 10
    while True:
        try:
            assert await ping(shared)
        except Fault:
            assert time.monotonic() < end, "it does not come back"
            await asyncio.sleep(0.05)
        else:
            return


def clients(valkey: Valkey) -> int:
    """How many connections there are, besides the one that asks."""
    return len(valkey.do("CLIENT", "LIST").splitlines()) - 1


async def test_nothing_is_opened_before_it_is_needed(valkey, connect):
    before = clients(valkey)
    shared = connect(valkey.url)
    assert clients(valkey) == before
    assert await ping(shared)
    assert clients(valkey) == before + 1
    await shared.aclose()
    assert clients(valkey) == before
    assert await ping(shared), "closed is not over"


async def test_by_socket_by_password_and_another_database(connect):
    server = Valkey(requirepass="hunter2")
    with closing(server):
        one = connect(f"unix://:hunter2@{server.socket}?db=5")
        await one.run(lambda it: it.set("a", "1"))
        server.do("ACL", "SETUSER", "me", "on", ">pw", "~*", "+@all")
        other = connect(f"redis://me:pw@127.0.0.1:{server.port}/5")
        assert await other.run(lambda it: it.get("a")) == b"1"


async def test_connections_are_bounded_and_everybody_has_a_turn(valkey, connect):
    before = clients(valkey)
    shared = connect(valkey.url)
    asking = [
        asyncio.create_task(shared.run(lambda it: it.blpop("nothing", 0.3)))
        for _ in range(3 * _SEATS)
    ]
    most = 0
    while not all(task.done() for task in asking):
        most = max(most, await asyncio.to_thread(clients, valkey) - before)
        await asyncio.sleep(0.02)
    assert [await task for task in asking] == [None] * 3 * _SEATS
    assert most == _SEATS


@pytest.mark.attack("Z-11")
async def test_nobody_there(connect, caplog):
    with caplog.at_level(logging.INFO, "watchword"):
        server = Valkey()
        with closing(server):
            server.kill()
            shared = connect(server.url, 0.5)
            why, took = await fails(shared)
            assert "ConnectionError" in why
            assert took < 0.5
            for _ in range(20):
                why, took = await fails(shared)
                assert why == "it failed a moment ago"
                assert took < 0.05
            assert len(caplog.records) == 1
            assert str(server.port) in caplog.text
            server.start()
            assert await ping_later(shared)
            assert [record.getMessage().split(" ", 3)[3] for record in caplog.records][1:] == [
                "works again"
            ]


async def ping_later(shared: Shared) -> bool:
    await rested()
    return await ping(shared)


@pytest.mark.attack("Z-11")
async def test_it_hangs(connect, caplog):
    server = Valkey()
    with closing(server):
        shared = connect(server.url, 0.1)
        await back(shared)
        server.freeze()
        why, took = await fails(shared)
        assert why == "TimeoutError: no answer within 100 ms"
        assert 0.09 < took < 0.3
        await rested()
        why, took = await fails(shared)
        assert took < 0.3
        server.thaw()
        await back(shared)
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


async def test_one_goes_and_looks_and_the_others_do_not_wait(connect, valkey):
    async with Wire(valkey.port) as wire:
        shared = connect(wire.url, 0.3)
        assert await ping(shared)
        wire.silent = True
        await fails(shared)
        await rested()
        wire.passed = 0
        began = time.monotonic()
        outcomes = await asyncio.gather(*(fails(shared) for _ in range(50)))
        assert sum(took > 0.25 for _, took in outcomes) == 1
        assert sum(why == "it failed a moment ago" for why, _ in outcomes) == 49
        assert time.monotonic() - began < 0.6
        wire.silent = False
        await back(shared)


async def test_many_that_hang_together_are_told_of_once(connect, valkey, caplog):
    async with Wire(valkey.port) as wire:
        shared = connect(wire.url, 0.3)
        assert await ping(shared)
        wire.silent = True
        await asyncio.gather(*(fails(shared) for _ in range(50)))
        assert len(caplog.records) == 1
        wire.silent = False
        await back(shared)
        wire.silent = True
        await fails(shared)
        assert len(caplog.records) == 2, "it complains once a minute, however often it fails"


async def test_a_connection_that_died_unnoticed_costs_nobody_anything(connect, valkey):
    async with Wire(valkey.port) as wire:
        shared = connect(wire.url)
        await asyncio.gather(*(ping(shared) for _ in range(5)))
        await wire.cut()
        assert await ping(shared)


@pytest.mark.attack("Z-11")
async def test_the_server_restarts_in_between(connect, caplog):
    server = Valkey()
    with closing(server):
        shared = connect(server.url)
        assert await ping(shared)
        server.kill()
        server.start()
        assert await ping(shared)
        assert not caplog.records


@pytest.mark.attack("T-31")
async def test_who_leaves_before_the_answer_leaves_it_to_nobody_else(connect, valkey):
    """An answer that comes late must not be read by the next who uses the connection."""
    async with Wire(valkey.port) as wire:
        shared = connect(wire.url)
        wire.delay = 0.003

        async def echo(n: int) -> None:
            assert await shared.run(lambda it: it.echo(f"{n}")) == f"{n}".encode()

        for turn in range(10):
            tasks = [asyncio.create_task(echo(turn * 100 + n)) for n in range(60)]
            await asyncio.sleep(0.004 + turn * 0.002)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            others = [it for it in done[1::2] if it is not None]
            assert not others
            assert all(it is None or isinstance(it, asyncio.CancelledError) for it in done)
    await shared.aclose()


async def test_opening_may_take_longer_than_anybody_waits(connect, valkey):
    async with Wire(valkey.port) as wire:
        wire.delay = 0.3  # each way
        shared = connect(wire.url, 0.4)
        why, took = await fails(shared)
        assert took < 0.8
        assert "400 ms" in why
        wire.delay = 0.0
        await rested()
        assert await ping(shared)
        assert wire.accepted == 1, "it went on opening meanwhile"


async def test_loops_come_and_go(valkey):
    """As with a test client, that has a loop for each of its requests."""
    shared = Shared(valkey.url, timeout=5.0)
    found = []

    async def use():
        found.append(await ping(shared))
        await shared.aclose()

    for _ in range(3):
        thread = threading.Thread(target=asyncio.run, args=[use()])
        thread.start()
        await asyncio.to_thread(thread.join)
    assert found == [True] * 3
    assert await ping(shared)
    await shared.aclose()


async def test_loops_that_live_side_by_side_leave_no_connection_behind(valkey, connect):
    """Each use on another loop than the one before makes a client; the other's is closed."""
    before = clients(valkey)
    shared = connect(valkey.url)
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    try:
        for _ in range(5):
            assert await ping(shared)
            there = asyncio.run_coroutine_threadsafe(ping(shared), other)
            assert await asyncio.wrap_future(there)
        end = time.monotonic() + 5
        while clients(valkey) > before + 1:
            assert time.monotonic() < end, "connections pile up"
            await asyncio.sleep(0.02)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(shared.aclose(), other))
    finally:
        other.call_soon_threadsafe(other.stop)
        await asyncio.to_thread(thread.join)
        other.close()


async def test_a_loop_that_ended_without_a_word_has_closed_its_connections(valkey):
    before = clients(valkey)
    shared = Shared(valkey.url, timeout=5.0)
    await asyncio.to_thread(asyncio.run, ping(shared))
    await asyncio.to_thread(until, lambda: clients(valkey) == before, "closed")
    assert await ping(shared)
    gc.collect()  # what was left open would be told of here
    await shared.aclose()
    await asyncio.to_thread(asyncio.run, ping(shared))
    await shared.aclose(), "of a loop that is closed"
    gc.collect()


@pytest.mark.parametrize("turns", range(6))
async def test_a_loop_that_ends_while_another_has_it_closed(valkey, turns):
    """Whatever it has come to of closing its connections, it closes them before it ends."""
    shared = Shared(valkey.url, timeout=5.0)

    async def use() -> None:
        await ping(shared)
        shared.close()
        for _ in range(turns):
            await asyncio.sleep(0)

    before = clients(valkey)
    await asyncio.to_thread(asyncio.run, use())
    gc.collect()
    await asyncio.to_thread(until, lambda: clients(valkey) == before, "closed")


@pytest.mark.attack("S-02")
async def test_no_password_is_logged(connect, caplog):
    server = Valkey(requirepass="correct-horse")
    with closing(server):
        for user in ("hunter2", "me:hunter2"):
            shared = connect(f"redis://{':' * (user == 'hunter2')}{user}@127.0.0.1:{server.port}")
            why, _ = await fails(shared)
            assert "hunter2" not in why
        silent = connect(server.url)
        assert "hunter2" not in f"{(await fails(silent))[0]} {caplog.text}"
        assert "NOAUTH" in caplog.text or "Authentication" in caplog.text


async def test_it_loads_its_data(connect):
    server = Valkey(save="3600 1", key_load_delay=2000, enable_debug_command="yes")
    with closing(server):
        server.do("DEBUG", "POPULATE", 600, "x", 10)
        server.do("SAVE")
        server.kill()
        server._command.append("--loading-process-events-interval-bytes 1024")
        server.until_it_answers = lambda: None
        server.start()
        shared = connect(server.url, 0.3)
        whys = set()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                assert await ping(shared)
                break
            except Fault as fault:
                whys.add(str(fault).partition(":")[0])
                shared._rests_until = 0.0
                await asyncio.sleep(0.05)
        assert "BusyLoadingError" in whys

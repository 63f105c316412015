"""Work beside decisions: on one event loop, and on another when that one is gone."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from watchword.guard.beside import Beside

PATIENCE = 10.0


class Work:
    """Counts what is at it, and by which loops it was begun."""

    def __init__(self) -> None:
        self.beside = Beside()
        self.begun: list[asyncio.AbstractEventLoop] = []
        self.at_it = 0
        self.prepared = 0

    def begin(self) -> None:
        self.beside.begin((self.go_on,), self.prepare)

    def prepare(self) -> None:
        self.prepared += 1

    async def go_on(self) -> None:
        self.begun.append(asyncio.get_running_loop())
        self.at_it += 1
        try:
            await asyncio.sleep(3600)
        finally:
            self.at_it -= 1


@pytest.fixture
def work() -> Work:
    return Work()


def in_another_loop(what) -> None:
    """Calls something on an event loop of its own, in a thread of its own."""

    async def called() -> None:
        what()
        await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(called()))
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


async def test_it_is_begun_once(work) -> None:
    for _ in range(3):
        work.begin()
        await asyncio.sleep(0)
    in_another_loop(work.begin)
    assert work.begun == [asyncio.get_running_loop()] and work.prepared == 1
    assert work.beside.is_here
    await work.beside.ended()
    assert work.at_it == 0


@pytest.mark.parametrize("closed", [True, False])
def test_who_needs_it_takes_it_over_from_a_loop_that_does_not_run(work, closed) -> None:
    first = asyncio.new_event_loop()

    async def begin() -> None:
        work.begin()
        await asyncio.sleep(0)

    first.run_until_complete(begin())
    if closed:
        first.close()
    asyncio.run(begin())
    assert len(work.begun) == 2
    if not closed:  # what was at it there leaves as soon as it can
        first.run_until_complete(asyncio.sleep(0.01))
        assert work.at_it == 0
        first.close()
    gc.collect()


async def test_it_is_begun_again_where_it_has_ended(work) -> None:
    work.begin()
    await asyncio.sleep(0)
    work.beside.end()
    await asyncio.sleep(0)
    assert work.at_it == 0
    work.begin()
    await asyncio.sleep(0)
    assert work.at_it == 1
    await work.beside.ended()


async def test_a_thread_may_end_it(work) -> None:
    work.begin()
    await asyncio.sleep(0)
    await asyncio.to_thread(work.beside.end)
    async with asyncio.timeout(PATIENCE):
        while work.at_it:
            await asyncio.sleep(0.001)


async def test_a_task_knows_that_it_was_told_to_end_though_its_cancellation_got_lost() -> None:
    beside, rounds = Beside(), 0

    async def deaf() -> None:
        nonlocal rounds
        while beside.goes_on():
            rounds += 1
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue  # as where a connection's error takes its place

    beside.begin((deaf,), lambda: None)
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await beside.ended()
    assert rounds == 1


async def test_what_does_not_end_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr("watchword.guard.beside._FAREWELL", 0.01)
    beside, enough = Beside(), asyncio.Event()

    async def stubborn() -> None:
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                continue

    beside.begin((stubborn,), lambda: None)
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await beside.ended()
    enough.set()


async def test_nothing_to_tell_and_nothing_to_end(work) -> None:
    work.beside.tell(work.prepare)
    work.beside.end()
    await work.beside.ended()
    assert not work.beside.is_here and work.prepared == 0

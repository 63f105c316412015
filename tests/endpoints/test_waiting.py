"""Who waits for news: how many, for how long, and that a change between two looks is seen."""

from __future__ import annotations

import asyncio
import threading

import pytest

from watchword.endpoints import waiting
from watchword.endpoints.waiting import Room, Watch
from watchword.errors import Busy, TooManyRequests


@pytest.mark.attack("D-05")
def test_there_is_room_for_some_of_each_and_for_some_of_all(monkeypatch) -> None:
    monkeypatch.setattr(waiting, "MOST", 3)
    monkeypatch.setattr(waiting, "MOST_EACH", 2)
    room = Room()
    with room.place("a"), room.place("a"):
        with pytest.raises(TooManyRequests) as told, room.place("a"):
            pass
        assert told.value.retry_after and told.value.limit == 2
        with room.place("b"):
            assert len(room) == 3
            with pytest.raises(Busy) as said, room.place("c"):
                pass
            assert said.value.retry_after
        with pytest.raises(ZeroDivisionError), room.place("c"):
            _ = 1 / 0
        assert len(room) == 2
    assert len(room) == 0 and not room._there


class Thing:
    """Something that changes."""

    def __init__(self) -> None:
        self.number = 0
        self.looks = 0

    def changes(self) -> int:
        self.looks += 1
        return self.number


async def test_one_look_is_for_all_who_wait() -> None:
    thing, watch = Thing(), Watch()
    everybody = [
        asyncio.create_task(watch.until(lambda n=n: thing.number > n, thing.changes))
        for n in range(50)
    ]
    await asyncio.sleep(0.1)
    assert thing.looks < 40
    thing.number = 25
    await asyncio.wait(everybody[:25], timeout=2)
    assert [one.done() for one in everybody] == [n < 25 for n in range(50)]
    thing.number = 50
    await asyncio.wait_for(asyncio.gather(*everybody), 2)


async def test_nobody_looks_when_nobody_waits() -> None:
    thing, watch = Thing(), Watch()
    for _ in range(2):
        task = asyncio.create_task(watch.until(lambda: False, thing.changes))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.sleep(0.02)
        before = thing.looks
        await asyncio.sleep(0.03)
        assert thing.looks == before


async def test_what_is_there_already_is_not_waited_for() -> None:
    await asyncio.wait_for(Watch().until(lambda: True, Thing().changes), 1)


async def test_a_change_before_the_first_look_is_seen() -> None:
    thing, watch = Thing(), Watch()

    def come() -> bool:
        now = thing.number > 0
        thing.number += 1  # just after it was asked
        return now

    await asyncio.wait_for(watch.until(come, thing.changes), 2)


async def test_event_loops_look_for_themselves() -> None:
    thing, watch = Thing(), Watch()

    def elsewhere() -> None:
        asyncio.run(asyncio.wait_for(watch.until(lambda: thing.number > 0, thing.changes), 5))

    threads = [threading.Thread(target=elsewhere) for _ in range(2)]
    here = asyncio.create_task(watch.until(lambda: thing.number > 0, thing.changes))
    for thread in threads:
        thread.start()
    await asyncio.sleep(0.1)
    thing.number = 1
    await asyncio.wait_for(here, 2)
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()
    await asyncio.wait_for(watch.until(lambda: True, thing.changes), 1)
    assert len(watch._waiting) == 1, "what has ended is forgotten"

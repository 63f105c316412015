"""Which functions are told of what, how they are called, and when again."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from watchword.auth import listening
from watchword.auth.listening import LONGEST_PAUSE, Hooks, called, pause
from watchword.errors import ConfigError
from watchword.events import Revoked

EVENT = Revoked(1.0, "token", "t")
THREADS = Hooks().threads


class Siem:
    def __call__(self, event) -> None: ...


def test_a_function_is_known_by_its_name_and_told_of_what_it_asked_for():
    hooks = Hooks()
    hooks.add(
        ("token.revoked",), test_a_function_is_known_by_its_name_and_told_of_what_it_asked_for
    )
    hooks.add(("token.revoked", "login.failed"), Siem())
    hooks.add(("login.failed",), functools.partial(print, "told"))
    assert hooks.kinds == {"token.revoked", "login.failed"}
    assert [name.rpartition(".")[2] for name in hooks.of("token.revoked")] == [
        "test_a_function_is_known_by_its_name_and_told_of_what_it_asked_for",
        "Siem",
    ]
    assert list(hooks.of("login.failed"))[1] == "functools.partial"
    assert hooks.of("keys.rotated") == {}


def test_functions_of_one_name_are_told_apart():
    hooks = Hooks()
    for _ in range(3):
        hooks.add(("token.revoked",), Siem())
    names = list(hooks.of("token.revoked"))
    assert names == [names[0], f"{names[0]}#2", f"{names[0]}#3"]
    assert not any(" " in name for name in names)  # the table parts them there


@pytest.mark.parametrize("kinds", [(), ("token.revoekd",), ("token.revoked", "event")])
def test_what_is_never_told_is_refused_where_it_is_asked_for(kinds):
    hooks = Hooks()
    with pytest.raises(ConfigError) as refused:
        hooks.add(kinds, print)
    assert "login.failed" in refused.value.fix
    assert not hooks.kinds


async def test_a_sync_function_does_not_hold_up_the_loop():
    threads = []

    def told(event) -> None:
        threads.append(threading.current_thread())

    async def also(event) -> None:
        threads.append(threading.current_thread())

    assert await called(told, EVENT, THREADS) is None
    assert await called(also, EVENT, THREADS) is None
    assert threads[0] is not threads[1] is threading.current_thread()


async def test_what_a_sync_function_leaves_to_be_awaited_is_awaited():
    heard = []

    async def later(event) -> None:
        heard.append(event)

    assert await called(functools.partial(later), EVENT, THREADS) is None
    assert heard == [EVENT]


async def test_whatever_a_function_raises_is_handed_back():
    async def cancels_itself(event) -> None:
        raise asyncio.CancelledError

    def fails(event) -> None:
        raise KeyError("x")

    assert isinstance(await called(cancels_itself, EVENT, THREADS), asyncio.CancelledError)
    assert isinstance(await called(fails, EVENT, THREADS), KeyError)


async def test_who_calls_it_can_be_cancelled():
    async def hangs(event) -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(called(hangs, EVENT, THREADS))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_patience_has_an_end(monkeypatch):
    monkeypatch.setattr(listening, "PATIENCE", 0.01)

    async def hangs(event) -> None:
        await asyncio.sleep(60)

    assert isinstance(await called(hangs, EVENT, THREADS), TimeoutError)


def test_pauses_double_up_to_an_hour_and_are_spread():
    assert [pause(tries, 1.0) for tries in (1, 2, 3, 12)] == [1, 2, 4, 2048]
    assert pause(13, 1.0) == pause(500, 1.0) == LONGEST_PAUSE
    assert [pause(tries, 0.0) for tries in (1, 500)] == [0.5, LONGEST_PAUSE / 2]

"""Asking about one token: few at once, none for long, and nobody who does not answer."""

from __future__ import annotations

import asyncio

import pytest

from watchword.guard import introspection
from watchword.guard.freshness import Stale
from watchword.guard.introspection import MOST_AT_ONCE, Introspection
from watchword.rules.access import AccessToken
from watchword.rules.scopes import NONE
from watchword.seams import Unavailable

TOKEN = AccessToken("u1", "app", NONE, "i", ("r",), 1e9, {})


class Issuer:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.good = True
        self.fault: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.time = 100.0

    async def __call__(self, text: str, token: AccessToken) -> bool:
        self.asked.append(text)
        if self.hold is not None:
            await self.hold.wait()
        if self.fault is not None:
            raise self.fault
        return self.good

    def clock(self) -> float:
        return self.time


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def ask(issuer) -> Introspection:
    return Introspection(issuer, max_age=2.0, monotonic=issuer.clock)


@pytest.mark.attack("V-11")
async def test_an_answer_counts_for_its_own_token_and_no_longer_than_knowledge(issuer, ask) -> None:
    assert await ask("a", TOKEN) and await ask("a", TOKEN)
    issuer.good = False
    assert await ask("a", TOKEN), "asked a moment ago"
    assert not await ask("b", TOKEN)
    issuer.time += 2.0
    assert await ask("a", TOKEN)
    issuer.time += 0.01
    assert not await ask("a", TOKEN)
    assert issuer.asked == ["a", "b", "a"]


@pytest.mark.attack("V-11")
async def test_who_insists_is_answered_anew(issuer, ask) -> None:
    await ask("a", TOKEN)
    assert await ask("a", TOKEN, 1.0) and len(issuer.asked) == 1
    issuer.time += 1.5
    assert await ask("a", TOKEN, 1.5) and len(issuer.asked) == 1
    issuer.good = False
    assert not await ask("a", TOKEN, 1.0)
    issuer.good = True
    assert await ask("a", TOKEN, 0.0) and await ask("a", TOKEN, 0.0)
    assert len(issuer.asked) == 4


async def test_a_refusal_counts_briefly_and_pushes_nothing_out(issuer, ask, monkeypatch) -> None:
    monkeypatch.setattr(introspection, "_MOST_CACHED", 3)
    assert await ask("good", TOKEN)
    issuer.good = False
    for n in range(20):
        assert not await ask(f"bad{n}", TOKEN)
    assert not await ask("bad19", TOKEN) and len(issuer.asked) == 21
    assert await ask("good", TOKEN) and len(issuer.asked) == 21
    assert len(ask._refused) == 3
    issuer.time += 1.01
    issuer.good = True
    assert await ask("bad19", TOKEN) and len(issuer.asked) == 22
    assert await ask("bad19", TOKEN) and len(ask._refused) == 2


async def test_an_answer_is_as_old_as_its_question(issuer, ask) -> None:
    issuer.hold = asyncio.Event()
    asking = asyncio.create_task(ask("a", TOKEN))
    await asyncio.sleep(0)
    issuer.time += 1.5
    issuer.hold.set()
    assert await asking
    issuer.time += 0.6
    issuer.good = False
    assert not await ask("a", TOKEN)


async def test_what_is_kept_is_bounded_and_holds_no_token(issuer, ask, monkeypatch) -> None:
    monkeypatch.setattr(introspection, "_MOST_CACHED", 3)
    for n in range(5):
        await ask(f"token{n}", TOKEN)
    assert len(ask._answers) == 3
    assert not any(b"token" in name for name in ask._answers)


async def test_a_few_at_once_and_the_others_are_told_at_once(issuer, ask) -> None:
    issuer.hold = asyncio.Event()
    asking = [asyncio.create_task(ask(f"t{n}", TOKEN)) for n in range(MOST_AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(Stale, match="too many"):
        await ask("one more", TOKEN)
    issuer.hold.set()
    assert all(await asyncio.gather(*asking))
    assert await ask("one more", TOKEN)


async def test_who_does_not_answer_is_given_up_and_then_left_alone(issuer, ask) -> None:
    issuer.hold = asyncio.Event()
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(
        *(ask(f"t{n}", TOKEN) for n in range(5)), return_exceptions=True
    )  # fmt: skip
    assert all(isinstance(answer, Stale) for answer in answers)
    assert 0.15 < loop.time() - began < 2
    with pytest.raises(Stale, match="of late"):
        await ask("t9", TOKEN)
    assert len(issuer.asked) == 5


@pytest.mark.parametrize("fault", [Unavailable("away"), OSError(), ZeroDivisionError("a bug")])
async def test_faults_open_the_breaker_and_one_answer_closes_it(issuer, ask, fault) -> None:
    issuer.fault = fault
    for n in range(5):
        with pytest.raises(Stale):
            await ask(f"t{n}", TOKEN)
    with pytest.raises(Stale, match="of late"):
        await ask("t5", TOKEN)
    issuer.time += 1.01
    issuer.hold = asyncio.Event()
    trial = asyncio.create_task(ask("t6", TOKEN))
    await asyncio.sleep(0)
    with pytest.raises(Stale, match="of late"):  # one tries for all
        await ask("t7", TOKEN)
    issuer.hold.set()
    with pytest.raises(Stale):
        await trial
    with pytest.raises(Stale, match="of late"):
        await ask("t8", TOKEN)
    issuer.time += 1.01
    issuer.fault, before = None, len(issuer.asked)
    assert await ask("t9", TOKEN) and await ask("t10", TOKEN)
    assert len(issuer.asked) == before + 2


async def test_a_fault_now_and_then_opens_nothing(issuer, ask) -> None:
    for n in range(20):
        issuer.fault = OSError("once") if n % 2 else None
        if issuer.fault is None:
            assert await ask(f"t{n}", TOKEN)
        else:
            with pytest.raises(Stale, match="once"):
                await ask(f"t{n}", TOKEN)
    assert len(issuer.asked) == 20


async def test_a_caller_who_leaves_makes_room(issuer, ask) -> None:
    issuer.hold = asyncio.Event()
    for _ in range(2):
        asking = [asyncio.create_task(ask(f"t{n}", TOKEN)) for n in range(MOST_AT_ONCE)]
        await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    issuer.hold = None
    assert await ask("a", TOKEN)

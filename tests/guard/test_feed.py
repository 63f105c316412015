"""The log over HTTP, as a guard asks for it: what is believed, what is not, and who rings."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from answering import answering

from watchword.crypto.secrets import Secret
from watchword.fetch import Line
from watchword.guard import feed as feeds
from watchword.guard.feed import HttpFeed
from watchword.seams import Revocation, Tail, Unavailable


class Issuer:
    """Says what it is told to; a request that waits is answered when `news` is set."""

    def __init__(self) -> None:
        self.status = 200
        self.page: Any = {"epoch": 1, "seq": 7, "age_ms": 0, "more": False, "entries": []}
        self.news = asyncio.Event()
        self.asked: list[dict[str, str]] = []
        self.heard: list[str | None] = []

    async def __call__(self, request: Any) -> tuple[int, Any]:
        query = {name: value for name, (value,) in parse_qs(request.query).items()}
        self.asked.append(query)
        self.heard.append(request.headers.get("auth-min-seq"))
        if "wait" in query and (query["epoch"], query["after"]) == ("1", str(self.page["seq"])):
            await self.news.wait()
            self.news.clear()
        return self.status, self.page


@pytest.fixture
async def issuer():
    made = Issuer()
    async with answering(made) as server:
        made.url = f"{server.url}/auth/revocations"
        made.server = server
        yield made


@pytest.fixture
async def feed(issuer):
    line = Line("orders", Secret("gs_secret"))
    yield HttpFeed(line, issuer.url)
    await line.aclose()


async def test_an_answer_is_a_tail(feed, issuer) -> None:
    issuer.page |= {
        "seq": 9, "age_ms": 250, "more": True,
        "entries": [[8, "user", "00000000000000ff", 1800000600], [9, "jti", "ffffffffffffffff", 1.5]],
    }  # fmt: skip
    assert await feed.tail(7, 1) == Tail(
        1,
        9,
        (Revocation(8, "user", 255, 1800000600), Revocation(9, "jti", -1, 1.5)),
        0.25,
        more=True,
    )
    assert issuer.asked == [{"after": "7", "epoch": "1", "within": "0.5"}]
    assert issuer.server.asked[0].headers["accept-encoding"] == "gzip"


async def test_who_waits_for_a_poll_asks_the_issuer_to_look_now(feed, issuer) -> None:
    feed.urgent = lambda: True
    await feed.tail(7, 1)
    assert issuer.asked == [{"after": "7", "epoch": "1", "within": "0"}]


BAD = {
    "no object": [],
    "nothing": {},
    "text": b"hello",
    "deep": b"[" * 100_000,
    "not utf-8": b'{"epoch":1,"seq":7,"age_ms":0,"more":false,"entries":[[8,"\xff","00",1]]}',
    "a number that is text": {"seq": "7"},
    "a number that is true": {"seq": True},
    "a number beyond all": {"seq": 2**70},
    "less than nothing": {"seq": -1},
    "nobody's epoch": {"epoch": 0},
    "knowledge of the future": {"age_ms": -1},
    "no age": {"age_ms": None},
    "an entry that is short": {"entries": [[8, "jti", "00000000000000ff"]]},
    "a key that is a number": {"entries": [[8, "jti", 255, 1]]},
    "a key that is short": {"entries": [[8, "jti", "ff", 1]]},
    "a key that is long": {"entries": [[8, "jti", "0" * 17, 1]]},
    "a key in capitals": {"entries": [[8, "jti", "00000000000000FF", 1]]},
    "a kind of later times": {"entries": [[8, "session", "00000000000000ff", 1]]},
}


@pytest.mark.attack("R-08", "J-40")
@pytest.mark.parametrize("what", BAD)
async def test_what_is_not_of_its_form_is_no_answer(feed, issuer, what) -> None:
    bad = BAD[what]
    issuer.page = {**issuer.page, **bad} if isinstance(bad, dict) and bad else bad
    with pytest.raises(Unavailable):
        await feed.tail(7, 1)


async def test_what_is_too_long_is_not_read(feed, issuer, monkeypatch) -> None:
    monkeypatch.setattr(feeds, "LARGEST", 1000)
    issuer.page["entries"] = [[n, "jti", "00000000000000ff", 1] for n in range(100)]
    with pytest.raises(Unavailable, match="more than"):
        await feed.tail(7, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refusal_is_told_from_trouble(feed, issuer, status) -> None:
    issuer.status = status
    with pytest.raises(Unavailable, match=str(status)) as told:
        await feed.tail(7, 1)
    assert feed.refused and feed.refused in str(told.value)
    for other in (302, 429, 500, 503):
        issuer.status = other
        with pytest.raises(Unavailable):
            await feed.tail(7, 1)
        assert not feed.refused
    issuer.status = 200
    assert (await feed.tail(7, 1)).seq == 7


@pytest.mark.attack("R-06")
async def test_nobody_is_sent_elsewhere_with_the_secret(feed, issuer) -> None:
    async def send_on(request: Any) -> tuple[Any, ...]:
        return 307, b"", {"Location": f"{issuer.server.url}/elsewhere"}

    issuer.server.answer = send_on
    with pytest.raises(Unavailable, match="307"):
        await feed.tail(7, 1)
    assert [request.path for request in issuer.server.asked] == ["/auth/revocations"]


async def test_an_issuer_that_is_away(issuer) -> None:
    line = Line("orders", Secret("gs_secret"))
    with pytest.raises(Unavailable):
        await HttpFeed(line, "http://127.0.0.1:1/x").tail(0, 0)


# --- the bell ---


@pytest.fixture
async def rung(feed):
    rung = asyncio.Event()
    task = asyncio.create_task(feed.listen(rung.set))
    yield rung
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 5)
    event.clear()


async def waiting(issuer: Issuer, after: int) -> None:
    async with asyncio.timeout(5):
        while issuer.asked[-1:] != [{"after": str(after), "epoch": "1", "wait": str(feeds.WAIT)}]:
            await asyncio.sleep(0.005)


async def test_it_rings_when_there_is_news_and_waits_behind_it(feed, issuer) -> None:
    rung = asyncio.Event()
    task = asyncio.create_task(feed.listen(rung.set))
    await asyncio.sleep(0.1)
    assert issuer.asked == [], "before anything is known everything would be news"
    await feed.tail(0, 0)
    for seq in (8, 9):
        await waiting(issuer, seq - 1)
        issuer.page = {**issuer.page, "seq": seq}
        issuer.news.set()
        await soon(rung)
    await waiting(issuer, 9)
    issuer.news.set()  # a wait that is over without news
    async with asyncio.timeout(5):
        while len(issuer.asked) < 5:
            await asyncio.sleep(0.005)
    assert not rung.is_set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not feed._line._transports, "it has hung up"


async def test_whoever_answers_next_is_told_what_was_heard(feed, issuer) -> None:
    """Another server of the issuer may be behind the one that rang."""
    await feed.tail(0, 0)
    issuer.page = {**issuer.page, "seq": 8}
    rung = asyncio.Event()
    task = asyncio.create_task(feed.listen(rung.set))
    await soon(rung)
    await feed.tail(7, 1)
    assert issuer.heard[-1] == "1.8"
    await feed.tail(8, 1)
    assert issuer.heard[-1] is None
    # and a log that went back is not asked for what it lost
    issuer.page = {**issuer.page, "seq": 3}
    issuer.news.set()
    await soon(rung)
    await feed.tail(3, 1)
    assert issuer.heard[-1] is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_bell_that_is_broken_is_tried_again_and_not_in_a_hurry(
    feed, issuer, monkeypatch
) -> None:
    monkeypatch.setattr(feeds, "_PAUSE", 0.05)
    monkeypatch.setattr(feeds, "WAIT", 0.1)
    monkeypatch.setattr(feeds, "_LATE", 0.1)
    await feed.tail(0, 0)
    rung = asyncio.Event()
    task = asyncio.create_task(feed.listen(rung.set))
    await asyncio.sleep(0.5)  # it is never answered
    assert 2 <= len(issuer.asked) <= 5
    issuer.status, before = 503, len(issuer.asked)
    issuer.page = {**issuer.page, "seq": 8}
    await asyncio.sleep(0.5)
    assert 2 <= len(issuer.asked) - before <= 15 and not rung.is_set()
    issuer.status = 200
    await soon(rung)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_what_is_written_is_what_is_read() -> None:
    """The two ends of the wire agree on the form."""
    from watchword.endpoints.revocations import _Page

    body = _Page(1, 5, more=False, entries=b'[[5,"all","8000000000000000",10]]').body(0.0011)
    assert json.loads(body)["age_ms"] == 2, "rounded to the safe side"
    page = feeds._decode(body)
    assert page.entries == [(5, "all", "8000000000000000", 10.0)]
    assert feeds._key("8000000000000000") == -(2**63)

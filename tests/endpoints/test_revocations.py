"""The revocation log over HTTP: who may ask, what is told, and how long one waits for it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import time
from typing import Any

import httpx2
import pytest

from watchword.auth import parts
from watchword.endpoints import revocations, waiting
from watchword.guard.following import Follower
from watchword.rules.revoking import key8
from watchword.seams import Tail, Unavailable

PATH = "/auth/revocations"


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@pytest.fixture
async def guarded(server):
    """A server and a resource server's credentials."""
    _, secret = await server.add_client("orders", introspects=("https://api.example.com",))
    server.credentials = basic("orders", secret)
    return server


async def ask(server, **query: Any) -> httpx2.Response:
    headers = {**server.credentials, **query.pop("headers", {})}
    return await server.http.get(PATH, params=query, headers=headers)


async def aged(server, **query: Any) -> tuple[int, dict[str, Any]]:
    answer = await ask(server, **query)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert set(page) == {"epoch", "seq", "age_ms", "more", "entries"}
    assert answer.headers["watchword-age-ms"] == str(page["age_ms"])
    return page.pop("age_ms"), page


async def told(server, **query: Any) -> dict[str, Any]:
    return (await aged(server, **query))[1]


async def end(server, *names: str) -> None:
    for name in names:
        assert await server.auth.store.revoke_token(name, server.clock() + 600, server.clock())


def named(page: dict[str, Any]) -> list[tuple[str, int]]:
    return [
        (kind, int.from_bytes(bytes.fromhex(key), "big", signed=True))
        for _, kind, key, _ in page["entries"]
    ]


# --- who may ask ---


@pytest.mark.attack("V-07", "B-05")
async def test_only_clients_that_may_look_into_tokens_are_told(guarded, refused) -> None:
    _, secret = await guarded.add_client("job")
    await guarded.add_client("page", auth_method="none", secret=False, introspects=("https://x",))
    _, other = await guarded.add_client(
        "poster", auth_method="client_secret_post", introspects=("https://x",)
    )
    token = (await guarded.login())["access_token"]
    await end(guarded, "a")
    for headers in (
        {},
        basic("orders", "wrong"),
        basic("nobody", secret),
        basic("page", ""),
        basic("poster", other),
        {"Authorization": f"Bearer {token}"},
        {"Authorization": "Basic !"},
    ):
        answer = await guarded.http.get(PATH, headers=headers)
        refused(answer, 401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic")
    refused(await guarded.http.get(PATH, headers=basic("job", secret)), 400, "unauthorized_client")
    await guarded.auth.store.set_client_disabled("orders", guarded.clock(), disabled=True)
    refused(await ask(guarded), 401, "invalid_client")


@pytest.mark.parametrize(
    "query",
    [
        "after=-1", "after=x", "after=1.5", "after=" + "9" * 19, "epoch=1e3", "wait=-1", "wait=nan",
        "wait=inf", "within=x", "after=1&after=2", "after=%", "wait=1e9", "after=%EF%BC%91",
    ],
)  # fmt: skip
async def test_what_is_no_number_is_refused(guarded, refused, query) -> None:
    answer = await guarded.http.get(f"{PATH}?{query}", headers=guarded.credentials)
    refused(answer, 400, "invalid_request")


async def test_a_secret_in_the_url_is_refused(guarded, refused) -> None:
    answer = await guarded.http.get(f"{PATH}?client_id=orders&client_secret=x")
    refused(answer, 400, "invalid_request")


@pytest.mark.attack("V-05")
async def test_it_is_read_and_by_one_verb(guarded, refused) -> None:
    refused(await guarded.post(PATH, {}, headers=guarded.credentials), 405, "invalid_request")
    answer = await guarded.http.options(PATH, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_one_address_cannot_keep_it_busy(guarded, monkeypatch, refused) -> None:
    from watchword.limits import Limit

    endpoint = guarded.app.router.routes[0].table[PATH]["GET"]
    endpoint._limits.policies["revocations"] = Limit(3, 1)
    for _ in range(3):
        assert (await guarded.http.get(PATH)).status_code == 401
    answer = await ask(guarded)
    refused(answer, 429, "temporarily_unavailable")
    assert answer.headers["retry-after"] == "1"
    guarded.come_from("203.0.113.9")
    assert (await ask(guarded)).status_code == 200


# --- what is told ---


async def test_everything_behind_a_position_is_told(guarded) -> None:
    age, start = await aged(guarded, within=0)
    assert (start["epoch"], age, start["more"]) == (1, 0, False)
    await end(guarded, "a", "b")
    await guarded.auth.store.revoke_user("u_johndoe", guarded.clock())
    page = await told(guarded, after=start["seq"], epoch=1)
    assert page["seq"] == start["seq"] + 3
    assert named(page) == [
        ("jti", key8("jti", "a")), ("jti", key8("jti", "b")), ("user", key8("user", "u_johndoe")),
    ]  # fmt: skip
    assert [entry[0] for entry in page["entries"]] == [start["seq"] + n for n in (1, 2, 3)]
    assert all(entry[3] >= guarded.clock() + 600 for entry in page["entries"])
    again = await told(guarded, after=page["seq"], epoch=1)
    assert (again["seq"], again["entries"]) == (page["seq"], [])


async def test_keys_and_clients_that_change_are_told_of(guarded) -> None:
    start = await told(guarded)
    await guarded.auth.signing.rotate(guarded.auth.settings.access_token_alg, at_once=True)
    page = await told(guarded, after=start["seq"], epoch=1)
    assert {kind for kind, _ in named(page)} == {"config"}


async def test_of_another_past_everything_is_told(guarded) -> None:
    await end(guarded, "a", "b")
    all_of_it = await told(guarded)
    assert all_of_it["entries"]
    for query in ({"after": 10**9, "epoch": 1}, {"after": all_of_it["seq"], "epoch": 7}):
        page = await told(guarded, **query)
        assert page == all_of_it
    _, seq = await guarded.auth.store.bump_epoch(guarded.clock(), end_everything=False)
    page = await told(guarded, after=all_of_it["seq"], epoch=1)
    assert page["epoch"] > 1 and page["seq"] == seq
    assert len(page["entries"]) == len(all_of_it["entries"]) + 1


async def test_what_is_much_comes_in_pages(guarded, monkeypatch) -> None:
    start = await told(guarded)
    monkeypatch.setattr(revocations, "MOST", 3)
    await end(guarded, *"abcdefg")
    after, found, pages = start["seq"], [], 0
    while True:
        page = await told(guarded, after=after, epoch=1)
        assert len(page["entries"]) <= 3
        found += named(page)
        after, pages = page["seq"], pages + 1
        if not page["more"]:
            break
    assert found == [("jti", key8("jti", name)) for name in "abcdefg"] and pages == 3
    assert after == start["seq"] + 7
    first = await told(guarded)
    assert first["more"] and "etag" not in (await ask(guarded)).headers


async def test_a_snapshot_that_is_known_is_not_sent_again(guarded) -> None:
    await end(guarded, "a")
    first = await ask(guarded)
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    same = await ask(guarded, headers={"If-None-Match": f'"1.{"9" * 5}", {etag}'})
    assert (same.status_code, same.content) == (304, b"")
    assert int(same.headers["watchword-age-ms"]) < 500 and same.headers["etag"] == etag
    await end(guarded, "b")
    other = await ask(guarded, headers={"If-None-Match": etag})
    assert other.status_code == 200 and other.headers["etag"] != etag
    assert "etag" not in (await ask(guarded, after=1, epoch=1)).headers


async def test_what_is_long_is_packed_for_who_can_unpack_it(guarded) -> None:
    await end(guarded, *(f"t{n}" for n in range(100)))

    async def raw(accepts: str) -> tuple[bytes, httpx2.Response]:
        headers = {**guarded.credentials, "Accept-Encoding": accepts}
        async with guarded.http.stream("GET", PATH, headers=headers) as answer:
            return b"".join([chunk async for chunk in answer.aiter_raw()]), answer

    plain, answer = await raw("identity, gzip;q=0")
    assert "content-encoding" not in answer.headers and answer.headers["vary"] == "Accept-Encoding"
    for accepts in ("gzip", "br, gzip;q=0.5"):
        packed, answer = await raw(accepts)
        assert answer.headers["content-encoding"] == "gzip"
        same = json.loads(gzip.decompress(packed))["entries"] == json.loads(plain)["entries"]
        assert same and len(packed) < len(plain)
    await end(guarded, *(f"u{n}" for n in range(1000)))
    packed, _ = await raw("gzip")
    assert len(json.loads(gzip.decompress(packed))["entries"]) > 1100
    seq = json.loads(plain)["seq"] + 1000
    short = await ask(guarded, after=seq, epoch=1, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in short.headers


async def test_one_reading_is_for_all_who_ask_the_same(guarded, monkeypatch) -> None:
    at, reads = guarded.auth._bench, []
    page = at.page

    async def counted(*asked: int) -> Any:
        reads.append(asked)
        await asyncio.sleep(0.01)
        return await page(*asked)

    monkeypatch.setattr(at, "page", counted)
    await end(guarded, "a")
    answers = await asyncio.gather(*(told(guarded) for _ in range(20)))
    assert len(reads) == 1 and all(answer == answers[0] for answer in answers)
    await end(guarded, "b")
    assert (await told(guarded))["seq"] == answers[0]["seq"] + 1 and len(reads) == 2


# --- waiting ---


async def test_who_waits_is_told_at_once_of_what_happens(guarded) -> None:
    start = await told(guarded)
    waits = asyncio.create_task(told(guarded, after=start["seq"], epoch=1, wait=20))
    await asyncio.sleep(0.1)
    assert not waits.done()
    await end(guarded, "a")
    began = time.monotonic()
    page = await asyncio.wait_for(waits, 5)
    assert time.monotonic() - began < 1
    assert named(page) == [("jti", key8("jti", "a"))]


async def test_who_waits_for_what_is_there_does_not_wait(guarded) -> None:
    await end(guarded, "a")
    async with asyncio.timeout(5):
        assert (await told(guarded, wait=20))["entries"]
        assert (await told(guarded, after=3, epoch=9, wait=20))["epoch"] == 1


async def test_nobody_waits_for_ever(guarded, monkeypatch) -> None:
    from watchword.rules import params

    start = await told(guarded)
    for wait, longest in ((0.05, 30.0), (1000, 0.05)):
        monkeypatch.setattr(params, "LONGEST_WAIT", longest)
        async with asyncio.timeout(5):
            page = await told(guarded, after=start["seq"], epoch=1, wait=wait)
        assert page == {**start, "entries": []}


@pytest.mark.attack("D-05")
async def test_there_is_room_for_so_many(guarded, monkeypatch, refused) -> None:
    monkeypatch.setattr(waiting, "MOST_EACH", 2)
    monkeypatch.setattr(waiting, "MOST", 3)
    _, secret = await guarded.add_client("stock", introspects=("https://api.example.com",))
    stock = basic("stock", secret)
    start = await told(guarded)
    query = {"after": start["seq"], "epoch": 1, "wait": 20}
    waits = [asyncio.create_task(ask(guarded, **query)) for _ in range(2)]
    await asyncio.sleep(0.05)
    refusal = await ask(guarded, **query)
    refused(refusal, 429, "temporarily_unavailable")
    assert int(refusal.headers["retry-after"]) > 0
    waits.append(asyncio.create_task(ask(guarded, **query, headers=stock)))
    await asyncio.sleep(0.05)
    refusal = await ask(guarded, **query, headers=stock)
    refused(refusal, 503, "temporarily_unavailable")
    assert int(refusal.headers["retry-after"]) > 0
    assert (await ask(guarded, after=start["seq"], epoch=1)).status_code == 200, "that needs none"
    await end(guarded, "a")
    assert [answer.status_code for answer in await asyncio.gather(*waits)] == [200] * 3
    assert len(guarded.app.router.routes[0].table[PATH]["GET"].room) == 0


async def test_who_hangs_up_makes_room(guarded) -> None:
    start = await told(guarded)
    query = f"after={start['seq']}&epoch=1&wait=25".encode()
    room = guarded.app.router.routes[0].table[PATH]["GET"].room
    hung_up = asyncio.Event()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            sent.append(1)
            return {"type": "http.request", "body": b"", "more_body": False}
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": PATH, "raw_path": PATH.encode(), "scheme": "http",
        "query_string": query, "client": ("127.0.0.1", 5000), "server": ("localhost", 8000),
        "headers": [(b"authorization", guarded.credentials["Authorization"].encode())],
        "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    waits = asyncio.create_task(guarded.app(scope, receive, send))
    await asyncio.sleep(0.1)
    assert len(room) == 1
    hung_up.set()
    await asyncio.wait_for(waits, 5)
    assert len(room) == 0


async def test_a_server_that_ends_lets_go_of_who_waits(guarded) -> None:
    start = await told(guarded)
    waits = asyncio.create_task(ask(guarded, after=start["seq"], epoch=1, wait=25))
    await asyncio.sleep(0.05)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert len(guarded.app.router.routes[0].table[PATH]["GET"].room) == 0


# --- a server whose own knowledge has an age ---


class Cable:
    """Between a server and its database."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.cut = False
        self.polls = 0
        self.time = 1000.0  # the follower's clock

    async def tail(self, after: int, epoch: int) -> Tail:
        self.polls += 1
        if self.cut:
            raise Unavailable("the cable is cut")
        return await self.store.tail(after, epoch)

    def pause(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
async def across(build, monkeypatch):
    cables: list[Cable] = []

    def follower(store: Any, *_: Any, **__: Any) -> Follower:
        cables.append(Cable(store))
        return Follower(cables[0], max_stale=2.0, monotonic=lambda: cables[0].time)

    monkeypatch.setattr(parts, "_revocations", follower)
    server = build()
    (cable,) = cables
    await server.auth.start()
    _, secret = await server.add_client("orders", introspects=("https://api.example.com",))
    server.credentials = basic("orders", secret)
    server.cable = cable
    await server.auth.revocations.meet(revocations.Asked(within=0))
    return server


async def test_its_age_is_told_and_counts_from_the_question(across) -> None:
    across.cable.pause(0.3)
    age, _ = await aged(across)
    assert 200 < age <= 300, "what it took to answer does not count"
    assert (await aged(across, within=0))[0] == 0
    across.cable.pause(1.0)
    polls = across.cable.polls
    assert (await aged(across, within=2))[0] > 900 and across.cable.polls == polls
    assert (await aged(across, within=0.5))[0] == 0 and across.cable.polls == polls + 1


@pytest.mark.attack("Z-09")
async def test_a_server_that_cannot_tell_says_so(across, refused) -> None:
    across.cable.cut = True
    across.cable.pause(1.0)
    assert (await aged(across, within=0))[0] > 900, "who asks has to judge whether that will do"
    across.cable.pause(1.01)
    answer = await ask(across)
    refused(answer, 503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    across.cable.cut = False
    async with asyncio.timeout(5):
        while (await ask(across)).status_code != 200:
            await asyncio.sleep(0.01)


async def test_a_server_asks_anew_for_who_has_heard_of_more(across) -> None:
    page = await told(across)
    store = across.cable.store
    await store.revoke_token("a", across.clock() + 600, across.clock())  # by another node
    behind = {"after": page["seq"], "epoch": 1}
    assert (await told(across, **behind))["entries"] == []
    heard = {"Auth-Min-Seq": f"1.{page['seq'] + 1}"}
    assert named(await told(across, **behind, headers=heard)) == [("jti", key8("jti", "a"))]
    ahead = await told(across, after=page["seq"] + 1, epoch=1)
    assert ahead["entries"] == [], "who is ahead of this node is told nothing old"


async def test_who_waits_at_a_follower_is_told_when_it_hears(across) -> None:
    page = await told(across)
    waits = asyncio.create_task(told(across, after=page["seq"], epoch=1, wait=20))
    await asyncio.sleep(0.05)
    await across.cable.store.revoke_token("a", across.clock() + 600, across.clock())
    log = across.auth.revocations
    assert isinstance(log, Follower)
    log.wake()
    assert named(await asyncio.wait_for(waits, 5)) == [("jti", key8("jti", "a"))]


async def test_a_database_of_older_times_is_not_believed(across, monkeypatch, refused) -> None:
    async def old(*asked: int) -> Tail:
        return Tail(0, 5, ())

    monkeypatch.setattr(across.auth._bench, "page", old)
    refused(await ask(across), 503, "temporarily_unavailable")


# --- the key set, for who has heard of a change ---


async def test_the_key_set_is_as_new_as_asked(across, refused) -> None:
    page = await told(across)
    at = across.auth
    before = (await across.get("/.well-known/jwks.json")).json()
    across.cable.cut = True
    ahead = {"Auth-Min-Seq": f"1.{page['seq'] + 1}"}
    answer = await across.get("/.well-known/jwks.json", headers=ahead)
    refused(answer, 503, "temporarily_unavailable")
    assert (await across.get("/.well-known/jwks.json")).json() == before
    across.cable.cut = False
    async with asyncio.timeout(5):
        while (await across.get("/.well-known/jwks.json", headers=ahead)).status_code != 200:
            await asyncio.sleep(0.01)
    await at.signing.rotate(at.settings.access_token_alg, at_once=True)
    after = (await across.get("/.well-known/jwks.json", headers=ahead)).json()
    assert len(after["keys"]) == len(before["keys"]) + 1
    bad = await across.get("/.well-known/jwks.json", headers={"Auth-Min-Seq": "x"})
    refused(bad, 400, "invalid_request")

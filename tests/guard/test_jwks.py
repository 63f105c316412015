"""The keys of another issuer over real HTTP: few fetches, no trust in what is served."""

from __future__ import annotations

import asyncio
import base64

import pytest

from watchword import Guard
from watchword.errors import Busy, InvalidToken
from watchword.guard import jwks
from watchword.guard.jwks import COOL_DOWN, FRESH, HARD_LIMIT, RemoteKeys

NOW = 1_800_000_000.0
ALGORITHMS = frozenset({"ES256", "RS256"})


def remote(issuer, **more) -> RemoteKeys:
    return RemoteKeys(issuer.url, ALGORITHMS, **more)


async def settled(keys: RemoteKeys) -> None:
    while keys._fetching is not None:
        await asyncio.sleep(0.005)


async def test_everybody_who_waits_shares_one_fetch(issuer) -> None:
    keys = remote(issuer)
    sets = await asyncio.gather(*(keys.load(NOW) for _ in range(20)))
    assert len({id(found) for found in sets}) == 1 and sets[0].knows("k1")
    assert issuer.asked["/jwks"] == 1
    assert keys.current(NOW + FRESH) is sets[0] and keys._fetching is None


async def test_stale_keys_serve_while_newer_ones_are_fetched(issuer) -> None:
    keys = remote(issuer)
    old = await keys.load(NOW)
    issuer.keys.append(issuer.new_key("k2"))
    issuer.hold.clear()
    for _ in range(50):
        assert keys.current(NOW + FRESH + 1) is old
    issuer.hold.set()
    await settled(keys)
    assert keys.current(NOW + FRESH + 1).knows("k2") and issuer.asked["/jwks"] == 2


async def test_the_same_document_stays_the_same_set(issuer) -> None:
    keys = remote(issuer)
    old = await keys.load(NOW)
    keys.current(NOW + FRESH + 1)
    await settled(keys)
    assert issuer.asked["/jwks"] == 2
    assert keys.current(NOW + FRESH + 1) is old


async def test_an_issuer_that_is_down_is_not_a_bad_token(issuer, caplog) -> None:
    keys = remote(issuer)
    issuer.status = 500
    for _ in range(5):
        with pytest.raises(Busy):
            await keys.load(NOW)
    assert issuer.asked["/.well-known/openid-configuration"] == 1, "it is not asked in a loop"
    issuer.status = 200
    assert (await keys.load(NOW + 2)).knows("k1")


async def test_old_keys_serve_for_a_day_and_no_longer(issuer) -> None:
    keys = remote(issuer)
    old = await keys.load(NOW)
    issuer.status = 500
    assert keys.current(NOW + HARD_LIMIT) is old
    await settled(keys)
    assert keys.current(NOW + HARD_LIMIT + 1) is None


@pytest.mark.attack("J-39")
async def test_unknown_keys_cause_one_fetch_per_cool_down(issuer) -> None:
    keys = remote(issuer)
    old = await keys.load(NOW)
    for second in range(int(COOL_DOWN)):
        assert await keys.missed(NOW + second) is old
    assert issuer.asked["/jwks"] == 1
    issuer.keys.append(issuer.new_key("k2"))
    issuer.hold.clear()
    waiting = [asyncio.create_task(keys.missed(NOW + COOL_DOWN)) for _ in range(50)]
    await asyncio.sleep(0)
    issuer.hold.set()
    assert all(found.knows("k2") for found in await asyncio.gather(*waiting))
    assert issuer.asked["/jwks"] == 2
    issuer.status = 500
    later = NOW + 2 * COOL_DOWN
    assert (await keys.missed(later)).knows("k2"), "a failure keeps what there is"
    await keys.missed(later + 1)
    assert issuer.asked["/jwks"] == 3


@pytest.mark.attack("J-39")
async def test_ten_thousand_unknown_keys_cause_one_fetch_and_stop_nobody(issuer) -> None:
    guard = Guard(issuer=issuer.url, audience="orders", now=lambda: NOW)
    good = issuer.token()
    await guard._verify(good, NOW)
    stranger = issuer.new_key("stranger")
    payload = issuer.token(key=stranger).split(".", 1)[1]
    later = NOW + COOL_DOWN + 1
    for number in range(10_000):
        head = f'{{"alg":"ES256","typ":"JWT","kid":"{number}"}}'.encode()
        name = base64.urlsafe_b64encode(head).decode().rstrip("=")
        with pytest.raises(InvalidToken):
            await guard._verify(f"{name}.{payload}", later)
    assert issuer.asked["/jwks"] == 2
    assert (await guard._verify(good, later)).sub == "u1"


async def test_the_caller_may_go_away_without_ending_the_fetch(issuer) -> None:
    keys = remote(issuer)
    issuer.hold.clear()
    gone, stays = (asyncio.create_task(keys.load(NOW)) for _ in range(2))
    await asyncio.sleep(0.02)
    gone.cancel()
    issuer.hold.set()
    assert (await stays).knows("k1") and issuer.asked["/jwks"] == 1


@pytest.mark.attack("J-40")
async def test_hostile_key_sets(issuer) -> None:
    good, twin = issuer.keys[0], issuer.new_key("twin")
    jwk = good.public().jwk
    issuer.extra = [
        None,
        [],
        "key",
        {},
        {"kty": "oct", "k": "AAAA", "kid": "oct"},
        {"kty": "oct", "k": "", "kid": "blank"},
        {**jwk, "kid": "private", "d": jwk["x"]},
        {**jwk, "kid": "enc", "use": "enc"},
        {**jwk, "kid": "ops", "key_ops": ["sign"]},
        {**jwk, "kid": "off", "y": jwk["x"]},
        {**jwk, "kid": 7},
        {"kty": "PQ", "kid": "pq"},
        {"kty": "RSA", "kid": "weak", "n": "AQAB", "e": "AQAB"},
        {**twin.public().jwk, "kid": "twin"},
        {**jwk, "kid": "twin"},
    ]
    found = await remote(issuer).load(NOW)
    assert found.knows("k1")
    for kid in ("oct", "blank", "private", "enc", "ops", "off", "pq", "weak", "twin", "7"):
        assert not found.knows(kid), kid


@pytest.mark.parametrize(
    "body",
    [
        [], {}, {"keys": []}, {"keys": {}}, {"keys": None}, {"keys": [None]}, "x",
        b"", b"{", b"\xff\xfe", b"[" * 200_000, b"9" * 200_000, b" " * 300_000, b'{"keys": NaN}',
    ],
    ids=lambda body: repr(body)[:20],
)  # fmt: skip
@pytest.mark.attack("J-40")
async def test_what_is_no_key_set_is_an_outage(issuer, body) -> None:
    issuer.jwks = body
    with pytest.raises(Busy):
        await remote(issuer).load(NOW)


async def test_an_emptied_set_does_not_replace_a_good_one(issuer) -> None:
    keys = remote(issuer)
    old = await keys.load(NOW)
    issuer.jwks = {"keys": []}
    assert await keys.missed(NOW + COOL_DOWN) is old


@pytest.mark.parametrize(
    "metadata",
    [{"issuer": "https://other.example"}, {"jwks_uri": 7}, {"jwks_uri": "http://["}, {"issuer": 1}],
)
async def test_a_document_of_another_issuer_is_not_followed(issuer, metadata) -> None:
    issuer.metadata = metadata
    with pytest.raises(Busy):
        await remote(issuer).load(NOW)
    assert issuer.asked["/jwks"] == 0


async def test_tls_is_not_given_up_for_the_key_set(issuer) -> None:
    keys = RemoteKeys("https://login.example.com", ALGORITHMS)

    async def documents(url: str) -> dict[str, str]:
        return {"issuer": "https://login.example.com", "jwks_uri": f"{issuer.url}/jwks"}

    with keys.answered_by(documents), pytest.raises(Busy):
        await keys.load(NOW)


async def test_a_key_set_that_moved_is_found_again(issuer) -> None:
    keys = remote(issuer)
    await keys.load(NOW)
    issuer.jwks = b"gone"
    await keys.missed(NOW + COOL_DOWN)
    issuer.jwks = None
    await keys.missed(NOW + 2 * COOL_DOWN)
    assert issuer.asked["/.well-known/openid-configuration"] == 2


async def test_a_configured_key_set_needs_no_discovery(issuer) -> None:
    assert (await remote(issuer, jwks_uri=f"{issuer.url}/jwks").load(NOW)).knows("k1")
    assert set(issuer.asked) == {"/jwks"}


@pytest.mark.parametrize(
    ("issuer_url", "accepted"),
    [
        ("http://localhost:8000", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("https://login.example.com", False),
        ("https://localhost.example.com", False),
        ("https://127.0.0.1.example.com", False),
        ("https://10.0.0.1", False),
    ],
)
async def test_keys_of_development_count_on_this_machine_only(
    issuer, issuer_url, accepted, caplog
) -> None:
    development = issuer.new_key("dev-1")
    keys = RemoteKeys(issuer_url, ALGORITHMS, f"{issuer_url}/jwks")

    async def documents(url: str) -> dict[str, list[dict[str, str]]]:
        return {"keys": [development.public().jwk, issuer.keys[0].public().jwk]}

    with keys.answered_by(documents):
        found = await keys.load(NOW)
    assert found.knows("k1") and found.knows("dev-1") is accepted
    assert ("development" in caplog.text) is not accepted


async def test_only_keys_of_development_is_an_outage(issuer) -> None:
    issuer.keys = [issuer.new_key("dev-1")]
    keys = RemoteKeys("https://login.example.com", ALGORITHMS, "https://login.example.com/jwks")

    async def documents(url: str) -> object:
        return issuer.document("/jwks")

    with keys.answered_by(documents), pytest.raises(Busy):
        await keys.load(NOW)


def test_the_numbers_are_what_the_pages_say() -> None:
    assert (jwks.FRESH, jwks.COOL_DOWN) == (300, 30)


# --- the issuer's log, where it is followed ---


class Log:
    """As much of a log as keys are told by."""

    def __init__(self) -> None:
        self.config_changes, self.epoch, self.position = 3, 1, 42


@pytest.mark.attack("Z-24")
async def test_keys_that_changed_are_asked_for_before_the_next_decision(issuer) -> None:
    keys = remote(issuer)
    keys.log = log = Log()
    old = await keys.load(NOW)
    assert keys.current(NOW) is old and issuer.asked["/jwks"] == 1
    issuer.keys = [issuer.new_key("k2")]
    log.config_changes += 1
    assert keys.current(NOW) is None
    found = await asyncio.gather(*(keys.load(NOW) for _ in range(20)))
    assert all(one.knows("k2") and not one.knows("k1") for one in found)
    assert issuer.asked["/jwks"] == 2 and keys.current(NOW) is found[0]


async def test_a_fetch_that_had_begun_before_the_change_does_not_do(issuer) -> None:
    keys = remote(issuer)
    keys.log = log = Log()
    await keys.load(NOW)
    log.config_changes += 1
    issuer.hold.clear()
    early = asyncio.create_task(keys.load(NOW))
    async with asyncio.timeout(5):
        while issuer.asked["/jwks"] < 2:
            await asyncio.sleep(0.005)
    log.config_changes += 1
    late = asyncio.create_task(keys.load(NOW))
    await asyncio.sleep(0.02)
    issuer.hold.set()
    await asyncio.gather(early, late)
    assert issuer.asked["/jwks"] == 3 and keys.current(NOW) is not None


@pytest.mark.attack("Z-19")
async def test_while_changed_keys_cannot_be_had_nobody_is_let_in(issuer) -> None:
    keys = remote(issuer)
    keys.log = log = Log()
    await keys.load(NOW)
    log.config_changes += 1
    issuer.status = 500
    for _ in range(5):
        with pytest.raises(Busy):
            await keys.load(NOW)
        assert keys.current(NOW) is None
    assert issuer.asked["/jwks"] == 2, "it is not asked in a loop"
    issuer.status = 200
    assert (await keys.load(NOW + 1)).knows("k1") and keys.current(NOW + 1) is not None


async def test_whoever_answers_has_to_know_of_the_change_too(monkeypatch) -> None:
    from watchword import fetch

    asked = []

    async def document(url: str, *, headers: object = None) -> dict[str, object]:
        asked.append(headers)
        raise fetch.FetchError("no")

    monkeypatch.setattr(fetch, "document", document)
    keys = RemoteKeys("https://login.example.com", ALGORITHMS, "https://login.example.com/jwks")
    for log in (None, Log()):
        keys.log = log
        with pytest.raises(Busy):
            await keys.load(NOW)
        keys._tried_at = float("-inf")
    assert asked == [None, {"auth-min-seq": "1.42"}]

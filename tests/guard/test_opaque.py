"""Tokens that say nothing themselves: asked about where they come from, and judged like others."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest
from answering import answering

from watchword import Guard
from watchword.crypto.secrets import Secret
from watchword.errors import Busy, InvalidToken
from watchword.fetch import Line
from watchword.guard.opaque import Endpoint, says_nothing
from watchword.seams import Unavailable

NOW = 1_800_000_000.0
CLIENT = {"client_id": "orders", "client_secret": "gs_secret"}
GOOD = {
    "active": True, "client_id": "web", "sub": "u1", "aud": "api", "scope": "read write",
    "exp": int(NOW) + 600, "username": "ada", "roles": ["admin"],
}  # fmt: skip


class Issuer:
    """Says of each token what a test put down; of others that they are not active."""

    def __init__(self) -> None:
        self.tokens: dict[str, Any] = {"op_good": dict(GOOD)}
        self.status = 200
        self.asked: list[dict[str, str]] = []

    async def __call__(self, request: Any) -> tuple[int, Any]:
        if (request.method, request.path) != ("POST", "/introspect"):
            return 404, {}
        form = {name: value for name, (value,) in parse_qs(request.body.decode()).items()}
        self.asked.append(form)
        return self.status, self.tokens.get(form["token"], {"active": False})


@pytest.fixture
async def issuer():
    made = Issuer()
    async with answering(made) as server:
        made.url = server.url
        made.server = server
        yield made


@pytest.fixture
async def guard(issuer):
    made = Guard(
        issuer=issuer.url, audience="api", revocations="off", now=lambda: NOW,
        introspection=f"{issuer.url}/introspect", **CLIENT,
    )  # fmt: skip
    yield made
    await made._elsewhere.stop()


# --- what is asked about ---


@pytest.mark.parametrize(
    ("text", "nothing"),
    [
        ("op_good", True),
        ("ory_at_abc.def", True),
        ("a.b.c", True),
        ("abc.def.ghi", True),
        ("x" * 4000, True),
        ("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", False),
        ("IHsiYWxnIjoibm9uZSJ9.e30.", False),
        ("e30.e30.x", False),
        ("eyJ.e30.x.y.z", True),
        ("é.b.c", True),
    ],
)
def test_which_tokens_say_nothing(text, nothing) -> None:
    assert says_nothing(text) is nothing


async def test_a_signed_token_that_is_bad_is_not_asked_about(guard, issuer) -> None:
    """Nobody gets a second chance at another door."""
    for bad in (
        "eyJhbGciOiJub25lIn0.e30.",
        "eyJhbGciOiJFUzI1NiIsInR5cCI6ImxvZ291dCtqd3QifQ.e30.eA",
    ):
        issuer.tokens[bad] = dict(GOOD)
        with pytest.raises((InvalidToken, Busy)):
            await guard._verify(bad, NOW)
    assert issuer.asked == []


# --- what is believed ---


@pytest.mark.attack("V-11")
async def test_what_the_issuer_says_is_what_the_token_says(guard, issuer) -> None:
    token = await guard._verify("op_good", NOW)
    assert (token.sub, token.client_id, token.kind) == ("u1", "web", "opaque")
    assert token.scopes == ("read", "write") and token.roles == ("admin",)
    assert token.issuer == issuer.url and not token.is_client
    assert issuer.asked == [{"token": "op_good", "token_type_hint": "access_token"}]
    assert issuer.server.asked[0].headers["authorization"].startswith("Basic ")
    await guard._verify("op_good", NOW)
    assert len(issuer.asked) == 1, "an answer counts for a while"
    with pytest.raises(InvalidToken):
        await guard._verify("op_good", NOW + 700)


async def test_a_client_that_speaks_for_itself_is_its_own_subject(guard, issuer) -> None:
    del issuer.tokens["op_good"]["sub"]
    assert (await guard._verify("op_good", NOW)).is_client


@pytest.mark.attack("V-08", "V-11", "J-26", "J-27")
@pytest.mark.parametrize(
    "changed",
    [
        {"active": False},
        {"aud": "another-api"},
        {"aud": ["api", 7]},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"exp": int(NOW) - 60},
        {"exp": "tomorrow"},
        {"exp": None},
        {"nbf": int(NOW) + 600},
        {"token_type": "DPoP"},
        {"token_type": "N_A"},
        {"token_use": "refresh_token"},
        {"cnf": {"jkt": "x"}},
        {"scope": ["read"], "sub": 7},
        {"sub": None, "client_id": None},
    ],
    ids=str,
)
async def test_what_is_not_for_this_api_is_refused(guard, issuer, changed) -> None:
    kept = {**issuer.tokens["op_good"], **changed}
    issuer.tokens["op_good"] = {name: value for name, value in kept.items() if value is not None}
    with pytest.raises(InvalidToken):
        await guard._verify("op_good", NOW)


@pytest.mark.parametrize("named", ["Bearer", "bearer", None])
async def test_a_bearer_token_by_any_spelling(guard, issuer, named) -> None:
    if named:
        issuer.tokens["op_good"] |= {"token_type": named, "token_use": "access_token"}
    assert (await guard._verify("op_good", NOW)).sub == "u1"


@pytest.mark.attack("V-08")
async def test_what_is_too_long_is_not_sent(guard, issuer) -> None:
    with pytest.raises(InvalidToken):
        await guard._verify("x" * 5000, NOW)
    assert issuer.asked == []


# --- what an issuer may answer ---


@pytest.mark.attack("R-08")
@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, {}), (200, {"active": "true"}), (200, {"active": 1}), (200, []), (200, b"no"),
        (200, b"[" * 50_000), (200, b"x" * 70_000), (401, {"active": True}), (302, {"active": True}),
        (500, {"active": True}), (503, {"active": False}),
    ],
)  # fmt: skip
async def test_whatever_else_it_answers_tells_nothing(issuer, status, content) -> None:
    issuer.status, issuer.tokens["t"] = status, content
    line = Line("orders", Secret("gs_secret"))
    with pytest.raises(Unavailable):
        await Endpoint(line, lambda: f"{issuer.url}/introspect")("t")
    await line.aclose()


async def test_an_endpoint_that_is_not_there(issuer) -> None:
    line = Line("orders", Secret("gs_secret"))
    for url in (None, "http://127.0.0.1:1/introspect"):
        with pytest.raises(Unavailable):
            await Endpoint(line, lambda url=url: url)("t")
    await line.aclose()


# --- several issuers ---


async def test_a_token_of_one_issuer_is_not_shown_to_another(guard, issuer) -> None:
    other = Guard(
        issuer=f"{issuer.url}/other", audience="api", revocations="off", now=lambda: NOW,
        introspection=f"{issuer.url}/introspect", **CLIENT,
    )  # fmt: skip
    plain = Guard(issuer="https://plain.example", audience="api")
    assert (await Guard.any_of(guard, plain)._verify("op_good", NOW)).sub == "u1"
    before = len(issuer.asked)
    with pytest.raises(InvalidToken) as told:
        await Guard.any_of(guard, other)._verify("op_new", NOW)
    assert told.value.detail == "nobody knows whose it is" and len(issuer.asked) == before

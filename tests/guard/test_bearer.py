"""Where a token is looked for, and how a refusal is worded."""

from __future__ import annotations

import pytest

from watchword.crypto.tickets import PREFIX
from watchword.errors import (
    Busy,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    NoToken,
    StaleLogin,
)
from watchword.guard.bearer import SUBPROTOCOL, challenge, ticket_of, token_of


def scope(*headers: bytes, query: bytes = b"", subprotocols: tuple[str, ...] = ()) -> dict:
    pairs = [(b"authorization", value) for value in headers]
    return {"headers": pairs, "query_string": query, "subprotocols": list(subprotocols)}


@pytest.mark.parametrize("header", [b"Bearer abc", b"bearer abc", b"BEARER abc"])
@pytest.mark.attack("J-37")
def test_the_scheme_is_compared_without_case(header) -> None:
    assert token_of(scope(header)) == "abc"


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer  abc",
        b"Bearer\tabc",
        b"Bearer abc def",
        b"Bearer abc,Bearer def",
        b"Bearer abc, Basic eDp5",
        b"Bearer \xff\xfe",
        b"Bearer a\x00b",
        b"Bearer abc ",
        b"Bearer a=b",
        b"Bearer {}",
        b"Bearerabc",
    ],
)
@pytest.mark.attack("J-37")
def test_a_malformed_header_is_a_bad_request(header) -> None:
    with pytest.raises(InvalidRequest):
        token_of(scope(header))


@pytest.mark.attack("J-37")
def test_two_headers_are_refused_even_when_one_is_good_or_both_are_equal() -> None:
    for pair in [(b"Bearer a", b"Bearer a"), (b"Basic eDp5", b"Bearer a"), (b"Bearer a", b"")]:
        with pytest.raises(InvalidRequest):
            token_of(scope(*pair))


@pytest.mark.parametrize("header", [b"Basic eDp5", b"DPoP abc", b"", b"Digest x", b"abc"])
def test_another_scheme_is_no_token(header) -> None:
    with pytest.raises(NoToken):
        token_of(scope(header))


@pytest.mark.attack("J-35")
def test_a_token_in_the_query_is_never_read_and_never_a_second_one() -> None:
    with pytest.raises(NoToken):
        token_of(scope(query=b"access_token=abc"))
    for query in (b"access_token=abc", b"x=1&access_token="):
        with pytest.raises(InvalidRequest):
            token_of(scope(b"Bearer abc", query=query))
    assert token_of(scope(b"Bearer abc", query=b"no_access_token=1&x=access_token=")) == "abc"


def test_a_socket_may_bring_its_token_as_a_subprotocol() -> None:
    assert token_of(scope(subprotocols=("chat", SUBPROTOCOL + "abc"))) == "abc"


@pytest.mark.parametrize(
    "offered", [("",), ("a b",), ("\u20ac",), ("\udcff",), ("abc", "def"), ("abc", "abc")]
)
@pytest.mark.attack("J-37")
def test_a_malformed_subprotocol_is_a_bad_request(offered) -> None:
    with pytest.raises(InvalidRequest):
        token_of(scope(subprotocols=tuple(SUBPROTOCOL + text for text in offered)))


@pytest.mark.attack("J-35")
def test_a_socket_with_both_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        token_of(scope(b"Bearer abc", subprotocols=(SUBPROTOCOL + "abc",)))


def test_no_token_has_no_error_code() -> None:
    made = challenge(NoToken("Not authenticated"), scopes=("a", "b"), resource_metadata="http://r")
    assert made.status_code == 401
    assert made.headers["WWW-Authenticate"] == 'Bearer scope="a b", resource_metadata="http://r"'
    assert made.body == {"detail": "Not authenticated", "scope": "a b", "code": "WW-201"}
    assert challenge(NoToken("Not authenticated")).headers["WWW-Authenticate"] == "Bearer"


def test_every_bad_token_gets_the_same_sentence() -> None:
    bodies = [
        challenge(InvalidToken(why, detail="secret reason")).body
        for why in ("", "expired", "The access token is not valid.")
    ]
    assert bodies[0] == bodies[1] == bodies[2]
    assert "secret" not in str(bodies)


def test_a_refusal_names_all_that_the_route_needs() -> None:
    made = challenge(InsufficientScope("no", scopes=("b",)), scopes=("a", "b"))
    assert (made.status_code, made.body["scope"]) == (403, "a b")
    assert 'scope="a b"' in made.headers["WWW-Authenticate"]


def test_a_stale_login_names_age_and_context() -> None:
    header = challenge(StaleLogin("old", max_age=0, acr="mfa")).headers["WWW-Authenticate"]
    assert 'error="insufficient_user_authentication"' in header
    assert 'max_age="0"' in header and 'acr_values="mfa"' in header


@pytest.mark.attack("J-46")
def test_nothing_breaks_out_of_a_quoted_value() -> None:
    made = challenge(InsufficientScope('lacks "x"\r\nSet-Cookie: a=b \\ \x1b[31m \u20ac'))
    value = made.headers["WWW-Authenticate"]
    inside = value.removeprefix('Bearer error="insufficient_scope", error_description="')
    assert inside.count('"') == 1 and inside.endswith('"')
    assert all(0x20 <= ord(character) <= 0x7E for character in value) and "\\" not in value
    assert "lacks 'x'" in value


def test_a_server_that_is_busy_asks_for_no_credentials() -> None:
    made = challenge(Busy("later", retry_after=0.2), scopes=("a",))
    assert made.status_code == 503 and made.headers["Retry-After"] == "1"
    assert "WWW-Authenticate" not in made.headers and "scope" not in made.body


# --- tickets ---

STREAM = (b"accept", b"text/event-stream")


def opening(
    query: bytes, *headers: tuple[bytes, bytes], method: str = "", offered: tuple[str, ...] = ()
) -> dict:
    """A WebSocket, or a request where a method is given."""
    kind = {"type": "http", "method": method} if method else {"type": "websocket"}
    return {**kind, "headers": headers, "query_string": query, "subprotocols": list(offered)}


@pytest.mark.parametrize("query", [b"ticket=wwt_x", b"a=1&ticket=wwt_x", b"ticket=wwt_x&a=1"])
def test_a_ticket_comes_with_a_socket_or_an_event_stream(query) -> None:
    assert ticket_of(opening(query)) == "wwt_x"
    assert ticket_of(opening(query, offered=("chat",))) == "wwt_x"
    for accepted in (b"text/event-stream", b"Text/Event-Stream;q=1", b"*/*, text/event-stream"):
        assert ticket_of(opening(query, (b"accept", accepted), method="GET")) == "wwt_x"


@pytest.mark.parametrize(
    "query",
    [b"", b"ticket=", b"ticket=42", b"ticket=gs_1", b"x=ticket=wwt_x", b"tickets=wwt_x",
     b"Ticket=wwt_x", b"a=1;ticket=wwt_x", b"ticket=%77wt_x", b"%74icket=wwt_x", b"\xff"],
)  # fmt: skip
def test_an_app_has_parameters_of_its_own(query) -> None:
    assert ticket_of(opening(query)) is None
    assert ticket_of(opening(query, (b"authorization", b"Bearer x"), method="POST")) is None


@pytest.mark.attack("J-35")
@pytest.mark.parametrize(
    ("query", "header", "offered"),
    [
        (b"ticket=wwt_x", b"Bearer abc", ()),
        (b"ticket=wwt_x", b"Basic eDp5", ()),
        (b"ticket=wwt_x", b"", ()),
        (b"ticket=wwt_x", None, (SUBPROTOCOL + "abc",)),
        (b"ticket=wwt_x&access_token=abc", None, ()),
        (b"access_token=abc&ticket=wwt_x", None, ()),
        (b"ticket=wwt_x&ticket=wwt_x", None, ()),
        (b"ticket=wwt_x&ticket=wwt_y", None, ()),
    ],
)
def test_a_ticket_beside_another_credential_is_refused(query, header, offered) -> None:
    headers = [] if header is None else [(b"authorization", header)]
    for scope in (
        opening(query, *headers, offered=offered),
        opening(query, STREAM, *headers, method="GET", offered=offered),
    ):
        with pytest.raises(InvalidRequest, match="beside another"):
            ticket_of(scope)


@pytest.mark.parametrize(
    ("method", "accept"),
    [
        ("POST", b"text/event-stream"),
        ("HEAD", b"text/event-stream"),
        ("DELETE", b"text/event-stream"),
        ("GET", b"*/*"),
        ("GET", b"text/html,application/xhtml+xml,*/*;q=0.8"),
        ("GET", b"image/avif,image/webp,*/*"),
        ("GET", b"text/*"),
        ("GET", b"application/json, text/event-streams"),
        ("GET", b""),
        ("GET", None),
    ],
)
def test_a_ticket_opens_nothing_else(method, accept) -> None:
    headers = [] if accept is None else [(b"accept", accept)]
    with pytest.raises(InvalidRequest, match="only"):
        ticket_of(opening(b"ticket=wwt_x", *headers, method=method))


def test_a_ticket_of_ours_is_spelt_so() -> None:
    assert ticket_of(opening(f"ticket={PREFIX}x".encode())) == f"{PREFIX}x"

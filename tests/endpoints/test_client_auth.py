"""Reading what a client shows; that it counts is rows T-01 to T-09."""

import base64

import pytest
from starlette.requests import Request

from watchword.endpoints.client_auth import Credentials, credentials
from watchword.errors import InvalidClient, InvalidRequest


def request(*headers: str) -> Request:
    raw = [(b"authorization", header.encode("latin-1")) for header in headers]
    return Request({"type": "http", "headers": raw})


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.attack("T-04")
@pytest.mark.parametrize(
    ("headers", "fields", "shown"),
    [
        ([], {}, None),
        ([], {"client_id": "a"}, ("a", None, "none", False)),
        ([], {"client_id": "a", "client_secret": "s"}, ("a", "s", "client_secret_post", False)),
        ([basic("a:s")], {}, ("a", "s", "client_secret_basic", True)),
        ([basic("a:s")], {"client_id": "a"}, ("a", "s", "client_secret_basic", True)),
        ([basic("a:s:t")], {}, ("a", "s:t", "client_secret_basic", True)),
        ([basic("a%3Ab:s%3at")], {}, ("a:b", "s:t", "client_secret_basic", True)),
        ([basic("a:")], {}, ("a", None, "none", True)),
        ([basic(":")], {}, None),
        (
            [basic(":")],
            {"client_id": "a", "client_secret": "s"},
            ("a", "s", "client_secret_post", False),
        ),
        (["Bearer x"], {}, None),
        (["Bearer x"], {"client_id": "a"}, ("a", None, "none", False)),
    ],
)
def test_what_is_shown(headers, fields, shown):
    found = credentials(request(*headers), fields)
    assert found == (None if shown is None else Credentials(*shown))


@pytest.mark.attack("T-03", "T-06")
@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ([basic("a:s")], {"client_secret": "s"}),
        ([basic("a:s")], {"client_id": "b"}),
        ([basic("a:s"), basic("a:s")], {}),
        ([basic("a:s"), "Bearer x"], {}),
        ([], {"client_secret": "s"}),
    ],
)
def test_two_at_once(headers, fields):
    with pytest.raises(InvalidRequest):
        credentials(request(*headers), fields)


@pytest.mark.parametrize(
    "junk", ["Basic", "Basic !", "basic \u00e9", "Basic YQ==", "Basic " + "A" * 5000]
)
def test_junk(junk):
    with pytest.raises(InvalidClient) as refused:
        credentials(request(junk), {})
    assert refused.value.challenge


@pytest.mark.attack("S-06")
def test_credentials_do_not_show_their_secret():
    assert "CANARY" not in repr(Credentials("a", "CANARY", "client_secret_post"))

"""Wire parameters: one reading of a form, one class per grant type, nothing missing behind it."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import InvalidRequest, InvalidScope, OAuthError, UnsupportedGrantType
from watchword.rules import params
from watchword.rules.params import ClientCredentialsAsk, PasswordAsk, RefreshAsk


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&b=", {"a": "1"}),  # RFC 6749 section 3.1: without a value is absent
        (b"a=+x%20y%2B", {"a": " x y+"}),
        (b"a=%C3%A9", {"a": "\u00e9"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"resource=x&resource=x", {"resource": "x"}),
        (b"%61=1", {"a": "1"}),
    ],
)
def test_a_form_is_read(body, fields):
    assert params.form(body) == fields


@pytest.mark.attack("T-27")
@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a=1",
        b"a=1&a=2",
        b"a=1&%61=2",
        b"a=&a=1",
        b"a",
        b"a=1&b",
        b"&",
        b"a=1&",
        b"a=%",
        b"a=%f",
        b"a=%zz",
        b"a=%u0041",
        b"a=%ff",
        b"a=%c0%80",
        b"a=%ed%a0%80",
        b"a=\xc3\xa9",
        b"resource=x&resource=y",
        b"&".join(b"a%d=1" % n for n in range(65)),
    ],
)
def test_what_has_two_readings_is_refused(body):
    with pytest.raises(InvalidRequest):
        params.form(body)


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1), max_size=20))
def test_what_a_client_encodes_is_what_is_read(fields):
    encodable = {
        name: value
        for name, value in fields.items()
        if not any("\ud800" <= sign <= "\udfff" for sign in name + value) and "\0" not in value
    }
    assert params.form(urlencode(encodable).encode()) == encodable


@pytest.mark.attack("L-18")
def test_a_nul_is_in_nothing_but_secrets():
    for name in ("username", "client_id", "scope", "anything"):
        with pytest.raises(InvalidRequest):
            params.form(urlencode({name: "a\0b"}).encode())
    for name in ("password", "client_secret", "token", "refresh_token"):
        assert params.form(urlencode({name: "a\0b"}).encode()) == {name: "a\0b"}


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(body):
    try:
        fields = params.form(body)
    except InvalidRequest:
        return
    assert all(value for value in fields.values())


@given(
    st.dictionaries(
        st.sampled_from(
            ["grant_type", "username", "password", "scope", "refresh_token", "resource"]
        ),
        st.one_of(
            st.sampled_from(["password", "refresh_token", "client_credentials", "me"]), st.text()
        ),
    )
)
def test_an_ask_is_whole_or_refused(fields):
    try:
        ask = params.token_ask({name: value for name, value in fields.items() if value})
    except OAuthError:
        return
    assert ask.grant_type == fields.get("grant_type", "password") or not fields.get("grant_type")
    required = {"password": ("username", "password"), "refresh_token": ("refresh_token",)}
    for name in required.get(ask.grant_type, ()):
        assert getattr(ask, name) == fields[name]


def test_each_grant_type_has_its_class():
    login = {"username": "johndoe", "password": "secret", "scope": "me items"}
    assert params.token_ask(login) == params.token_ask({**login, "grant_type": "password"})
    ask = params.token_ask(login)
    assert isinstance(ask, PasswordAsk)
    assert (ask.username, ask.password, ask.scope) == ("johndoe", "secret", ("me", "items"))
    ask = params.token_ask({"grant_type": "refresh_token", "refresh_token": "x"})
    assert ask == RefreshAsk("x", ask.scope)
    ask = params.token_ask({"grant_type": "client_credentials", "resource": "api"})
    assert ask == ClientCredentialsAsk(ask.scope, "api")


@pytest.mark.attack("T-28", "L-21")
@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({}, InvalidRequest),
        ({"password": "x"}, InvalidRequest),
        ({"username": "x"}, InvalidRequest),
        ({"grant_type": "password", "username": "x"}, InvalidRequest),
        ({"grant_type": "password", "password": "x"}, InvalidRequest),
        ({"grant_type": "refresh_token"}, InvalidRequest),
        ({"grant_type": "PASSWORD"}, UnsupportedGrantType),
        ({"grant_type": "password "}, UnsupportedGrantType),
        ({"grant_type": "implicit"}, UnsupportedGrantType),
        ({"grant_type": "client_credentials", "scope": 'a"b'}, InvalidScope),
        ({"grant_type": "client_credentials", "scope": "a  b"}, InvalidScope),
        ({"username": "x" * 256, "password": "x"}, InvalidRequest),
        ({"username": "a\0b", "password": "x"}, InvalidRequest),
        ({"username": "a\nb", "password": "x"}, InvalidRequest),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 8193}, InvalidRequest),
        ({"grant_type": "refresh_token", "refresh_token": "\u00e9"}, InvalidRequest),
        ({"grant_type": "refresh_token", "refresh_token": "a\tb"}, InvalidRequest),
    ],
)
def test_what_is_missing_or_odd_has_its_own_code(fields, refusal):
    with pytest.raises(refusal) as raised:
        params.token_ask(fields)
    assert type(raised.value) is refusal


def test_a_login_shows_neither_name_nor_password():
    ask = params.token_ask({"username": "hunter2", "password": "hunter3"})
    assert "hunter" not in repr(ask)
    ask = params.token_ask({"grant_type": "refresh_token", "refresh_token": "wwr_x"})
    assert "wwr_" not in repr(ask)


def test_a_token_may_look_like_anything_but_nothing():
    assert params.token_parameter({"token": "\0\ud83d"}) == "\0\ud83d"
    with pytest.raises(InvalidRequest, match="token is missing"):
        params.token_parameter({})


def test_what_is_asked_of_the_log():
    assert params.log_ask({}) == params.LogAsk(0, 0, 0.0, None)
    asked = {"after": "42", "epoch": "7", "wait": "2.5", "within": "0", "else": "x"}
    assert params.log_ask(asked) == params.LogAsk(42, 7, 2.5, 0.0)
    assert params.log_ask({"wait": "3600"}).wait == params.LONGEST_WAIT == 30
    for name in ("after", "epoch", "wait", "within"):
        for value in ("-1", "+1", "1e3", "0x1", "nan", "inf", " 1", "1_0", "\u0661", "9" * 19):
            with pytest.raises(InvalidRequest, match=f"{name} is not a number"):
                params.log_ask({name: value})

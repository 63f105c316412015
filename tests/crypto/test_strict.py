"""One spelling of every text: base64url and JSON."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword.crypto import strict
from watchword.crypto.strict import MAX_DEPTH, Malformed, decode64, encode64, json_object

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.binary(max_size=70))
def test_base64url_there_and_back(raw: bytes) -> None:
    segment = encode64(raw)
    assert segment == base64.urlsafe_b64encode(raw).rstrip(b"=")
    assert decode64(segment) == raw


@settings(deadline=None)
@given(st.binary(max_size=9))
def test_whatever_decodes_has_no_other_spelling(segment: bytes) -> None:
    try:
        raw = decode64(segment)
    except Malformed:
        return
    assert encode64(raw) == segment


@pytest.mark.parametrize(
    "segment",
    [
        b"QQ=",
        b"QQ==",
        b"QR",
        b"QUJ",
        b"A",
        b"QUJDR",
        b" QQ",
        b"QQ\n",
        b"Q Q",
        b"Q?Q",
        b"+/+/",
        b"\xc3\xbcQQ",
        b"QQ\0",
        b"=",
        b"====",
    ],
)
def test_other_spellings_are_refused(segment: bytes) -> None:
    with pytest.raises(Malformed):
        decode64(segment)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_both_readers_agree(value: dict[str, object]) -> None:
    compact = msgspec.json.encode(value)
    assert json_object(compact) == value == strict._slowly(compact, shallow=False)
    for spaced in (
        json.dumps(value, ensure_ascii=False).encode(),
        json.dumps(value, indent=1).encode(),
    ):
        assert json_object(spaced) == value


@settings(deadline=None)
@given(
    st.text(alphabet='{}[]",:\\u0019dD8e.-+ ntrfalsb', max_size=24).map(
        lambda text: b'{"a":' + text.encode() + b"}"
    )
)
def test_the_fast_reader_admits_nothing_that_the_slow_one_refuses(raw: bytes) -> None:
    try:
        fast: object = json_object(raw)
    except Malformed:
        fast = Malformed
    try:
        slow: object = strict._slowly(raw, shallow=False)
    except Malformed:
        slow = Malformed
    assert fast == slow


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b"{}x",
        b"{} {}",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":[{"b":1,"b":2}]}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e400}',
        b'{"a":-1e400}',
        b'{"a":' + b"9" * 400 + b"}",
        b'{"a":-' + b"9" * 20 + b"}",
        b'{"a":[' + b"9" * 5000 + b"]}",
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":0x10}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":["\\ud800x\\udc00"]}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"line\nbreak"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-32"),
        b"\x00" + b"{}",
        b'{"a":' * 12000,
        b'{"a":' + b"[" * 12000,
        b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
    ],
)
def test_what_is_not_strictly_an_object_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        json_object(raw)
    assert str(caught.value).isascii() and len(str(caught.value)) < 40


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b' {"a" : 1} ',
        b'{"a":9223372036854775807}',
        b'{"a":-9223372036854775808}',
        b'{"a":0.12345678901234567890123}',
        b'{"a":1e308}',
        b'{"a":"99999999999999999999999"}',
        b'{"a":"\\ud83d\\ude00\\u0000"}',
        b'{"a":"\xf0\x9f\x98\x80"}',
        b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}",
        b'{"a":[' + b",".join([b"{}"] * 200) + b"]}",
    ],
)
def test_an_unusual_but_honest_object_is_read(raw: bytes) -> None:
    assert json_object(raw) == json.loads(raw)

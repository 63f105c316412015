"""Base64url and JSON as a token may spell them: one spelling each, anything else refused.

A lenient reader lets two parties read two things out of one signed text (RFC 8725
sections 2.6 and 3.7), or lets a revoked token live on in another spelling.
"""

from __future__ import annotations

import binascii
import json
import math
from typing import Any

import msgspec

MAX_DEPTH = 32
"""Objects and arrays inside each other; an honest token has three or four."""

_MAX_DIGITS = 19  # of an integer: holds any 64-bit number, and never a float overflow

_TO_STANDARD = bytes.maketrans(b"-_+/", b"+/\xff\xff")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", b"===", b"==", b"=")

_SHAPE = bytes(48 if chr(byte).isdigit() else 123 if byte in b"[{" else 32 for byte in range(128))
_SHAPE += bytes(128)
_LONG_NUMBER = b"0" * (_MAX_DIGITS + 1)


class Malformed(ValueError):
    """The text is not of the strict form; the message is a constant, never the text."""


def encode64(raw: bytes) -> bytes:
    """Base64url without padding (RFC 7515 section 2)."""
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=").translate(_TO_URL)


def decode64(segment: bytes) -> bytes:
    """The inverse of `encode64`, for exactly what `encode64` can have written.

    Raises:
        Malformed: padding, foreign characters, or trailing bits that are not zero.
    """
    standard = segment.translate(_TO_STANDARD)
    try:
        raw = binascii.a2b_base64(standard + _PADDING[len(standard) % 4])
    except binascii.Error:
        raise Malformed("not base64url") from None
    # writing it again is the whole check: the decoder skips what it does not know
    if binascii.b2a_base64(raw, newline=False).rstrip(b"=") != standard:
        raise Malformed("not canonical base64url")
    return raw


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8, without duplicate members at any depth.

    Raises:
        Malformed: also for NaN and infinities, numbers beyond a float or of 20 digits
            and more, lone surrogates, and nesting deeper than `MAX_DEPTH`.
    """
    shape = raw.translate(_SHAPE)
    shallow = shape.count(b"{") <= MAX_DEPTH
    if shallow and _LONG_NUMBER not in shape:
        # Most tokens were written as msgspec writes. If writing the result again gives
        # the same bytes, no member was lost on the way, so none came twice.
        try:
            value = _DECODER.decode(raw)
            if _ENCODER.encode(value) == raw:
                return value
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # the slow reader decides
    return _slowly(raw, shallow=shallow)


def _slowly(raw: bytes, *, shallow: bool) -> dict[str, Any]:
    try:
        # decoded here: given bytes, the library would guess UTF-16 and UTF-32 (RFC 8725 3.7)
        value = _STRICT.decode(raw.decode("utf-8"))
    except Malformed:
        raise
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    if not shallow and _depth(value) > MAX_DEPTH:
        raise Malformed("nested too deep")
    if b"\\u" in raw and not _encodable(value):
        raise Malformed("lone surrogate")
    return value


def _depth(value: object) -> int:
    """How many containers lie inside each other; level by level, so it cannot overflow."""
    depth, level = 0, [value]
    while level := [node for node in level if isinstance(node, dict | list)]:
        depth += 1
        level = [
            child for node in level for child in (node.values() if isinstance(node, dict) else node)
        ]
    return depth


def _encodable(value: object) -> bool:
    """Whether every text in `value` can be written as UTF-8 further on."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise Malformed("duplicate member")  # RFC 7515 section 4, RFC 7519 section 4
    return value


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise Malformed("number too long")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Malformed("number too large")
    return number


def _constant(_: str) -> float:
    raise Malformed("not a JSON number")


_STRICT = json.JSONDecoder(
    object_pairs_hook=_once,
    parse_int=_integer,
    parse_float=_finite,
    parse_constant=_constant,
)
_DECODER = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()

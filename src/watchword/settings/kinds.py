"""How a setting is written: times, lists of words, and the form in which each is declared."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^/@\s]*(?=@)|((?<=[?&])(?:ssl)?password=)[^&\s]*")


def seconds(value: object) -> object:
    """`10m`, `30d`, `45` (seconds) or a timedelta, as seconds."""
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError("write a number and a unit: 30s, 10m, 12h, 90d")
        return float(found[1]) * _UNITS[found[2] or "s"]
    return value


def _words(value: object) -> object:
    if isinstance(value, str):
        return tuple(word for word in re.split(r"[\s,]+", value) if word)
    return value


Seconds = Annotated[float, BeforeValidator(seconds)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


def option(default: Any, why: str, *, group: str, **bounds: Any) -> Any:
    """A setting: its default, its reason (the manual is made of these), its group."""
    return Field(default, description=why, json_schema_extra={"group": group}, **bounds)


def without_passwords(url: str) -> str:
    """A database's URL as people and logs may see it."""
    return _PASSWORD.sub(r"\1\2***", url)

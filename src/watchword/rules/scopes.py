"""Scopes: what a token may do, as an ordered set of exact words.

A scope is a word, never a pattern: `readwrite` is not `read`, and case counts
(RFC 6749 section 3.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from watchword.errors import InsufficientScope, InvalidScope

# RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_MOST = 100


def well_formed(name: str) -> bool:
    """Whether `name` is a scope-token of RFC 6749 section 3.3."""
    return bool(_TOKEN.fullmatch(name))


class Scopes(tuple[str, ...]):
    """Scope names in the order they were asked for, each once."""

    __slots__ = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> Scopes:
        """The names in order, without repeats."""
        return cls(dict.fromkeys(names))

    @classmethod
    def parse(cls, text: str | None) -> Scopes:
        """Read a `scope` parameter; absent and empty are the same (RFC 6749 section 3.1).

        Raises:
            InvalidScope: a character outside the grammar, or more names than any honest request.
        """
        if not text:
            return cls()
        names = text.split(" ")
        if len(names) > _MOST or not all(well_formed(name) for name in names):
            raise InvalidScope("The scope is malformed.")
        return cls.of(names)

    def within(self, allowed: Iterable[str]) -> Scopes:
        """Those of these that are also in `allowed`."""
        kept = frozenset(allowed)
        return Scopes(name for name in self if name in kept)

    def narrowed_to(self, ask: Scopes) -> Scopes:
        """What a refresh asks for, never beyond what was granted (RFC 6749 section 6).

        Raises:
            InvalidScope: something asked for was not granted.
        """
        if not ask:
            return self
        if beyond := ask.beyond(self):
            raise InvalidScope("The grant does not include this scope.", detail=str(beyond))
        return ask

    def beyond(self, allowed: Iterable[str]) -> Scopes:
        """Those of these that are not in `allowed`."""
        kept = frozenset(allowed)
        return Scopes(name for name in self if name not in kept)

    def must_include(self, needed: Iterable[str]) -> None:
        """Refuse unless every needed scope is here.

        Raises:
            InsufficientScope: names everything that is needed (RFC 6750 section 3.1).
        """
        missing = Scopes.of(needed).beyond(self)
        if missing:
            raise InsufficientScope(lacks(missing), scopes=tuple(needed))

    def __str__(self) -> str:
        return " ".join(self)


NONE = Scopes()


def lacks(missing: Iterable[str]) -> str:
    """The sentence for a token that lacks scopes."""
    names = [f'"{name}"' for name in missing]
    return f"The access token lacks the scope{'s' if len(names) > 1 else ''} {', '.join(names)}."


def expanded(patterns: Iterable[str], declared: Iterable[str]) -> Scopes:
    """A role's scopes: each pattern may end in `*`; wildcards live in roles, never in tokens."""
    known = list(declared)
    return Scopes.of(
        name
        for pattern in patterns
        for name in known
        if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))
    )

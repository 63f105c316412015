"""Whom a test signs in, and what makes the token for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from watchword.crypto.secrets import digest
from watchword.guard import Guard
from watchword.rules.clients import USER_PREFIX
from watchword.rules.logins import folded
from watchword.rules.scopes import Scopes
from watchword.seams import Account

PEER = ("127.0.0.1", 50_000)  # where a test's requests come from


@dataclass(frozen=True, slots=True)
class Ask:
    """Whom a test signs in: a person, or else a client for itself.

    `scopes` is None where the test named none. `more` are fields of `Account`. With a
    `password` the person can sign in for themselves, too.
    """

    who: str | Account | None
    client: str | None
    scopes: Scopes | None
    password: str | None = field(default=None, repr=False)
    more: dict[str, Any] = field(default_factory=dict)

    def account(self, now: float) -> Account:
        """The person, with all that was asked for.

        Raises:
            TypeError: neither a login nor an account, or no such field.
        """
        asked = self.scopes or Scopes()
        if isinstance(self.who, Account):
            return replace(
                self.who, **{"scopes": Scopes.of([*self.who.scopes, *asked]), **self.more}
            )
        if not isinstance(self.who, str):
            raise TypeError(f"sign in a login or an Account, not a {type(self.who).__name__}")
        made = Account(
            sub=USER_PREFIX + digest(folded(self.who))[:20],
            username=self.who,
            email=self.who if "@" in self.who else None,
            scopes=asked,
            created_at=now,
        )
        return replace(made, **self.more)


class Issuer(Protocol):
    """Makes access tokens that a guard of the app accepts."""

    name: str
    guard: Guard

    async def token(self, ask: Ask) -> str:
        """An access token for whom the test asks.

        Raises:
            ConfigError: nobody could have one.
        """
        ...


def origin(url: str) -> str:
    """Scheme and host of a URL; a test's own host where it is none."""
    parts = urlsplit(url)
    web = parts.scheme in ("https", "http") and parts.netloc
    return f"{parts.scheme}://{parts.netloc}" if web else "http://testserver"

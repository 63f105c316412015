"""The issuer that a guard trusts, played for one test.

Its key lives as long as the run and reaches the guard in place of the published key set,
so everything that a guard checks is checked, and nothing is asked of a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from watchword.crypto import jose
from watchword.crypto.jwk import SigningKey, new_private_key, thumbprint
from watchword.crypto.secrets import fresh
from watchword.guard import Guard
from watchword.rules import claims
from watchword.seams import Account
from watchword.testing.asking import Ask

_LIFE = 600.0  # seconds that a token lives
_PREFERENCE = ("ES256", "Ed25519", "PS256", "RS256")  # the cheapest first


@contextmanager
def other_issuer(guard: Guard, now: Callable[[], float]) -> Iterator[OtherIssuer]:
    """The issuer that a guard trusts, played for one test."""
    document: dict[str, Any] = {}

    async def documents(url: str) -> dict[str, Any]:
        del url  # one document says everything: who the issuer is, and its keys
        return document

    with guard.offline(now, documents) as (expected, algorithms):
        alg = next(alg for alg in _PREFERENCE if alg in algorithms)
        issuer = OtherIssuer(guard, expected.issuer, expected.audience or "", _own_key(alg), now)
        document |= issuer.document
        yield issuer


class OtherIssuer:
    """Signs as the issuer that a guard trusts, with a key of this run."""

    def __init__(
        self, guard: Guard, name: str, audience: str, key: SigningKey, now: Callable[[], float]
    ) -> None:
        self.guard = guard
        self.name = name
        self._audience = audience
        self._key = key
        self._now = now

    @property
    def document(self) -> dict[str, Any]:
        """Metadata (RFC 8414 section 2) and key set (RFC 7517 section 5) in one."""
        return {
            "issuer": self.name,
            "jwks_uri": f"{self.name.rstrip('/')}/jwks",
            "keys": [dict(self._key.public().jwk)],
        }

    async def token(self, ask: Ask) -> str:
        """A token of the form that most issuers write (RFC 9068 section 2.2)."""
        now = self._now()
        account = ask.account(now) if ask.client is None else None
        content = {
            "iss": self.name,
            "sub": account.sub if account else ask.client,
            "aud": self._audience,
            "client_id": ask.client or "watchword-tests",
            "scope": str((account.scopes if ask.scopes is None and account else ask.scopes) or ""),
            "jti": fresh("jti").clear,
            "iat": int(now),
            "exp": int(now + _LIFE),
        }
        if account is not None:
            content |= {"auth_time": int(now), **_described(account)}
        return jose.sign(content, self._key, claims.TYP)


def _described(account: Account) -> dict[str, Any]:
    """Who the token is about; roles in every place where a preset may look for them."""
    roles = list(account.roles)
    told = {
        "preferred_username": account.username,
        "email": account.email,
        "name": account.name,
        "roles": roles,
        "realm_access": {"roles": roles},
        "cognito:groups": roles,
        **account.claims,
    }
    return {name: value for name, value in told.items() if value}


@cache
def _own_key(alg: str) -> SigningKey:
    private = new_private_key(alg)
    return SigningKey(thumbprint(private.public_key()), alg, private)

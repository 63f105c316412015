"""Clients: who may ask, by which grants, for which scopes and resources.

A client speaks for itself with an id that no user has: user subjects and client
ids live in disjoint spaces (RFC 9700 section 4.15).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from watchword.errors import InvalidGrant, InvalidScope, InvalidTarget, UnauthorizedClient
from watchword.rules.scopes import Scopes

FIRST_PARTY = "watchword"  # the built-in client of the tutorial's calls
USER_PREFIX = "u_"
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
AUTH_METHODS = ("none", "client_secret_basic", "client_secret_post", "client_secret")


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client.

    `secrets` are SHA-256 digests of 256-bit random secrets, two at most while one is
    being rotated. `auth_method` "client_secret" allows both Basic and post.
    `introspects` lists the resources whose tokens it may look into.
    """

    id: str
    name: str
    auth_method: str
    grants: frozenset[str]
    scopes: Scopes
    secrets: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    introspects: tuple[str, ...] = ()
    disabled: bool = False
    created_at: float = 0.0
    seen_rev: int = 0  # the revocation log's position in the snapshot it was read from

    @property
    def is_public(self) -> bool:
        """Whether it has no credentials of its own (RFC 6749 section 2.1)."""
        return self.auth_method == "none"

    @property
    def is_first_party(self) -> bool:
        """Whether it is the built-in client of the tutorial's calls."""
        return self.id == FIRST_PARTY

    def must_be_allowed(self, grant_type: str) -> None:
        """Refuse a grant type this client was not registered for, or can never have.

        Raises:
            UnauthorizedClient: RFC 6749 section 5.2.
        """
        never = (
            # RFC 9700 section 2.4: nobody's password passes through a third party
            (grant_type == "password" and not self.is_first_party)
            # RFC 6749 section 4.4: a client without credentials cannot speak for itself
            or (grant_type == "client_credentials" and self.is_public)
        )
        if never or grant_type not in self.grants:
            raise UnauthorizedClient("This client may not use this grant type.")

    def must_differ_from(self, subject: str) -> None:
        """Refuse a user called like this client, who could pass for it (RFC 9700 section 4.15).

        Raises:
            InvalidGrant: subject and client id are equal.
        """
        if subject == self.id:
            raise InvalidGrant("The user cannot use this client.", detail="subject is client id")

    def scopes_for(self, ask: Scopes) -> Scopes:
        """The scopes a client gets for itself: what it asks, or all it may have.

        Raises:
            InvalidScope: it asked beyond its ceiling.
        """
        if beyond := ask.beyond(self.scopes):
            raise InvalidScope("The client may not have this scope.", detail=str(beyond))
        return ask or self.scopes

    def audience_for(self, resource: str | None, default: str) -> str:
        """The resource a token is for (RFC 8707 section 2).

        Raises:
            InvalidTarget: not one of this client's resources.
        """
        allowed = self.resources or (default,)
        if resource is None:
            return allowed[0]
        if resource not in allowed:
            raise InvalidTarget("This client may not have tokens for this resource.")
        return resource


def usable_id(client_id: str) -> bool:
    """Whether a chosen id is plain enough for every encoder and cannot be a user's subject."""
    return bool(_ID.fullmatch(client_id)) and not client_id.startswith(USER_PREFIX)

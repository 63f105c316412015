"""Refresh tokens.

A grant has one row and a chain of refresh tokens; a token is the grant's id, a
generation number and a MAC. Only the newest generation works. Presenting an
older one means that two parties hold the chain, so the grant ends (RFC 9700
section 4.14.2), with one exception: right after a rotation the answer may have
been lost, or a second tab may have asked at the same moment, so inside a short
window the *same* successor is answered again. No second lineage is ever minted,
therefore the window hides no thief for longer than itself.

The store decides which generation is newest, because only it sees both parties;
it calls `judged` on the row that it holds locked.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from watchword.rules.scopes import Scopes

FURTHEST_HEAL = 1000  # generations a database that lost its tail is moved forward


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A presented refresh token whose MAC was good; `proof` is SHA-256 of its secret part."""

    grant_id: bytes
    generation: int
    proof: bytes
    client_id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user allowed a client: one row, the unit of revocation.

    `opened_rev` is the revocation log's position when it was opened; times are Unix
    seconds.
    """

    id: bytes
    user_id: str
    client_id: str
    scopes: Scopes
    audience: str
    generation: int
    rotated_at: float
    proof: bytes
    opened_rev: int
    auth_time: float
    created_at: float
    idle_until: float
    expires_at: float
    revoked_seq: int | None = None
    owner_is_dead: bool = False  # the user or client is disabled, or signed out since

    def lives(self, now: float) -> bool:
        """Whether it may still mint tokens."""
        return (
            self.revoked_seq is None
            and not self.owner_is_dead
            and now < self.expires_at
            and now < self.idle_until
        )


class Standing(enum.Enum):
    """How a presented refresh token stands to its grant."""

    FORGED = "forged"  # right MAC, other secret part: never one of ours
    DEAD = "dead"  # the grant has ended or expired
    NEWEST = "newest"
    JUST_SPENT = "just spent"  # inside the window: the same successor again
    REUSED = "reused"  # two parties hold the chain
    AHEAD = "ahead"  # the database lost its tail; move it forward
    TOO_FAR = "too far"


def judged(token: RefreshToken, grant: Grant, now: float, window: float) -> Standing:
    """Classify a presented token against the locked row (`window` in seconds)."""
    if token.proof != grant.proof or token.client_id != grant.client_id:
        return Standing.FORGED
    if not grant.lives(now):
        return Standing.DEAD
    ahead = token.generation - grant.generation
    if ahead == 0:
        return Standing.NEWEST
    if ahead > 0:
        return Standing.AHEAD if ahead <= FURTHEST_HEAL else Standing.TOO_FAR
    # A clock that went back must not revive anything: the difference counts both ways.
    fresh = abs(now - grant.rotated_at) <= window
    if ahead == -1 and fresh:
        return Standing.JUST_SPENT
    return Standing.REUSED

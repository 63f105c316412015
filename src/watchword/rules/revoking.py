"""Does a revocation concern this token?

The token carries `rev`, the log's position when it was minted: every revocation up
to it was taken into account then. So a revocation of a user ends the tokens minted
before it and no later one, without comparing clocks: signing in again works at
once, in the very same second.
"""

from __future__ import annotations

import hashlib

from watchword.rules.access import AccessToken

# Seconds that a revocation is remembered beyond its end: where a clock leaps forward and
# comes back, tokens that had run out live again, and what ended them must still be known.
GRACE = 3600.0
# Seconds that an access token may live at most, whatever a process is told its life is: who
# revokes (the command line, a server whose setting was just shortened) need not be who minted.
LONGEST_LIFE = 86_400.0
BY_POSITION = ("user", "client", "all")  # dead if minted before the entry
OUTRIGHT = ("grant", "jti")  # dead whenever named


def key8(kind: str, name: str) -> int:
    """The log's name for something: the first eight bytes of SHA-256 over kind and id,
    as a signed number (both databases keep those). Two names meet with a chance of
    2**-64; then the token is refused, never accepted."""  # noqa: D205, D209
    digest = hashlib.sha256(f"{kind}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


_ALL = "all", key8("all", "")


def names(token: AccessToken) -> tuple[tuple[str, int], ...]:
    """What the log could name this token by."""
    found = [
        _ALL,
        ("user", key8("user", token.sub)),
        ("client", key8("client", token.client_id)),
    ]
    if token.fid is not None:
        found.append(("grant", key8("grant", token.fid)))
    if token.jti is not None:
        found.append(("jti", key8("jti", token.jti)))
    return tuple(found)

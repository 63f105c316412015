"""What goes into an access token (RFC 9068 section 2.2), and what an app may add to it."""

from __future__ import annotations

from collections.abc import Mapping

from watchword.errors import ConfigError
from watchword.rules.scopes import Scopes

TYP = "at+jwt"  # RFC 9068 section 2.1
TYPES = frozenset({TYP})

DEV_KID = "dev-"  # begins the names of development's keys; no production guard accepts them

_PROTOCOL = """
    iss sub aud exp nbf iat jti client_id scope auth_time acr amr azp cnf act may_act sid fid rev
    roles typ nonce at_hash c_hash events authorization_details
"""
RESERVED = frozenset(_PROTOCOL.split())


def access(
    *,
    issuer: str,
    subject: str,
    client_id: str,
    audience: str,
    scopes: Scopes,
    jti: str,
    now: float,
    ttl: float,
    rev: int,
    fid: str | None = None,
    auth_time: float | None = None,
    roles: tuple[str, ...] = (),
    extra: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The claims of one access token; `rev` is the log position seen when it was minted.

    Raises:
        ConfigError: `extra` names a reserved claim.
    """
    claims: dict[str, object] = {
        "iss": issuer,
        "sub": subject,
        "aud": [audience],
        "client_id": client_id,
        "scope": str(scopes),
        "jti": jti,
        "iat": int(now),
        "exp": int(now + ttl),
        "rev": rev,
    }
    if fid is not None:
        claims["fid"] = fid
    if auth_time is not None:
        claims["auth_time"] = int(auth_time)
    if roles:
        claims["roles"] = list(roles)
    if extra:
        claims.update(addable(extra))
    return claims


def addable(extra: Mapping[str, object]) -> Mapping[str, object]:
    """The claims an app adds, none of them reserved: an app may add, never replace.

    Raises:
        ConfigError: it names a reserved claim, so that the mistake is seen, not dropped.
    """
    if taken := sorted(RESERVED.intersection(extra)):
        raise ConfigError(
            f"A claims function returned {', '.join(taken)}.",
            why="these claims are what guards decide by; only the server sets them",
            fix="return the value under a name of your own",
        )
    return extra

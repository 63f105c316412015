"""Is this access token meant for us, now?

The signature has been checked when these rules run; here the *claims* are judged
(RFC 9068 section 4). Every claim has one type, and a claim of another type is a
refusal, never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from watchword.errors import InvalidToken
from watchword.rules.scopes import Scopes

LEEWAY = 30.0  # seconds of clock difference forgiven; 60 is the most that is safe
_LONGEST = 1024
_MOST_AUDIENCES = 32


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A verified access token: who, by which client, allowed to do what, until when.

    Times are Unix seconds. `fid` names the grant the token belongs to, `rev` the
    position of the revocation log when it was minted; tokens of other issuers have
    neither.
    """

    sub: str
    client_id: str
    scopes: Scopes
    issuer: str
    audience: tuple[str, ...]
    expires_at: float
    claims: Mapping[str, Any] = field(repr=False)
    issued_at: float | None = None
    auth_time: float | None = None
    acr: str | None = None
    sid: str | None = None
    jti: str | None = None
    roles: tuple[str, ...] = ()
    fid: str | None = None
    rev: int | None = None
    kind: str = "jwt"
    machine: bool = False

    @property
    def is_client(self) -> bool:
        """Whether a client speaks for itself, without a user (RFC 9068 section 2.2)."""
        return self.machine or self.sub == self.client_id


ClaimReader = Callable[[Mapping[str, Any]], tuple[str, ...]]


def scope_claim(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The `scope` claim: one string of names split at single spaces (RFC 9068 section 2.2.3)."""
    text = claims.get("scope", "")
    if not isinstance(text, str):
        raise _refused("scope is not a string")
    return tuple(name for name in text.split(" ") if name)


def roles_claim(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The `roles` claim (RFC 9068 section 2.2.3.1)."""
    return string_list(claims.get("roles"))


def aud_claim(claims: Mapping[str, Any]) -> object:
    """The `aud` claim: one string or a list of them (RFC 7519 section 4.1.3)."""
    return claims.get("aud")


def string_list(value: object) -> tuple[str, ...]:
    """The strings of a list; anything else is none."""
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value if isinstance(item, str))


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a guard expects of a token.

    Args:
        issuer: compared byte for byte.
        audience: the resource this guard protects; None where the caller judges it.
        shared_audience: whether a token for us *and* others is accepted.
        scopes_of: reads the scopes; issuers put them in different places.
        roles_of: reads the roles.
        audience_of: reads the audience.
        is_access: whether the claims are an access token's; issuers that write every
            token with the same `typ` tell their kinds apart there.
        is_machine: whether a client speaks for itself, where `sub` does not tell.
        strict: whether RFC 9068's required claims must all be there (our own tokens).
        positioned: whether `rev` is a position of a log that is followed, where it is a number.
    """

    issuer: str
    audience: str | None
    shared_audience: bool = False
    scopes_of: ClaimReader = scope_claim
    roles_of: ClaimReader = roles_claim
    audience_of: Callable[[Mapping[str, Any]], object] = aud_claim
    is_access: Callable[[Mapping[str, Any]], bool] = lambda _: True
    is_machine: Callable[[Mapping[str, Any]], bool] = lambda _: False
    strict: bool = True
    positioned: bool = False


def judged(claims: Mapping[str, Any], expected: Expectation, now: float) -> AccessToken:
    """The token these claims describe.

    Raises:
        InvalidToken: they are malformed, out of their time, or not meant for us.
    """
    if claims.get("iss") != expected.issuer:  # RFC 9068 section 4: exact comparison
        raise _refused("wrong issuer")
    if not expected.is_access(claims):  # RFC 8725 section 3.12
        raise _refused("not an access token")
    audience = _audience_for_us(claims, expected)
    expires_at = _time(claims, "exp")
    if expires_at is None:
        raise _refused("no exp")
    if now >= expires_at + LEEWAY:  # RFC 7519 section 4.1.4: on or after is expired
        raise _refused("expired")
    for early in ("nbf", "iat"):
        starts = _time(claims, early)
        if starts is not None and starts > now + LEEWAY:
            raise _refused(f"{early} is in the future")
    subject = _text(claims, "sub")
    client_id = _text(claims, "client_id") or _text(claims, "azp")
    jti = _text(claims, "jti")
    if subject is None or (expected.strict and (client_id is None or jti is None)):
        raise _refused("a required claim is missing")
    rev = _position(claims, expected)
    if claims.get("cnf") is not None:
        # Bound to a key that nobody has shown: as a bearer token it is a stolen one
        # (RFC 9449 section 7.1, RFC 8705 section 3).
        raise _refused("bound to a key, and sent as a bearer token")
    return AccessToken(
        sub=subject,
        client_id=client_id or "",
        scopes=Scopes.of(expected.scopes_of(claims)),
        issuer=expected.issuer,
        audience=audience,
        expires_at=expires_at,
        claims=MappingProxyType(dict(claims)),
        issued_at=_time(claims, "iat"),
        auth_time=_time(claims, "auth_time"),
        acr=_text(claims, "acr"),
        sid=_text(claims, "sid"),
        jti=jti,
        roles=expected.roles_of(claims),
        fid=_text(claims, "fid"),
        rev=rev,
        machine=expected.is_machine(claims),
    )


def _refused(detail: str) -> InvalidToken:
    return InvalidToken("The access token is not valid.", detail=detail)


def _audience_for_us(claims: Mapping[str, Any], expected: Expectation) -> tuple[str, ...]:
    audience = _audience(expected.audience_of(claims))
    if expected.audience is not None:
        alone = len(audience) == 1 or expected.shared_audience
        if expected.audience not in audience or not alone:
            raise _refused("wrong audience")
    return audience


def _audience(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    listed = string_list(value)
    if not listed or len(listed) > _MOST_AUDIENCES or len(listed) != len(cast("list[Any]", value)):
        raise _refused("aud is malformed")
    return listed


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2); `true` and infinity are not numbers here."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(f"{name} is not a number")
    try:
        seconds = float(value)
    except OverflowError:
        raise _refused(f"{name} is out of range") from None
    if not math.isfinite(seconds) or not 0 <= seconds < 2**53:
        raise _refused(f"{name} is out of range")
    return seconds


def _position(claims: Mapping[str, Any], expected: Expectation) -> int | None:
    rev = claims.get("rev") if expected.strict or expected.positioned else None
    if isinstance(rev, int) and not isinstance(rev, bool):
        return rev
    if expected.strict:
        raise _refused("rev is not a number")
    return None


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise _refused(f"{name} is not a usable string")
    return value

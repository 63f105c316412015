"""What may go wrong on the wire: one class per code.

A class *is* its code and its status; `why` is sent to the caller, `detail` goes to
the log only. One function per door turns an error into HTTP (protocol endpoints in
`endpoints/answers.py`, guarded routes in `guard/bearer.py`).
"""

from __future__ import annotations

import math
from typing import ClassVar


class WatchwordError(Exception):
    """Anything Watchword raises on purpose."""


class ConfigError(WatchwordError):
    """A setting or a declaration that cannot work; says what, why and how to fix it."""

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        self.what = what
        self.why = why
        self.fix = fix
        lines = [what]
        if why:
            lines.append(f"why: {why}")
        if fix:
            lines.append(f"fix: {fix}")
        super().__init__("\n  ".join(lines))


def whole_seconds(seconds: float) -> int:
    """A wait as headers say it (RFC 9110 section 10.2.3): 0 would invite a busy loop."""
    return max(1, math.ceil(seconds))


class OAuthError(WatchwordError):
    """A refusal with an OAuth error code (RFC 6749 section 5.2, RFC 6750 section 3.1).

    Args:
        why: one sentence for the caller (`error_description`); never a secret.
        detail: for the log only.
        retry_after: seconds after which trying again may work.
    """

    code: ClassVar[str] = "server_error"
    status: ClassVar[int] = 500
    number: ClassVar[str] = "WW-500"

    def __init__(
        self, why: str = "", *, detail: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(why)
        self.why = why
        self.detail = detail
        self.retry_after = retry_after

    @property
    def waiting(self) -> dict[str, str]:
        """The headers that say when to come back, at whichever door."""
        if self.retry_after is None:
            return {}
        return {"Retry-After": str(whole_seconds(self.retry_after))}


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated, or not of its form (RFC 6749 section 5.2)."""

    code, status, number = "invalid_request", 400, "WW-101"


class InvalidClient(OAuthError):
    """Client authentication failed (RFC 6749 section 5.2); 401.

    Args:
        challenge: whether Basic was tried, so that the answer names the scheme.
    """

    code, status, number = "invalid_client", 401, "WW-102"

    def __init__(self, why: str = "", *, detail: str = "", challenge: bool = False) -> None:
        super().__init__(why, detail=detail)
        self.challenge = challenge


class InvalidGrant(OAuthError):
    """The code, refresh token or password is not good (any more)."""

    code, status, number = "invalid_grant", 400, "WW-103"


class BadCredentials(InvalidGrant):
    """The password login failed, for whatever reason: one answer for all of them."""

    status, number = 401, "WW-104"


class UnauthorizedClient(OAuthError):
    """This client may not use this grant type."""

    code, status, number = "unauthorized_client", 400, "WW-105"


class UnsupportedGrantType(OAuthError):
    """No exchange by this name is on."""

    code, status, number = "unsupported_grant_type", 400, "WW-106"


class InvalidScope(OAuthError):
    """The scope is malformed, unknown, or beyond what may be granted."""

    code, status, number = "invalid_scope", 400, "WW-107"


class InvalidTarget(OAuthError):
    """The resource is unknown or not allowed for this client (RFC 8707 section 2)."""

    code, status, number = "invalid_target", 400, "WW-108"


class UnsupportedMediaType(OAuthError):
    """The body is not `application/x-www-form-urlencoded`."""

    code, status, number = "invalid_request", 415, "WW-109"


class TooLarge(OAuthError):
    """The body is larger than any honest request."""

    code, status, number = "invalid_request", 413, "WW-110"


class WrongMethod(OAuthError):
    """The endpoint is there, but not for this HTTP method.

    Args:
        allow: the methods it takes, as the `Allow` header lists them (RFC 9110 section 15.5.6).
    """

    code, status, number = "invalid_request", 405, "WW-111"

    def __init__(self, why: str = "", *, allow: str = "", detail: str = "") -> None:
        super().__init__(why, detail=detail)
        self.allow = allow


class NoToken(OAuthError):
    """No credentials came with a request that needs them: 401 without an error code
    (RFC 6750 section 3.1)."""  # noqa: D205, D209

    code, status, number = "", 401, "WW-201"


class InvalidToken(OAuthError):
    """The access token is malformed, expired, revoked, or not meant for us."""

    code, status, number = "invalid_token", 401, "WW-202"


class InsufficientScope(OAuthError):
    """The token is good but lacks scopes.

    Args:
        scopes: everything the route needs, so that one step up suffices.
    """

    code, status, number = "insufficient_scope", 403, "WW-203"

    def __init__(self, why: str = "", *, scopes: tuple[str, ...] = (), detail: str = "") -> None:
        super().__init__(why, detail=detail)
        self.scopes = scopes


class StaleLogin(OAuthError):
    """The login behind the token is too old or too weak for this route (RFC 9470 section 3).

    Args:
        max_age: seconds since the login that the route accepts.
        acr: the authentication context that the route needs.
    """

    code, status, number = "insufficient_user_authentication", 401, "WW-204"

    def __init__(
        self, why: str = "", *, max_age: int | None = None, acr: str | None = None
    ) -> None:
        super().__init__(why)
        self.max_age = max_age
        self.acr = acr


class NoUser(OAuthError):
    """A client's own token came to a route that needs a user."""

    code, status, number = "insufficient_scope", 403, "WW-211"


class TooManyRequests(OAuthError):
    """A limit is used up.

    Args:
        limit: the burst the limit allows.
        reset: seconds until the whole burst is available again.
        policy: the limit that was reached just now; empty for who did not wait as told.
    """

    code, status, number = "temporarily_unavailable", 429, "WW-301"

    def __init__(
        self,
        why: str = "",
        *,
        retry_after: float,
        limit: int = 0,
        reset: float = 0,
        policy: str = "",
    ) -> None:
        super().__init__(why, retry_after=retry_after)
        self.policy = policy
        self.limit = limit
        self.reset = reset

    @property
    def waiting(self) -> dict[str, str]:
        """As of every error, and how much is left: nothing."""
        return {
            **super().waiting,
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(whole_seconds(self.reset)),
        }


class Busy(OAuthError):
    """The server sheds this request rather than let it wait; 503 with `Retry-After`."""

    code, status, number = "temporarily_unavailable", 503, "WW-302"

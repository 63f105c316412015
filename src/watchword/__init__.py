"""Watchword: OAuth 2.1 and OpenID Connect for FastAPI, in your app or as a server of its own.

The public names load on first use (PEP 562): an app that only checks tokens never
imports a database driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watchword.auth import Auth, SQLAlchemyUsers
    from watchword.guard import Guard
    from watchword.rules.access import AccessToken
    from watchword.seams import Account, ClaimsContext, Deny

__version__ = "0.1.0"
__all__ = ["AccessToken", "Account", "Auth", "ClaimsContext", "Deny", "Guard", "SQLAlchemyUsers"]

_DOORS = {
    "AccessToken": "watchword.rules.access",
    "Account": "watchword.seams",
    "Auth": "watchword.auth",
    "ClaimsContext": "watchword.seams",
    "Deny": "watchword.seams",
    "Guard": "watchword.guard",
    "SQLAlchemyUsers": "watchword.auth",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415 - only when a door is opened

    if name not in _DOORS:
        raise AttributeError(f"module 'watchword' has no attribute {name!r}")
    return getattr(import_module(_DOORS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_DOORS])

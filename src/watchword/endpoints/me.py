"""The tutorial's `GET /users/me`, for apps that have none of their own."""

from __future__ import annotations

from typing import Any

from watchword.seams import Account


def described(account: Account) -> dict[str, Any]:
    """A user without secrets, by the names that the tutorial uses."""
    return {
        "sub": account.sub,
        "username": account.username,
        "email": account.email,
        "full_name": account.name,
        "disabled": account.disabled,
        "scopes": list(account.scopes),
    }

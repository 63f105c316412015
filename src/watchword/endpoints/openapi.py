"""The protocol endpoints as OpenAPI describes them: by hand, because they read their own forms."""

from __future__ import annotations

from typing import Any

_FORM = "application/x-www-form-urlencoded"


def _text(title: str, *, secret: bool = False) -> dict[str, Any]:
    return {"type": "string", "title": title, **({"format": "password"} if secret else {})}


def _operation(
    summary: str,
    description: str,
    fields: dict[str, Any],
    required: list[str],
    *,
    answer: str,
    refusals: tuple[str, ...],
) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": fields}
    if required:
        schema["required"] = required
    meanings = {
        "400": "Malformed, or refused (RFC 6749 section 5.2)",
        "401": "Wrong credentials",
        "429": "Too many tries; see Retry-After",
        "503": "Too busy; see Retry-After",
    }
    operation: dict[str, Any] = {
        "tags": ["sign-in"],
        "summary": summary,
        "description": description,
        "responses": {
            "200": {
                "description": answer,
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **{status: {"description": meanings[status]} for status in refusals},
        },
    }
    if fields:
        operation["requestBody"] = {"content": {_FORM: {"schema": schema}}, "required": True}
    return operation


def paths(*, first_party: bool, password: bool, prefix: str) -> dict[str, Any]:
    """The `paths` entries."""
    grants = ["password"] if password else []
    token = _operation(
        "Log in, refresh, or get a client's own token",
        "The token endpoint of RFC 6749. With a username and a password it logs in; "
        "`grant_type` may then be left out.",
        {
            "grant_type": {
                "type": "string",
                "enum": [*grants, "refresh_token", "client_credentials"],
            },
            "username": _text("Username"),
            "password": _text("Password", secret=True),
            "refresh_token": _text("Refresh token", secret=True),
            "scope": _text("Scopes, separated by spaces"),
        },
        [],
        answer="access_token, token_type, expires_in, scope, and mostly refresh_token",
        refusals=("400", "401", "429", "503"),
    )
    found = {
        f"{prefix}/token": {"post": token},
        f"{prefix}/ticket": {
            "post": {
                **_operation(
                    "Get a ticket for a WebSocket or an event stream",
                    "For what a browser opens without headers. The URL with `?ticket=` opens "
                    "once, within `expires_in` seconds, what the bearer token of this request "
                    "opens.",
                    {},
                    [],
                    answer="ticket, expires_in",
                    refusals=("400", "401", "429", "503"),
                ),
                "security": [{"Watchword": []}],
            }
        },
    }
    if first_party:
        del found[f"{prefix}/token"]  # the same under a shorter name
        found |= {
            "/token": {"post": token},
            "/refresh-token": {
                "post": _operation(
                    "Refresh",
                    "Spends the refresh token; the answer holds its successor.",
                    {"refresh_token": _text("Refresh token", secret=True)},
                    ["refresh_token"],
                    answer="As POST /token",
                    refusals=("400", "401", "429"),
                )
            },
            "/revoke-token": {
                "post": {
                    **_operation(
                        "Log out",
                        "Ends the bearer token of this very request and everything of its login.",
                        {},
                        [],
                        answer="The token is dead, everywhere, now",
                        refusals=("401",),
                    ),
                    "security": [{"Watchword": []}],
                }
            },
        }
    return found


def who(path: str, scopes: tuple[str, ...]) -> dict[str, Any]:
    """The `paths` entry of the tutorial's `GET /users/me`."""
    operation = _operation(
        "Who is signed in",
        "The user of the bearer token.",
        {},
        [],
        answer="sub, username, email, full_name, disabled, scopes",
        refusals=("401",),
    )
    return {path: {"get": {**operation, "security": [{"Watchword": list(scopes)}]}}}

"""How other issuers write their tokens: each hides scopes, roles and kinds somewhere else."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from watchword.rules.access import (
    ClaimReader,
    aud_claim,
    roles_claim,
    scope_claim,
    string_list,
)

# Issuers before RFC 9068 write "JWT" or nothing; the kinds that are something else
# (logout+jwt, dpop+jwt, ...) never pass.
FOREIGN_TYPES = frozenset({"at+jwt", "jwt", ""})


@dataclass(frozen=True, slots=True)
class Preset:
    """Reads an issuer's claims; see `rules.access.Expectation` for what each finds."""

    scopes: ClaimReader = scope_claim
    roles: ClaimReader = roles_claim
    audience: Callable[[Mapping[str, Any]], object] = aud_claim
    is_access: Callable[[Mapping[str, Any]], bool] = lambda _: True
    is_machine: Callable[[Mapping[str, Any]], bool] = lambda _: False


def _scopes_anywhere(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """`scope` as text; some issuers write a list, some call it `scp`."""
    value = claims.get("scope", claims.get("scp", ""))
    return string_list(value) if isinstance(value, list) else scope_claim({"scope": value})


def _keycloak_roles(claims: Mapping[str, Any]) -> tuple[str, ...]:
    found = list(_roles_in(claims.get("realm_access")))
    clients = claims.get("resource_access")
    if isinstance(clients, dict):
        for name, access in clients.items():
            found += [f"{name}:{role}" for role in _roles_in(access)]
    return tuple(found)


def _roles_in(access: object) -> tuple[str, ...]:
    return string_list(access.get("roles")) if isinstance(access, dict) else ()


def _auth0_scopes(claims: Mapping[str, Any]) -> tuple[str, ...]:
    return (*scope_claim(claims), *string_list(claims.get("permissions")))


def _cognito_roles(claims: Mapping[str, Any]) -> tuple[str, ...]:
    return string_list(claims.get("cognito:groups"))


def _cognito_audience(claims: Mapping[str, Any]) -> object:
    """A pool names the app client, and an `aud` only where a resource was asked for."""
    return claims.get("aud", claims.get("client_id"))


def _entra_machine(claims: Mapping[str, Any]) -> bool:
    """An app's own token names the app itself, and carries no delegated scope."""
    app_only = "scp" not in claims and claims.get("oid") == claims.get("sub")
    return claims.get("idtyp") == "app" or app_only


def _keycloak_machine(claims: Mapping[str, Any]) -> bool:
    """A service account is a user of the realm by a reserved name."""
    return str(claims.get("preferred_username", "")).startswith("service-account-")


STANDARD = Preset(scopes=_scopes_anywhere)
KEYCLOAK = Preset(
    scopes=_scopes_anywhere,
    roles=_keycloak_roles,
    is_access=lambda claims: claims.get("typ", "Bearer") == "Bearer",  # "ID", "Logout", ...
    is_machine=_keycloak_machine,
)
ENTRA = Preset(scopes=_scopes_anywhere, is_machine=_entra_machine)
AUTH0 = Preset(
    scopes=_auth0_scopes,
    is_machine=lambda claims: claims.get("gty") == "client-credentials",
)
COGNITO = Preset(
    scopes=_scopes_anywhere,
    roles=_cognito_roles,
    audience=_cognito_audience,
    is_access=lambda claims: claims.get("token_use") == "access",
)


def unverified_issuer(token: str) -> str | None:
    """Which issuer a token says it is of: good only for choosing who verifies it."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004
    try:
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        claims = json.loads(raw)
    except (ValueError, binascii.Error, RecursionError):
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None

"""The metadata documents: what is published is what exists (RFC 8414, OpenID Discovery 1.0)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deployment:
    """The facts the documents are made of; paths are absolute, below `issuer`."""

    issuer: str
    paths: dict[str, str]
    scopes: tuple[str, ...]
    grant_types: tuple[str, ...]


def authorization_server(of: Deployment) -> dict[str, object]:
    """RFC 8414 section 2; serves as `openid-configuration` too.

    `issuer` is byte-identical wherever it appears. Nothing is listed that is not on:
    there is no authorization endpoint yet, hence no response types.
    """
    methods = ["client_secret_basic", "client_secret_post", "none"]
    return {
        "issuer": of.issuer,
        "token_endpoint": of.issuer + of.paths["token"],
        "revocation_endpoint": of.issuer + of.paths["revoke"],
        "introspection_endpoint": of.issuer + of.paths["introspect"],
        "jwks_uri": of.issuer + of.paths["jwks"],
        "watchword_revocations_endpoint": of.issuer + of.paths["revocations"],
        "scopes_supported": list(of.scopes),
        "response_types_supported": [],
        "grant_types_supported": list(of.grant_types),
        # Basic first: some clients take the first one they know.
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods[:2],
    }


def protected_resource(resource: str, issuer: str, scopes: Iterable[str]) -> dict[str, object]:
    """RFC 9728 section 2."""
    return {
        "resource": resource,
        "authorization_servers": [issuer],
        "scopes_supported": list(scopes),
        "bearer_methods_supported": ["header"],
    }

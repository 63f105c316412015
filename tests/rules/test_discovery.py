"""The metadata documents as values (RFC 8414 section 2, RFC 9728 section 2)."""

from __future__ import annotations

import pytest

from watchword.rules import discovery

PATHS = {
    "token": "/auth/token",
    "revoke": "/auth/revoke",
    "introspect": "/auth/introspect",
    "revocations": "/auth/revocations",
    "jwks": "/.well-known/jwks.json",
}


def deployment(**more) -> discovery.Deployment:
    given = {
        "issuer": "https://id.example.com/tenant",
        "paths": PATHS,
        "scopes": ("me",),
        "grant_types": ("refresh_token",),
        **more,
    }
    return discovery.Deployment(**given)


@pytest.mark.attack("K-06")
def test_the_whole_document():
    methods = ["client_secret_basic", "client_secret_post", "none"]
    base = "https://id.example.com/tenant"
    assert discovery.authorization_server(deployment()) == {
        "issuer": base,
        "token_endpoint": f"{base}/auth/token",
        "revocation_endpoint": f"{base}/auth/revoke",
        "introspection_endpoint": f"{base}/auth/introspect",
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "watchword_revocations_endpoint": f"{base}/auth/revocations",
        "scopes_supported": ["me"],
        "response_types_supported": [],
        "grant_types_supported": ["refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods[:2],
    }


@pytest.mark.attack("K-06")
def test_nothing_is_listed_that_is_off():
    found = discovery.authorization_server(deployment(grant_types=()))
    assert found["grant_types_supported"] == []
    assert not {"authorization_endpoint", "registration_endpoint"} & found.keys()


def test_the_issuer_is_byte_identical_everywhere():
    odd = "https://ID.example.com:443"
    found = discovery.authorization_server(deployment(issuer=odd))
    assert found["issuer"] == odd
    assert discovery.protected_resource("api", odd, ())["authorization_servers"] == [odd]


def test_a_resource_names_its_issuer_and_takes_headers_only():
    assert discovery.protected_resource("https://api.example.com", "https://id", ["me"]) == {
        "resource": "https://api.example.com",
        "authorization_servers": ["https://id"],
        "scopes_supported": ["me"],
        "bearer_methods_supported": ["header"],
    }

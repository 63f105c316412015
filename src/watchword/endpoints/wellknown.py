"""The published documents: key set and metadata, the same bytes wherever they are found."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from watchword.endpoints import answers
from watchword.exchanges.bench import Bench
from watchword.guard.freshness import position_in
from watchword.rules import discovery
from watchword.signing import JWKS_MAX_AGE

JWKS = "/.well-known/jwks.json"
OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"
RESOURCE = "/.well-known/oauth-protected-resource"


async def jwks(request: Request, at: Bench) -> Response:
    """RFC 7517 section 5: public members only, next keys included."""
    if (position := position_in(request.scope)) is not None:
        # Somebody has heard that keys have changed; perhaps from another node than this one.
        await at.know(position)
    return answers.document(at.signing.ring.jwks(at.now()), JWKS_MAX_AGE)


async def server_metadata(request: Request, at: Bench) -> Response:
    """RFC 8414 section 3 and OpenID Connect Discovery 1.0 section 4."""
    del request
    return answers.document(discovery.authorization_server(deployment(at)), JWKS_MAX_AGE)


async def resource_metadata(request: Request, at: Bench) -> Response:
    """RFC 9728 section 3."""
    del request
    settings = at.settings
    found = discovery.protected_resource(settings.audience, settings.issuer, at.declared())
    return answers.document(found, JWKS_MAX_AGE)


def deployment(at: Bench) -> discovery.Deployment:
    """The facts, from configuration alone: never from a Host header."""
    settings = at.settings
    listed = [name for name in at.exchanges if name != "password"]
    if "password" in at.exchanges:
        listed.append("password")
    return discovery.Deployment(
        issuer=settings.issuer,
        paths={
            "token": f"{settings.prefix}/token",
            "revoke": f"{settings.prefix}/revoke",
            "introspect": f"{settings.prefix}/introspect",
            "revocations": f"{settings.prefix}/revocations",
            "jwks": JWKS,
        },
        scopes=at.declared(),
        grant_types=tuple(listed),
    )


def places(issuer: str, document: str) -> tuple[str, ...]:
    """Where clients look: appended to the identifier's path, and inserted before it."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/") if parts.netloc else ""  # a bare name has no place of its own
    return tuple(dict.fromkeys((document, f"{document}{path}", f"{path}{document}")))

"""The client-credentials exchange: a client asks for itself (RFC 6749 section 4.4).

No user, no refresh token, no row: the token is all there is (attack row T-32).
"""

from __future__ import annotations

from watchword.exchanges.bench import Bench, Caller, Entitlement
from watchword.rules.clients import Client
from watchword.rules.params import ClientCredentialsAsk


async def redeem(
    ask: ClientCredentialsAsk, client: Client, caller: Caller, at: Bench
) -> Entitlement:
    """Judge what a client may have for itself.

    Raises:
        InvalidScope: beyond its ceiling, which the operator sets and never the client.
        InvalidTarget: not one of its resources.
    """
    del caller
    return Entitlement(
        subject=client.id,
        scopes=client.scopes_for(ask.scope),
        audience=client.audience_for(ask.resource, at.settings.audience),
        rev=client.seen_rev,
        asked=ask.scope,
    )

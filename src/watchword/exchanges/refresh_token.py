"""The refresh exchange: the newest refresh token of a grant gives way to its successor.

Theory at the head of `rules/refresh.py`. Attack rows T-15 to T-24; every refusal
is the same `invalid_grant` (T-39).
"""

from __future__ import annotations

from watchword.errors import InvalidGrant
from watchword.events import Refreshed, RefreshHealed
from watchword.exchanges.bench import Bench, Caller, Entitlement
from watchword.rules.clients import Client
from watchword.rules.params import RefreshAsk
from watchword.rules.refresh import Grant, RefreshToken
from watchword.rules.scopes import Scopes
from watchword.seams import Account, Refused, Reused, Rotated

REFUSED = "The refresh token is not valid."


async def redeem(ask: RefreshAsk, client: Client, caller: Caller, at: Bench) -> Entitlement:
    """Spend a refresh token.

    Raises:
        InvalidGrant: it is not the newest of a living grant of this client.
        InvalidScope: more was asked than was granted; nothing was spent.
    """
    del caller
    now = at.now()
    presented = at.refresh_tokens.read(ask.refresh_token, client.id)  # no statement for garbage
    if presented is None:
        raise InvalidGrant(REFUSED, detail="not written by this server for this client")
    token = RefreshToken(
        presented.grant_id, presented.generation, presented.proof, presented.client_id
    )
    found = await at.store.grant(token.grant_id)  # look
    if found is None or found.proof != token.proof:
        raise InvalidGrant(REFUSED, detail="no such grant")
    account = await at.users.by_subject(found.user_id)
    # judged before anything is spent, so that a mistake costs nothing
    scopes = _still_allowed(found, account, at).narrowed_to(ask.scope)
    outcome = await at.store.rotate(  # take
        token, now, window=at.settings.refresh_replay, idle=at.settings.refresh_ttl
    )
    if isinstance(outcome, Refused):
        raise InvalidGrant(REFUSED, detail=outcome.reason)
    grant = outcome.grant
    names = (grant.user_id, grant.client_id, grant.id.hex())
    if isinstance(outcome, Reused):
        raise InvalidGrant(REFUSED, detail=f"reused; grant {grant.id.hex()} has ended")
    if isinstance(outcome, Rotated):
        at.events(Refreshed(now, *names))
        if outcome.healed:
            at.events(RefreshHealed(now, *names, outcome.healed))
    return Entitlement(
        subject=grant.user_id,
        scopes=scopes,
        audience=grant.audience,
        rev=outcome.rev,
        asked=ask.scope,
        account=account,
        grant_id=grant.id.hex(),
        auth_time=grant.auth_time,
        refresh_token=at.refresh_tokens.successor(presented, grant.generation),
    )


def _still_allowed(grant: Grant, account: Account | None, at: Bench) -> Scopes:
    """A person never gains by an old grant: what was taken from them is taken here too."""
    if account is None or account.disabled:
        raise InvalidGrant(REFUSED, detail="the user is gone or disabled")
    return grant.scopes.within(at.may_have(account))

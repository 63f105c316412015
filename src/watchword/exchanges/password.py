"""The password exchange: the first-party login of the tutorial's calls.

RFC 9700 section 2.4 forbids this grant to third parties; so it serves the built-in
client only, and the strict profile leaves it out. Whoever is refused hears one
answer, after one hash, whatever the reason (attack rows L-01, L-26).
"""

from __future__ import annotations

from watchword.crypto.passwords import normalised
from watchword.crypto.secrets import digest
from watchword.errors import BadCredentials, InvalidScope
from watchword.events import SignInFailed
from watchword.exchanges import attempts
from watchword.exchanges.bench import Bench, Caller, Entitlement
from watchword.rules.clients import Client
from watchword.rules.params import PasswordAsk
from watchword.seams import Account, Deny, LoginContext, NewGrant, Refused

REFUSED = "Incorrect username or password"


async def redeem(ask: PasswordAsk, client: Client, caller: Caller, at: Bench) -> Entitlement:
    """Check a password and open a grant.

    Raises:
        BadCredentials: one answer for every reason.
        TooManyRequests, Busy: a limit or the hash queue is full; nothing was hashed.
        InvalidScope: nothing of what was asked may be granted.
        InvalidGrant: the user is called like the client.
    """
    now = at.now()
    normalised(ask.password)  # refused before it is counted or hashed
    await at.limits.spend(now, *attempts.from_place(caller.ip))
    at.passwords.must_have_room()  # before any statement; what may begin is decided at the hash
    looked_at = await at.store.head()
    found = await at.users.by_login(ask.username)  # look
    device = await attempts.device_of(found, caller, now, at)
    spent = attempts.for_person(found, ask.username, caller.ip, device)
    await at.limits.spend(now, *spent)
    account = await _proven(found, ask, client, caller, at)  # judge
    may_have = at.may_have(account)
    scopes = ask.scope.within(may_have) if ask.scope else may_have
    if ask.scope and not scopes:
        raise InvalidScope("None of the requested scopes may be granted.")
    grant_id = at.fresh(16)
    token, proof = at.refresh_tokens.first(grant_id, at.fresh(16), client.id)
    new = NewGrant(
        id=grant_id,
        user_id=account.sub,
        client_id=client.id,
        scopes=scopes,
        audience=at.settings.audience,
        proof=proof,
        auth_time=now,
        idle_until=now + at.settings.refresh_ttl,
        expires_at=now + at.settings.refresh_max,
        looked_at=looked_at,
        ip=caller.ip,
    )
    outcome = await at.store.open_grant(new, now)  # take
    if isinstance(outcome, Refused):
        # An embedder's user is noted at the first login; then there is a row to end.
        await at.store.ensure_user(account.sub, now)
        outcome = await at.store.open_grant(new, now)
    if isinstance(outcome, Refused):
        raise _refusal(ask, client, caller, at, outcome.reason)
    await at.limits.forgive(*spent)  # not the place: others are there too
    return Entitlement(
        subject=account.sub,
        scopes=scopes,
        audience=new.audience,
        rev=outcome.rev,
        asked=ask.scope,
        account=account,
        grant_id=grant_id.hex(),
        auth_time=now,
        refresh_token=token,
        device=attempts.known_from_now_on(account, device, outcome.rev, now, at),
    )


async def _proven(
    account: Account | None, ask: PasswordAsk, client: Client, caller: Caller, at: Bench
) -> Account:
    right = await at.users.password_is(account, ask.password)
    if account is None:
        raise _refusal(ask, client, caller, at, "nobody by that name")
    if not right:
        raise _refusal(ask, client, caller, at, "wrong password")
    if account.disabled:
        raise _refusal(ask, client, caller, at, "disabled")
    client.must_differ_from(account.sub)  # before there is a grant that nobody can use
    for hook in at.before_login:
        try:
            await hook(LoginContext(account, client.id, caller.ip), caller)
        except Deny as denial:
            raise _refusal(ask, client, caller, at, denial.reason, why=denial.message) from denial
    return account


def _refusal(
    ask: PasswordAsk, client: Client, caller: Caller, at: Bench, reason: str, *, why: str = REFUSED
) -> BadCredentials:
    at.events(SignInFailed(at.now(), reason, digest(ask.username)[:16], client.id, caller.ip))
    return BadCredentials(why, detail=reason)

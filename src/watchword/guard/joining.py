"""How guards of several issuers decide as one: the issuer a token names chooses among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from watchword.errors import InvalidToken
from watchword.guard import tickets
from watchword.guard.decisions import Decisions
from watchword.guard.freshness import AS_USUAL, Asked, Freshness, Stale
from watchword.guard.loading import AccountOf, claimed_account
from watchword.guard.opaque import Opaque
from watchword.guard.presets import unverified_issuer
from watchword.guard.stale import Ask, Verify, WhenStale
from watchword.guard.verifier import Verifier
from watchword.rules.access import AccessToken
from watchword.seams import Account


async def verified(
    verifiers: Sequence[Verifier], token: str, now: float, asked: Asked = AS_USUAL
) -> AccessToken:
    """Verify a token by the verifiers of the issuer it names; one that accepts is enough.

    Raises:
        InvalidToken: none accepts it, or nobody knows its issuer.
        Busy: the keys cannot be had.
        Unavailable: the revocation log cannot be read.
    """
    if len(verifiers) == 1:
        return await verifiers[0](token, now, asked)
    named = unverified_issuer(token)
    refusal = InvalidToken("The access token is not valid.", detail="unknown issuer")
    for verifier in verifiers:
        if verifier.expected.issuer != named:
            continue
        try:
            return await verifier(token, now, asked)
        except InvalidToken as error:
            refusal = error
    raise refusal


async def told(
    known: Sequence[Opaque], token: str, now: float, asked: Asked = AS_USUAL
) -> AccessToken:
    """Verify a token that says nothing itself, so that one issuer has to be asked about it.

    Raises:
        InvalidToken: it is not good, or several issuers could have made it: what one of them
            gave must not be shown to another.
        Stale: the issuer cannot tell now.
    """
    if len(known) > 1:
        raise InvalidToken("The access token is not valid.", detail="nobody knows whose it is")
    return await known[0](token, now, asked)


def account_by_issuer(known: Mapping[str, AccountOf | None]) -> AccountOf:
    """The account as the guard of the token's issuer knows it."""

    async def account_of(token: AccessToken) -> Account | None:
        return await (known[token.issuer] or claimed_account)(token)

    return account_of


def stale_by_issuer(known: Mapping[str, WhenStale]) -> WhenStale:
    """As the guards of all issuers do, where they agree; a refusal where they do not."""
    usual = {one.usual for one in known.values()}

    async def ask(text: str, token: AccessToken, within: float | None) -> object:
        asked: Ask | None = known[token.issuer].ask
        if asked is None:
            raise Stale("nobody can be asked about this issuer's tokens")
        return await asked(text, token, within)

    return WhenStale(usual.pop() if len(usual) == 1 else Freshness(), ask)


def decisions(
    joined: Sequence[Decisions], verify: Verify, when_stale: WhenStale, owner: Any
) -> Decisions:
    """The decisions of all at once: the first one's clock and metadata, everybody's scopes."""
    first = joined[0]

    async def all_ready() -> None:
        for one in joined:  # a server among them is started before the first decision
            await one.ready()

    made = Decisions(
        verify,
        lambda: first.now(),  # noqa: PLW0108 - tests give it another clock
        declared={name: said for one in joined for name, said in one.declared.items()},
        resource_metadata=first.resource_metadata,
        ready=all_ready,
        redeem=tickets.of_any([one.redeem for one in joined if one.redeem is not None]),
        logs=lambda: [log for one in joined for log in one.logs()],
        when_stale=when_stale,
        owner=owner,
    )
    made.follows = any(one.follows for one in joined)
    return made

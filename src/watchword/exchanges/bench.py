"""The bench: everything an endpoint works with, filled once by `auth.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from watchword.clients import Clients
from watchword.crypto.devices import Devices
from watchword.crypto.passwords import Passwords
from watchword.crypto.refresh_tokens import RefreshTokens
from watchword.crypto.secrets import Secret
from watchword.crypto.tickets import Tickets
from watchword.events import Events
from watchword.guard.revocations import Revocations
from watchword.limits import Limits
from watchword.rules.access import AccessToken
from watchword.rules.clients import Client
from watchword.rules.forwarded import TrustedProxies
from watchword.rules.params import TokenAsk
from watchword.rules.scopes import NONE, Scopes
from watchword.seams import Account, ClaimsContext, LoginContext, Store, Tail, Users
from watchword.settings import Settings
from watchword.signing import Signing


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What an exchange earned: the token endpoint mints from it, and nobody else.

    `rev` is the revocation log's position in the transaction that earned it.
    """

    subject: str
    scopes: Scopes
    audience: str
    rev: int
    asked: Scopes = NONE
    account: Account | None = None
    grant_id: str | None = None
    auth_time: float | None = None
    refresh_token: Secret | None = None
    device: Secret | None = None  # what the caller's device shall carry


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request comes from, and the request itself for hooks that want it.

    `device` is what it carries to be known by; whether it is known is for its reader to say.
    """

    ip: str
    connection: Any = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)


class Exchange(Protocol):
    """One grant type."""

    async def __call__(self, ask: Any, client: Client, caller: Caller, at: Bench) -> Entitlement:
        """Earn something, or raise an OAuthError and change nothing."""
        ...


ClaimsHook = Callable[[ClaimsContext, Caller], Awaitable[Mapping[str, object]]]
LoginHook = Callable[[LoginContext, Caller], Awaitable[None]]
VerifyAccessToken = Callable[[str], Awaitable[AccessToken]]


@dataclass(slots=True, kw_only=True)
class Bench:
    """The parts. `now` and `fresh` are the only clock and the only chance."""

    store: Store
    clients: Clients
    passwords: Passwords
    users: Users
    limits: Limits
    events: Events
    signing: Signing
    settings: Settings
    refresh_tokens: RefreshTokens
    tickets: Tickets
    devices: Devices
    proxies: TrustedProxies
    exchanges: Mapping[str, Exchange]
    now: Callable[[], float]
    fresh: Callable[[int], bytes]
    verify: VerifyAccessToken
    may_have: Callable[[Account], Scopes]
    declared: Callable[[], tuple[str, ...]]
    log: Revocations  # what this server knows of its own revocations
    page: Callable[[int, int, int], Awaitable[Tail]]  # the log itself, so many entries at a time
    know: Callable[[tuple[int, int]], Awaitable[None]]  # the log up to a position, and the keys
    add_claims: ClaimsHook | None = None
    before_login: list[LoginHook] = field(default_factory=list)
    # In memory, as in tests: functions under `after` have run when the answer is there.
    settle: Callable[[], Awaitable[None]] | None = None


__all__ = ["Bench", "Caller", "ClaimsHook", "Entitlement", "Exchange", "LoginHook", "TokenAsk"]

"""Every place where an embedder's own code plugs in: users, claims, hooks, the store.

Each is one small Protocol with a working default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from watchword.errors import WatchwordError

if TYPE_CHECKING:  # a guard needs these names for none of its work
    from watchword.crypto.keys import StoredKey
    from watchword.rules.clients import Client
    from watchword.rules.refresh import Grant, RefreshToken
    from watchword.rules.scopes import Scopes


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may sign in, without any secret.

    `sub` is the stable subject; `scopes` and `roles` are what the person may have.
    """

    sub: str
    username: str
    email: str | None = None
    name: str | None = None
    disabled: bool = False
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    created_at: float = 0.0
    claims: Mapping[str, Any] = field(default_factory=dict)


class Users(Protocol):
    """Who may sign in. Give your own to `Auth(users=...)`."""

    async def by_login(self, login: str) -> Account | None:
        """The account a person means by what they typed, disabled or not."""
        ...

    async def by_subject(self, subject: str) -> Account | None:
        """The account behind a token's `sub`, disabled or not."""
        ...

    async def password_is(self, account: Account | None, password: str) -> bool:
        """Whether it is right. For `None`, nobody, the same work is done: time tells nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ClaimsContext:
    """What a claims function knows when an access token is minted."""

    sub: str
    client_id: str
    scopes: Scopes
    account: Account | None
    grant_type: str

    @property
    def user_id(self) -> str:
        """The subject, by the name embedders look for."""
        return self.sub


@dataclass(frozen=True, slots=True)
class LoginContext:
    """What a `before("login")` hook knows: the password was right."""

    account: Account
    client_id: str
    ip: str


class Deny(WatchwordError):
    """Raised by a hook to stop what was about to happen.

    Args:
        reason: a code for the log and the audit trail.
        message: one sentence for the person.
    """

    def __init__(self, reason: str, message: str = "Access was denied.") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


# --- the store -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of the revocation log: gapless and in the order of commits.

    `kind` is grant, user, client, jti, all (everything until now), or config (keys or
    clients changed). `key` is the first eight bytes of SHA-256 over kind and id, as a
    number. `expires_at` is when every token it could concern has run out.
    """

    seq: int
    kind: str
    key: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Tail:
    """The revocation log behind a position, read in one snapshot.

    Attributes:
        epoch: changes when the log's past may have: after a restore or a failover that
            lost its end. It only grows, and 0 is nobody's.
        seq: the log's newest number in that snapshot.
        entries: those behind the position, in order; all that are kept if it is of another log.
        age: seconds that the answerer's own knowledge was old when it was asked.
        more: whether the log goes on behind `seq`, then the last entry's: ask again.
    """

    epoch: int
    seq: int
    entries: tuple[Revocation, ...]
    age: float = 0.0
    more: bool = False


class RevocationLog(Protocol):
    """The log as a guard reads it, from memory or the same machine: no network."""

    def news(self, after: int, epoch: int) -> Tail | None:
        """What is behind that position; None when that is the newest there is.

        Raises:
            Unavailable: it cannot be read, so nobody may be let in.
        """
        ...


class RevocationFeed(Protocol):
    """The log as a guard reads it from elsewhere: a database or an issuer across a network."""

    async def tail(self, after: int, epoch: int) -> Tail:
        """What is behind that position now, or was `age` seconds before it was asked.

        Raises:
            Unavailable: it cannot be read now.
        """
        ...


class Unavailable(WatchwordError):
    """The store cannot do this now; nothing was changed."""


@dataclass(frozen=True, slots=True)
class NewGrant:
    """What `Store.open_grant` records."""

    id: bytes
    user_id: str
    client_id: str
    scopes: Scopes
    audience: str
    proof: bytes
    auth_time: float
    idle_until: float
    expires_at: float
    looked_at: int  # the log's position before the user was looked up
    ip: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A grant was opened; `rev` is the log's position in the same transaction."""

    rev: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """The token was the newest; the grant's next generation is now the newest."""

    grant: Grant
    rev: int
    healed: int = 0  # generations the database had lost


@dataclass(frozen=True, slots=True)
class Repeated:
    """The token had just been spent: its successor, the same one, is answered again."""

    grant: Grant
    rev: int


@dataclass(frozen=True, slots=True)
class Reused:
    """A spent token came back. The grant has ended; `first` for the caller who ended it."""

    grant: Grant
    first: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was changed; `reason` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class StoredUser:
    """An account with its password hash, as the built-in users are kept."""

    account: Account
    password: str | None = field(repr=False)
    rev_seq: int = 0  # the log's number when all grants ended last


class Store(Protocol):
    """The atomic verbs. One transaction each; a verb reports what happened.

    Every verb may raise `Unavailable`; then nothing was changed. What a verb has committed it
    tells of itself, once: a login, the reuse of a token, whatever ends tokens, a new key.
    """

    # look
    async def user_by_login(self, login: str) -> StoredUser | None: ...
    async def user(self, user_id: str) -> StoredUser | None: ...
    async def users(self, *, after: str = "", most: int = 100) -> list[Account]: ...
    async def client(self, client_id: str) -> Client | None: ...
    async def clients(self) -> list[Client]: ...
    async def grant(self, grant_id: bytes) -> Grant | None: ...
    async def grants_of(self, user_id: str) -> list[Grant]: ...
    async def keys(self) -> list[StoredKey]: ...
    async def head(self) -> int: ...

    # take: users
    async def add_user(self, user: StoredUser) -> bool:
        """False when the login is taken."""
        ...

    async def ensure_user(self, user_id: str, now: float) -> None:
        """Note a subject that an embedder's `Users` vouches for, so that it can be revoked."""
        ...

    async def set_password(
        self, user_id: str, new: str, now: float, *, instead_of: str | None = None
    ) -> bool:
        """Every grant of the user ends; with `instead_of` none, and only that hash is replaced."""
        ...

    async def set_disabled(self, user_id: str, now: float, *, disabled: bool) -> bool: ...

    # take: clients
    async def add_client(self, client: Client, now: float) -> bool: ...
    async def set_client_secrets(
        self, client_id: str, new: tuple[str, ...], now: float, *, instead_of: tuple[str, ...]
    ) -> bool: ...
    async def set_client_disabled(self, client_id: str, now: float, *, disabled: bool) -> bool: ...
    async def remove_client(self, client_id: str, now: float) -> bool: ...

    # take: grants
    async def open_grant(self, new: NewGrant, now: float) -> Opened | Refused: ...
    async def rotate(
        self, token: RefreshToken, now: float, *, window: float, idle: float
    ) -> Rotated | Repeated | Reused | Refused: ...

    # take: revocation; each reports whether it changed anything
    async def revoke_grant(self, grant_id: bytes, now: float) -> bool: ...
    async def revoke_user(self, user_id: str, now: float) -> bool: ...
    async def revoke_client(self, client_id: str, now: float) -> bool: ...
    async def revoke_token(self, jti: str, expires_at: float, now: float) -> bool: ...

    # take: things that work once; a kind never answers for another
    async def put_once(self, kind: str, key: bytes, payload: str, expires_at: float) -> None: ...
    async def take_once(self, kind: str, key: bytes, now: float) -> str | None: ...

    # take: keys
    async def add_key(
        self, key: StoredKey, *, unless_newer_than: float, retire_at: float, now: float
    ) -> bool:
        """Publish `key` unless one of its algorithm signs from after `unless_newer_than`; the
        older ones verify until `retire_at`, and those that would sign after it never."""  # noqa: D205, D209
        ...

    async def retire_key(self, kid: str, now: float, *, until: float, even_last: bool) -> bool:
        """A key verifies nothing after `until`; refused where nobody else of its kind signs."""
        ...

    async def reseal_key(self, kid: str, new: bytes, now: float, *, instead_of: bytes) -> bool: ...

    async def sweep(self, now: float, most: int = 500) -> int:
        """Delete up to `most` dead rows; returns how many went."""
        ...

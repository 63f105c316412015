"""The store: each verb of `seams.Store` as one transaction of one driver.

Durability is chosen here. What must outlive a power cut is durable; a rotation may
be lost with the tail of the log, because a refresh token newer than the database
heals it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from watchword.crypto.keys import StoredKey
from watchword.crypto.secrets import digest
from watchword.events import Event, KeysRotated, RefreshReused, Revoked, SignedIn
from watchword.rules.access import LEEWAY
from watchword.rules.clients import Client
from watchword.rules.refresh import Grant, RefreshToken
from watchword.seams import (
    Account,
    NewGrant,
    Opened,
    Refused,
    Repeated,
    Reused,
    Rotated,
    StoredUser,
    Tail,
)
from watchword.store import accounts, clients, grants, log, once, revocations, signing, sweeping
from watchword.store.databases import Driver
from watchword.store.sqlite import Sqlite
from watchword.store.telling import Telling
from watchword.store.verbs import Ask, Verb


class SqlStore:
    """`seams.Store` and `seams.RevocationFeed`; on one machine `seams.RevocationLog` too.

    Args:
        driver: the database.
        token_life: seconds that an access token can live at most; a revocation is kept
            until every token it could concern has run out.
        telling: who hears of what has been done; by default nobody.
    """

    def __init__(
        self, driver: Driver, *, token_life: float, telling: Telling | None = None
    ) -> None:
        self.driver = driver
        self._local = driver if isinstance(driver, Sqlite) else None
        self._telling = telling or Telling()
        self._life = token_life + LEEWAY + 60
        # The database's version when the log was last read, and where the log ended then.
        self._read: tuple[tuple[int, ...] | None, int, int] = (None, 0, 0)

    # --- the log, as guards read it ---

    def news(self, after: int, epoch: int) -> Tail | None:
        """The log behind a position; reads one word of memory when nothing has been committed."""
        local = self._local
        assert local is not None  # noqa: S101 - across a network it is followed
        # The version is read first: a commit between the two reads is read again.
        version = local.version()
        last, read_epoch, newest = self._read
        if version == last and after == newest and epoch == read_epoch:
            return None
        found = local.read_now(log.tail(after, epoch))
        self._read = version, found.epoch, found.seq
        return None if (found.seq, found.epoch) == (after, epoch) else found

    async def tail(self, after: int, epoch: int) -> Tail:
        """The log behind a position, in one statement."""
        return await self.driver.read_apart(log.tail(after, epoch))

    async def page(self, after: int, epoch: int, most: int) -> Tail:
        """The log behind a position, as many entries at a time."""
        return await self.driver.read(log.page(after, epoch, most))

    async def position(self) -> tuple[int, int]:
        """Where the log ends: its epoch and its newest number."""
        return await self.driver.read(log.position())

    async def bump_epoch(self, now: float, *, end_everything: bool) -> tuple[int, int]:
        """Begin a new epoch of the log, because its past may have changed."""
        begun = revocations.bump_epoch(now, self._life, end_everything=end_everything)
        return await self.driver.write(begun)

    # --- look ---

    async def head(self) -> int:
        """The log's newest number."""
        return await self.driver.read(revocations.head())

    async def user_by_login(self, login: str) -> StoredUser | None:
        """The user a person means by what they typed."""
        return await self.driver.read(accounts.by_login(login))

    async def user(self, user_id: str) -> StoredUser | None:
        """The user of that subject."""
        return await self.driver.read(accounts.by_id(user_id))

    async def users(self, *, after: str = "", most: int = 100) -> list[Account]:
        """A page of users in the order of their logins."""
        return await self.driver.read(accounts.page(after, most))

    async def client(self, client_id: str) -> Client | None:
        """The client of that id."""
        return await self.driver.read(clients.by_id(client_id))

    async def clients(self) -> list[Client]:
        """All clients, oldest first."""
        return await self.driver.read(clients.every())

    async def grant(self, grant_id: bytes) -> Grant | None:
        """The grant of that id, dead or alive."""
        return await self.driver.read(grants.by_id(grant_id))

    async def grants_of(self, user_id: str) -> list[Grant]:
        """A user's grants, oldest first."""
        return await self.driver.read(grants.of_user(user_id))

    async def keys(self) -> list[StoredKey]:
        """All signing keys, oldest first."""
        return await self.driver.read(signing.every())

    # --- take: users ---

    async def add_user(self, user: StoredUser) -> bool:
        """Create a user; False when the login is taken."""
        return await self.driver.write(accounts.add(user))

    async def ensure_user(self, user_id: str, now: float) -> None:
        """Note a subject that an embedder's `Users` vouches for."""
        await self.driver.write(accounts.ensure(user_id, now))

    async def set_password(
        self, user_id: str, new: str, now: float, *, instead_of: str | None = None
    ) -> bool:
        """Change a hash; see `seams.Store`."""
        verb = partial(accounts.set_password, user_id, new, now, self._life, instead_of=instead_of)
        if instead_of is not None:
            return await self.driver.write(verb())
        return await self._end("user", user_id, now, verb)

    async def set_disabled(self, user_id: str, now: float, *, disabled: bool) -> bool:
        """Disable or enable a user; what was granted before stays dead."""
        verb = partial(accounts.set_disabled, user_id, now, self._life, disabled=disabled)
        if not disabled:
            return await self.driver.write(verb())
        return await self._end("user", user_id, now, verb)

    # --- take: clients ---

    async def add_client(self, client: Client, now: float) -> bool:
        """Register a client; False when the id is taken."""
        return await self.driver.write(clients.add(client, now, self._life))

    async def set_client_secrets(
        self, client_id: str, new: tuple[str, ...], now: float, *, instead_of: tuple[str, ...]
    ) -> bool:
        """Replace the digests by compare-and-swap."""
        verb = clients.set_secrets(client_id, new, now, self._life, instead_of)
        return await self.driver.write(verb)

    async def set_client_disabled(self, client_id: str, now: float, *, disabled: bool) -> bool:
        """Disable or enable a client; what it was granted before stays dead."""
        verb = partial(clients.set_disabled, client_id, now, self._life, disabled=disabled)
        if not disabled:
            return await self.driver.write(verb())
        return await self._end("client", client_id, now, verb)

    async def remove_client(self, client_id: str, now: float) -> bool:
        """Delete a client; its tokens die with it."""
        verb = partial(clients.remove, client_id, now, self._life)
        return await self._end("client", client_id, now, verb)

    # --- take: grants ---

    async def open_grant(self, new: NewGrant, now: float) -> Opened | Refused:
        """Record what a user allowed a client."""
        opened = SignedIn(now, new.user_id, new.client_id, new.id.hex(), new.ip)
        more = self._telling.kept(opened, by=grants.KEPT_IF_OPENED)
        outcome = await self.driver.write(grants.open_grant(new, now, *more))
        if isinstance(outcome, Opened):
            await self._telling(opened)
        return outcome

    async def rotate(
        self, token: RefreshToken, now: float, *, window: float, idle: float
    ) -> Rotated | Repeated | Reused | Refused:
        """Spend a refresh token; `window` and `idle` in seconds."""
        reused: list[Event] = []

        def if_reused(grant: Grant) -> tuple[Ask, ...]:
            reused.append(RefreshReused(now, grant.user_id, grant.client_id, grant.id.hex()))
            return self._telling.kept(reused[-1])

        for durable in (False, True):
            verb = grants.rotate(
                token,
                now,
                self._life,
                window=window,
                idle=idle,
                durable=durable,
                if_reused=if_reused,
            )
            outcome = await self.driver.write(verb, durable=durable)
            if isinstance(outcome, Reused) and outcome.first:
                await self._telling(reused[-1])
            if outcome is not None:
                return outcome
        raise AssertionError("a durable rotation always has an outcome")

    # --- take: revocation ---

    async def revoke_grant(self, grant_id: bytes, now: float) -> bool:
        """End one grant."""
        verb = partial(revocations.revoke_grant, grant_id, now, self._life)
        return await self._end("grant", grant_id.hex(), now, verb)

    async def revoke_user(self, user_id: str, now: float) -> bool:
        """End every grant a user has now."""
        verb = partial(revocations.revoke_all, revocations.USER, user_id, now, self._life)
        return await self._end("user", user_id, now, verb)

    async def revoke_client(self, client_id: str, now: float) -> bool:
        """End every grant and token of a client."""
        verb = partial(revocations.revoke_all, revocations.CLIENT, client_id, now, self._life)
        return await self._end("client", client_id, now, verb)

    async def revoke_token(self, jti: str, expires_at: float, now: float) -> bool:
        """End one access token that belongs to no grant."""
        verb = partial(revocations.revoke_token, jti, expires_at, now, self._life)
        return await self._end("token", jti, now, verb)

    async def _end(
        self, what: str, target: str, now: float, verb: Callable[..., Verb[bool]]
    ) -> bool:
        """Run a verb that ends something, and tell of it when it has."""
        event = Revoked(now, what, target)
        return await self._done(verb(*self._telling.kept(event)), event)

    async def _done(self, verb: Verb[bool], event: Event) -> bool:
        """Run a verb, and tell of what it did."""
        changed = await self.driver.write(verb)
        if changed:
            await self._telling(event)
        return changed

    async def is_revoked(
        self, *, grant_id: bytes | None, user_id: str, client_id: str, jti: str, rev: int
    ) -> bool:
        """Whether something has ended that token, as the database has it now."""
        return await self.driver.read(log.is_revoked(grant_id, user_id, client_id, jti, rev))

    # --- take: things that work once ---

    async def put_once(self, kind: str, key: bytes, payload: str, expires_at: float) -> None:
        """Keep something that may be taken once, until `expires_at`."""
        await self.driver.write(once.put(kind, key, payload, expires_at), durable=False)

    async def take_once(self, kind: str, key: bytes, now: float) -> str | None:
        """Take it: of many who ask, one gets it."""
        return await self.driver.write(once.take(kind, key, now))

    async def first_time(self, kind: str, id_: str, until: float) -> bool:
        """Whether nobody has used that identifier before; it is used from now on."""
        return await self.driver.write(once.see(kind, bytes.fromhex(digest(id_)), until))

    # --- take: keys and clean-up ---

    async def add_key(
        self, key: StoredKey, *, unless_newer_than: float, retire_at: float, now: float
    ) -> bool:
        """Publish a key, unless another process just did."""
        rotated = KeysRotated(now, key.alg, key.kid, key.signs_from)
        verb = signing.add(
            key,
            *self._telling.kept(rotated),
            unless_newer_than=unless_newer_than,
            retire_at=retire_at,
            now=now,
            life=self._life,
        )
        return await self._done(verb, rotated)

    async def retire_key(self, kid: str, now: float, *, until: float, even_last: bool) -> bool:
        """Let a key verify nothing after `until`, unless nobody else of its kind signs."""
        verb = signing.retire(kid, until=until, even_last=even_last, now=now, life=self._life)
        return await self.driver.write(verb)

    async def reseal_key(self, kid: str, new: bytes, now: float, *, instead_of: bytes) -> bool:
        """Replace a sealed private key by compare-and-swap."""
        return await self.driver.write(signing.reseal(kid, new, instead_of=instead_of, now=now))

    async def sweep(self, now: float, most: int = 500) -> int:
        """Delete up to `most` dead rows of each kind."""
        return await self.driver.write(sweeping.sweep(now, most), durable=False)

"""The built-in users: accounts and Argon2id hashes in the store."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from watchword.crypto.passwords import Passwords, normalised
from watchword.seams import Account, Store, StoredUser

# What `by_login` read last in this request, for the `password_is` that follows: an Account
# carries no hash, and is handed to whoever wants it.
_read: ContextVar[StoredUser | None] = ContextVar("watchword.user", default=None)


class BuiltinUsers:
    """`seams.Users` over the store."""

    def __init__(self, store: Store, passwords: Passwords, now: Callable[[], float]) -> None:
        self._store = store
        self._passwords = passwords
        self._now = now

    async def by_login(self, login: str) -> Account | None:
        """The account a person means by what they typed."""
        found = await self._store.user_by_login(login)
        _read.set(found)
        return found.account if found else None

    async def by_subject(self, subject: str) -> Account | None:
        """The account behind a token's `sub`."""
        found = await self._store.user(subject)
        return found.account if found else None

    async def password_is(self, account: Account | None, password: str) -> bool:
        """Check a password; a hash of another scheme or cost is replaced on the way.

        The hash is the one that `by_login` read with this very account, once; later it is
        read anew. A password changed since then ends the login when its grant is opened.

        Raises:
            InvalidRequest: the password is not one anybody could have.
            Busy: too many logins are waiting.
        """
        normalised(password)
        found = _read.get()
        _read.set(None)
        if found is None or found.account is not account:
            found = await self._store.user(account.sub) if account else None
        stored = found.password if found else None
        verdict = await self._passwords.verify(stored, password)
        if not verdict.matches:
            return False
        if verdict.upgrade is not None and account is not None:
            # Compare-and-swap: a password changed meanwhile wins over the upgrade.
            await self._store.set_password(
                account.sub, verdict.upgrade, self._now(), instead_of=stored
            )
        return True

"""The app's own table as the users: people stay where they are, credentials are kept here.

Nothing is added to the app's model, least of all a column of password hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy import inspect as mapping

from watchword.crypto.passwords import Passwords
from watchword.errors import ConfigError
from watchword.rules.clients import USER_PREFIX
from watchword.seams import Account, Store
from watchword.store.users import BuiltinUsers


class SQLAlchemyUsers(BuiltinUsers):
    """`seams.Users` over a SQLAlchemy model.

    Args:
        model: the mapped class, with a primary key of one column.
        get_session: the app's session dependency, sync or async; a generator function.
        email: the column people sign in with, compared without regard to case.
        username: what to call a person; the login column by default.
        name: the column of the full name.
        disabled: says of a row whether this person may no longer sign in.
        scopes: says of a row which scopes this person may have.

    Raises:
        ConfigError: the primary key has more than one column.
    """

    def __init__(
        self,
        model: type[Any],
        get_session: Callable[[], Any],
        *,
        email: Any,
        username: Any = None,
        name: Any = None,
        disabled: Callable[[Any], bool] = lambda _: False,
        scopes: Callable[[Any], Iterable[str]] = lambda _: (),
    ) -> None:
        key = mapping(model).primary_key
        if len(key) != 1:
            raise ConfigError(
                f"{model.__name__} has a primary key of {len(key)} columns.",
                why="a token names a person by one value",
                fix="link the users instead: see @auth.user_loader",
            )
        self._model = model
        self._key = key[0]
        self._session = _contexts(get_session)
        self._columns = {"login": email, "username": username or email, "name": name}
        self._disabled = disabled
        self._scopes = scopes

    def bind(self, store: Store, passwords: Passwords, now: Callable[[], float]) -> None:
        """Say where the credentials are kept; the server does."""
        super().__init__(store, passwords, now)

    async def by_login(self, login: str) -> Account | None:
        """The person whose login this is."""
        column = self._columns["login"]
        return await self._one(func.lower(column) == login.strip().lower())

    async def by_subject(self, subject: str) -> Account | None:
        """The person behind a token's `sub`."""
        text = subject.removeprefix(USER_PREFIX)
        try:
            value = self._key.type.python_type(text)
        except (ValueError, TypeError, NotImplementedError):
            return None
        found = await self._one(self._key == value)
        return found if found is not None and found.sub == subject else None

    async def set_password(self, account: Account, password: str) -> None:
        """Give a person a password; whatever they were signed in with ends.

        Raises:
            InvalidRequest: the password is not one anybody could have.
            Busy: too many logins are waiting.
        """
        hashed = await self._passwords.hash(password)
        await self._store.ensure_user(account.sub, self._now())
        await self._store.set_password(account.sub, hashed, self._now())

    async def _one(self, condition: ColumnElement[bool]) -> Account | None:
        statement = select(self._model).where(condition).limit(2)
        async with self._session() as session:
            result = session.scalars
            if inspect.iscoroutinefunction(result):
                rows = (await result(statement)).all()
                return self._account(rows)
            return await asyncio.to_thread(lambda: self._account(result(statement).all()))

    def _account(self, rows: Any) -> Account | None:
        """Read while the session is open; two people of one login are nobody."""
        if len(rows) != 1:
            return None
        row = rows[0]
        login, username, name = (
            None if column is None else getattr(row, column.key)
            for column in self._columns.values()
        )
        key = mapping(self._model).get_property_by_column(self._key).key
        return Account(
            sub=f"{USER_PREFIX}{getattr(row, key)}",
            username=str(username),
            email=login,
            name=name,
            disabled=self._disabled(row),
            scopes=tuple(self._scopes(row)),
        )


def _contexts(get_session: Callable[[], Any]) -> Callable[[], Any]:
    """The app's session dependency as an async context, whichever kind it is."""
    if inspect.isasyncgenfunction(get_session):
        return asynccontextmanager(get_session)
    manager = contextlib.contextmanager(get_session)

    @asynccontextmanager
    async def in_thread() -> AsyncIterator[Any]:
        context = manager()
        session = await asyncio.to_thread(context.__enter__)
        try:
            yield session
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)

    return in_thread

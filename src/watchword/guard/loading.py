"""The caller as the app's own user: the app's loader, run as a FastAPI dependency.

The loader keeps its own parameters (a session, a setting): FastAPI fills them, so
the user is attached to the very session the route works with. Parameters typed
`AccessToken` or `Account` are bound here. The token is checked before anything of
the app's is opened.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from watchword.errors import Busy, ConfigError, InvalidToken, OAuthError
from watchword.guard.requirement import Requirement
from watchword.rules.access import AccessToken
from watchword.seams import Account, Unavailable

AccountOf = Callable[[AccessToken], Awaitable[Account | None]]


class Loader:
    """A function of the app's, with what we bind and what FastAPI fills.

    Raises:
        ConfigError: a parameter's annotation cannot be read.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(
                f"{function.__qualname__} yields.",
                why="a loader returns the user; what it opens belongs in a dependency of its own",
                fix="return the user, and take the session as a parameter",
            )
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise ConfigError(
                f"The annotations of {function.__qualname__} cannot be read: {error}.",
                why="they are text that names something not visible where it stands",
                fix="define it in a module, or drop `from __future__ import annotations` there",
            ) from error
        self.token: list[str] = []
        self.account: list[str] = []
        self.others: list[inspect.Parameter] = []
        for name, parameter in inspect.signature(function).parameters.items():
            kind = hints.get(name, parameter.annotation)
            if kind is AccessToken:
                self.token.append(name)
            elif kind is Account:
                self.account.append(name)
            else:
                self.others.append(parameter.replace(annotation=kind))

    async def __call__(
        self, token: AccessToken, account: Account | None, filled: dict[str, Any]
    ) -> Any:
        """Run it with what is bound here and what FastAPI filled."""
        values = dict.fromkeys(self.token, token) | dict.fromkeys(self.account, account)
        values |= {parameter.name: filled[parameter.name] for parameter in self.others}
        if self.is_async:
            return await self.function(**values)
        return await run_in_threadpool(self.function, **values)


class CurrentUser:
    """The dependency behind `current_user(...)`.

    Args:
        requirement: checks the token first.
        account_of: the account behind a token; None for a guard without a server.
        load: the app's loader, or None to yield the account itself.
        create: the app's `on_first_login`, run when the loader finds nobody.
    """

    def __init__(
        self,
        requirement: Requirement,
        account_of: AccountOf | None,
        load: Loader | None,
        create: Loader | None,
    ) -> None:
        self.requirement = requirement
        self._account_of = account_of
        self._load = load
        self._create = create
        own = inspect.Parameter(
            "watchword_token",
            inspect.Parameter.KEYWORD_ONLY,
            annotation=AccessToken,
            default=Depends(requirement),
        )
        where = inspect.Parameter(
            "watchword_connection", inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection
        )
        self.__signature__ = inspect.Signature([own, where, *_shared(load, create)])

    async def __call__(
        self, watchword_token: AccessToken, watchword_connection: HTTPConnection, **filled: Any
    ) -> Any:
        """The user.

        Raises:
            Challenge: 401 when there is none, 503 when accounts cannot be read.
        """
        try:
            return await self._user(watchword_token, filled)
        except OAuthError as refusal:
            scope = watchword_connection.scope
            raise self.requirement.decisions.challenge(refusal, scope) from refusal

    async def _user(self, token: AccessToken, filled: dict[str, Any]) -> Any:
        wants_account = self._load is None or bool(self._load.account)
        account = await self._account(token) if wants_account else None
        if self._load is None:
            return account if account is not None else self._nobody(token)
        user = await self._load(token, account, filled)
        if user is None and self._create is not None:
            account = account or await self._account(token)
            if account is not None:
                await self._create(token, account, filled)
                user = await self._load(token, account, filled)
        return user if user is not None else self._nobody(token)

    async def _account(self, token: AccessToken) -> Account | None:
        try:
            account = await (self._account_of or claimed_account)(token)
        except Unavailable as fault:
            raise Busy("Try again in a moment.", detail=str(fault), retry_after=1) from fault
        return None if account is None or account.disabled else account

    def _nobody(self, token: AccessToken) -> Any:
        raise InvalidToken(
            "The access token is not valid.", detail=f"no user for the subject {token.sub!r}"
        )


async def claimed_account(token: AccessToken) -> Account:
    """The person as the issuer describes them: all that a guard without a server knows."""
    return Account(
        sub=token.sub,
        username=_text(token, "preferred_username") or token.sub,
        email=_text(token, "email"),
        name=_text(token, "name"),
        scopes=token.scopes,
        roles=token.roles,
    )


def _shared(*loaders: Loader | None) -> list[inspect.Parameter]:
    """What FastAPI fills: a name that both loaders use is one value, the same session.

    Raises:
        ConfigError: they mean different things by it.
    """
    found: dict[str, inspect.Parameter] = {}
    for loader in loaders:
        for parameter in loader.others if loader is not None else ():
            wanted = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            if found.setdefault(parameter.name, wanted) != wanted:
                raise ConfigError(
                    f'"{parameter.name}" is one thing to the user loader and another to '
                    "on_first_login.",
                    why="both are filled at once, by name",
                    fix="rename one of the two parameters",
                )
    return list(found.values())


def _text(token: AccessToken, claim: str) -> str | None:
    value = token.claims.get(claim)
    return value if isinstance(value, str) else None

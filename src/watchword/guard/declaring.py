"""What routes say of a guard: `require`, `token`, `current_user`, and who loads the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fastapi import Depends, Security

from watchword.errors import ConfigError
from watchword.guard import freshness
from watchword.guard.decisions import Decisions
from watchword.guard.freshness import Freshness, WhenStale
from watchword.guard.loading import AccountOf, CurrentUser, Loader
from watchword.guard.requirement import Public, Requirement
from watchword.rules.needs import Need

F = TypeVar("F", bound=Callable[..., Any])


class Declaring:
    """What a guard offers to the routes of an app."""

    _decisions: Decisions
    _account_of: AccountOf | None

    def _assemble(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._loader: Loader | None = None
        self._creator: Loader | None = None
        self._current_user_asked = False
        self.public = Depends(Public())

    def require(
        self,
        *scopes: str,
        any_of: Iterable[str] = (),
        role: str | Iterable[str] = (),
        max_age: int | None = None,
        acr: str | None = None,
        client: str | None = None,
        max_stale: float | None = None,
        when_stale: WhenStale | None = None,
        open_for: float | None = None,
    ) -> Any:
        """A dependency that lets a request pass whose token holds all of `scopes`.

        Args:
            *scopes: all of these.
            any_of: at least one of these.
            role: this role, or one of these.
            max_age: seconds since the person signed in, at most.
            acr: how they signed in.
            client: the client the token was issued to.
            max_stale: seconds since revocations were asked for, at most; 0 asks now.
            when_stale: what to do when they cannot be asked for in time.
            open_for: seconds for which `when_stale="open"` lets pass.

        Raises:
            ConfigError: a scope that was not declared, or a policy that cannot be held.
        """
        need = self._need(scopes, any_of, role, max_age=max_age, acr=acr, client=client)
        requirement = self._requirement(need, max_stale, when_stale, open_for)
        return Security(requirement, scopes=list(need.scopes))

    require_scopes = require

    def token(
        self,
        *scopes: str,
        max_stale: float | None = None,
        when_stale: WhenStale | None = None,
        open_for: float | None = None,
    ) -> Any:
        """A dependency whose value is the verified `AccessToken`; policies as in `require`."""
        need = self._need(scopes)
        requirement = self._requirement(need, max_stale, when_stale, open_for)
        return Security(requirement, scopes=list(need.scopes))

    def current_user(
        self,
        *scopes: str,
        max_stale: float | None = None,
        when_stale: WhenStale | None = None,
        open_for: float | None = None,
    ) -> Any:
        """A dependency whose value is the caller as the app's own user.

        Without a `user_loader` it is the `Account`. A client's own token is refused.
        Policies are as in `require`.
        """
        self._current_user_asked = True
        need = self._need(scopes, user=True)
        requirement = self._requirement(need, max_stale, when_stale, open_for)
        dependency = CurrentUser(requirement, self._account_of, self._loader, self._creator)
        return Security(dependency, scopes=list(need.scopes))

    def user_loader(self, function: F) -> F:
        """Decorates the function that loads the app's user for a token.

        It is a FastAPI dependency: a parameter typed `AccessToken` is bound here, the
        rest by FastAPI, so it uses the route's own session. Return None for nobody.

        Raises:
            ConfigError: it stands below the first `current_user()`.
        """
        self._loader = Loader(self._in_time(function, "user_loader"))
        return function

    def on_first_login(self, function: F) -> F:
        """Decorates the function that makes the app's user when the loader finds nobody.

        Parameters typed `Account` and `AccessToken` are bound here, the rest by FastAPI.

        Raises:
            ConfigError: it stands below the first `current_user()`.
        """
        self._creator = Loader(self._in_time(function, "on_first_login"))
        return function

    def _in_time(self, function: F, decorator: str) -> F:
        if self._current_user_asked:
            raise ConfigError(
                f"@{decorator} on {function.__qualname__} comes after current_user() was used.",
                why="FastAPI reads a dependency's parameters when the route is declared",
                fix="move it above the first current_user()",
            )
        return function

    def _requirement(
        self,
        need: Need,
        max_stale: float | None,
        when_stale: WhenStale | None,
        open_for: float | None,
    ) -> Requirement:
        usual = self._decisions.when_stale.usual.when_stale
        policy = freshness.declared(max_stale, when_stale, open_for, usual)
        if policy is not None:
            self._must_hold(policy)
        return Requirement(self._decisions, need, policy)

    def _must_hold(self, policy: Freshness) -> None:
        """Refuse what this guard has no means for.

        Raises:
            ConfigError: it does not follow revocations, or has nobody to ask.
        """
        raise NotImplementedError

    def _need(
        self,
        scopes: tuple[str, ...],
        any_of: Iterable[str] = (),
        role: str | Iterable[str] = (),
        **conditions: Any,
    ) -> Need:
        roles = (role,) if isinstance(role, str) else tuple(role)
        need = Need(tuple(scopes), tuple(any_of), roles, **conditions)
        self._decisions.must_be_declared((*need.scopes, *need.any_of))
        return need

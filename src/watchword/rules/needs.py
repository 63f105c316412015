"""What a route needs of a token."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.errors import InsufficientScope, NoUser, StaleLogin
from watchword.rules.access import AccessToken
from watchword.rules.scopes import lacks


@dataclass(frozen=True, slots=True)
class Need:
    """The conditions of one `require(...)`; all of them must hold.

    Args:
        scopes: all of these.
        any_of: at least one of these.
        roles: at least one of these.
        max_age: seconds since the login, at most (RFC 9470).
        acr: the authentication context.
        client: the client the token was issued to.
        user: whether a client's own token is not enough.
    """

    scopes: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    max_age: int | None = None
    acr: str | None = None
    client: str | None = None
    user: bool = False

    def judge(self, token: AccessToken, now: float, everything: tuple[str, ...] = ()) -> None:
        """Let the token pass or refuse it.

        Args:
            token: verified.
            now: Unix seconds.
            everything: all scopes the route needs, for the challenge.

        Raises:
            InsufficientScope, StaleLogin, NoUser: it does not do.
        """
        held = token.scopes
        for name in self.scopes:
            if name not in held:
                missing = [name for name in self.scopes if name not in held]
                raise InsufficientScope(lacks(missing), scopes=everything or self.scopes)
        if self.any_of and not any(name in held for name in self.any_of):
            raise InsufficientScope(
                f"The access token has none of the scopes {', '.join(self.any_of)}.",
                scopes=everything or self.any_of,
            )
        if self.roles and not any(role in token.roles for role in self.roles):
            raise InsufficientScope(f"This needs the role {' or '.join(self.roles)}.")
        if self.client is not None and token.client_id != self.client:
            raise InsufficientScope("This is not open to the client the token was issued to.")
        if self.user and token.is_client:
            raise NoUser("The access token has no user.")
        if self.max_age is not None or self.acr is not None:
            self._judge_login(token, now)

    def _judge_login(self, token: AccessToken, now: float) -> None:
        # RFC 9470 section 3: name what is needed, so that the client can step up.
        if self.max_age is not None and (
            token.auth_time is None or now - token.auth_time > self.max_age
        ):
            raise StaleLogin("The login is too old for this.", max_age=self.max_age, acr=self.acr)
        if self.acr is not None and token.acr != self.acr:
            raise StaleLogin("The login is too weak for this.", max_age=self.max_age, acr=self.acr)

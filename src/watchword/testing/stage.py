"""The stage: one app for one test, and the clients that a test sends in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Self

import httpx2
from anyio.from_thread import start_blocking_portal
from starlette.testclient import TestClient

from watchword.auth import Auth
from watchword.errors import ConfigError
from watchword.guard.rehearsal import guards_of
from watchword.rules.scopes import Scopes
from watchword.seams import Account
from watchword.testing.asking import PEER, Ask, Issuer, origin
from watchword.testing.other import other_issuer
from watchword.testing.own import own_server


class Stage:
    """An app whose guards trust this test; a context manager.

    Args:
        app: a FastAPI app with an `Auth` or guards on it.
        now: the clock, Unix seconds.

    Raises:
        ConfigError: there is no guard on the app, or this is not a test.
    """

    def __init__(self, app: Any, now: Callable[[], float]) -> None:
        self.app = app
        self._now = now
        self._issuers: list[Issuer] = []
        self._clients: list[TestClient] = []
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        found = guards_of(self.app)
        if not found:
            raise ConfigError(
                "No guard was found on the app under test.",
                why="no route of it requires anything",
                fix="is it the app that Auth(app) got, or that has the guarded routes?",
            )
        with contextlib.ExitStack() as entered:
            for guard, app in found:
                self._issuers.append(
                    entered.enter_context(own_server(guard, app, self._now))
                    if isinstance(guard, Auth)
                    else entered.enter_context(other_issuer(guard, self._now))
                )
            self._undo = entered.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        for client in self._clients:
            client.close()
        self._undo.close()

    def client(self, who: str | Account | None = None, **asked: Any) -> TestClient:
        """A client that sends a token with every request; without arguments it sends none.

        Args:
            who: a login, or an `Account`; the user is made on the fly.
            **asked: `scopes`, a list: what the token allows; `client`, an id: the token is
                that client's own; `issuer`: which, where the app trusts several; `password`:
                one to sign in with; and the fields of `Account`, such as `sub` and `roles`.

        Raises:
            ConfigError: nobody could have such a token.
        """
        headers = self.headers(who, **asked)
        made = TestClient(self.app, base_url=self._origin, headers=headers, client=PEER)
        self._clients.append(made)
        return made

    async def aclient(self, who: str | Account | None = None, **asked: Any) -> httpx2.AsyncClient:
        """As `client`, for the running event loop; it runs no lifespan."""
        headers = await self._headers(who, **asked)
        transport = httpx2.ASGITransport(app=self.app, client=PEER)
        return httpx2.AsyncClient(transport=transport, base_url=self._origin, headers=headers)

    def headers(self, who: str | Account | None = None, **asked: Any) -> dict[str, str]:
        """As `client`, but the headers alone."""
        # Where the app is alive in one of our clients, its hooks run where it lives.
        live = next((c.portal for c in self._clients if c.portal is not None), None)
        with contextlib.nullcontext(live) if live else start_blocking_portal() as portal:
            return portal.call(partial(self._headers, who, **asked))

    @property
    def _origin(self) -> str:
        return origin(self._issuers[0].name if isinstance(self._issuers[0].guard, Auth) else "")

    async def _headers(
        self,
        who: str | Account | None = None,
        *,
        scopes: Iterable[str] | None = None,
        client: str | None = None,
        issuer: str | None = None,
        password: str | None = None,
        **more: Any,
    ) -> dict[str, str]:
        if who is None and client is None:
            if scopes is not None or more:
                raise ConfigError("Nobody has no scopes.", fix='auth_client("ada", scopes=[...])')
            return {}
        if who is not None and client is not None:
            raise ConfigError("A token is a user's or a client's own.", fix="leave one out")
        if isinstance(scopes, str):
            raise ConfigError("scopes is a list.", fix='scopes=["items:read"]')
        signer = self._issuer(issuer)
        asked = None if scopes is None else Scopes.of(scopes)
        signer.guard.require(*asked or ())  # a misspelt scope fails as it would on a route
        token = await signer.token(Ask(who, client, asked, password, more))
        return {"Authorization": f"Bearer {token}"}

    def _issuer(self, named: str | None) -> Issuer:
        for issuer in self._issuers:
            if named in (None, issuer.name):
                return issuer
        known = ", ".join(issuer.name for issuer in self._issuers)
        raise ConfigError(f"The app trusts no issuer {named!r}.", fix=f"one of: {known}")

"""The app's own server, for one test.

It signs at its real token endpoint, for a grant in its real store, so that revoking,
refreshing and expiring are what they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import httpx2

from watchword.auth import Auth
from watchword.crypto.keys import StoredKey, generate
from watchword.crypto.refresh_tokens import RefreshTokens
from watchword.crypto.secrets import Secret, fresh, same
from watchword.errors import ConfigError
from watchword.guard import Guard
from watchword.rules import claims
from watchword.rules.clients import FIRST_PARTY, Client, usable_id
from watchword.rules.logins import folded
from watchword.rules.revoking import LONGEST_LIFE
from watchword.rules.scopes import Scopes
from watchword.seams import Account, NewGrant, Opened, StoredUser, Users
from watchword.store import accounts, clients, grants, schema, signing
from watchword.testing.asking import PEER, Ask, origin

_SECRET = fresh("run", 512).clear  # one for all apps, so that one run makes each key once


@contextmanager
def own_server(auth: Auth, app: Any, now: Callable[[], float]) -> Iterator[OwnServer]:
    """The app's own server, for one test on an empty store in memory."""
    with auth.in_memory(now, secret=_SECRET, users=Guests):
        schema.prepare(auth.driver, upgrade=True)
        prefix = claims.DEV_KID if auth.settings.is_development else ""
        for alg in auth.signing.algorithms:
            key = replace(_stored_key(alg, prefix), signs_from=now())
            auth.driver.write_now(
                signing.add(key, unless_newer_than=now(), retire_at=now(), now=now(), life=0)
            )
        yield OwnServer(auth, app)


class OwnServer:
    """Signs at the token endpoint of the app's own server."""

    def __init__(self, auth: Auth, app: Any) -> None:
        self.guard: Guard = auth
        self.name = auth.settings.issuer
        self._auth = auth
        self._app = app
        self._secrets: dict[str, Secret] = {}

    async def token(self, ask: Ask) -> str:
        """A token out of the token endpoint: for a person, by refreshing a grant."""
        await self._auth.start()
        if ask.client is not None:
            return await self._posted(await self._service(ask.client, ask.scopes or Scopes()))
        account = await self._known(ask)
        scopes = self._auth.may_have(account) if ask.scopes is None else ask.scopes
        refresh_token = await self._grant(account, scopes)
        return await self._posted(
            {"grant_type": "refresh_token", "refresh_token": refresh_token.clear}
        )

    async def _known(self, ask: Ask) -> Account:
        """The account asked for, in the store and with the scopes asked for."""
        auth = self._auth
        users, wanted = auth.users, ask.account(auth.now())
        scopes = Scopes.of(wanted.scopes)
        known = await users.by_subject(wanted.sub)
        if known is None and isinstance(ask.who, str):
            known = await users.by_login(ask.who)
        if known is not None:
            scopes = Scopes.of([*known.scopes, *scopes])
            wanted = replace(known, **{"scopes": scopes, **ask.more})
        if isinstance(users, Guests):
            users.welcome(wanted, ask.password)
            return wanted
        if known is None:
            hashed = await auth.passwords.hash(ask.password) if ask.password else None
            await auth.store.add_user(StoredUser(wanted, hashed))
        elif replace(known, scopes=wanted.scopes) != wanted:
            raise ConfigError(f"{wanted.username} is already here, and is another.")
        else:
            await auth.driver.write(accounts.set_scopes(known.sub, scopes, auth.now()))
        return wanted

    async def _grant(self, account: Account, scopes: Scopes) -> Secret:
        """What a login with a password would have left behind."""
        auth, now = self._auth, self._auth.now()
        grant_id = os.urandom(16)
        tokens = RefreshTokens(auth.settings.secrets)
        token, proof = tokens.first(grant_id, os.urandom(16), FIRST_PARTY)
        if isinstance(auth.users, Guests):
            await auth.store.ensure_user(account.sub, now)
        new = NewGrant(
            id=grant_id,
            user_id=account.sub,
            client_id=FIRST_PARTY,
            scopes=scopes,
            audience=auth.settings.audience,
            proof=proof,
            auth_time=now,
            idle_until=now + auth.settings.refresh_ttl,
            expires_at=now + auth.settings.refresh_max,
            looked_at=await auth.store.head(),
            ip=PEER[0],
        )
        # Not by the store, which would tell of a login that there was none of.
        opened = await auth.driver.write(grants.open_grant(new, now))
        if not isinstance(opened, Opened):
            raise ConfigError(
                f"{account.username} cannot be signed in.", why="disabled, or the login is taken"
            )
        return token

    async def _service(self, client_id: str, scopes: Scopes) -> dict[str, str]:
        """A client that may speak for itself, registered when first asked for."""
        store, now = self._auth.store, self._auth.now()
        if client_id == FIRST_PARTY or not usable_id(client_id):
            raise ConfigError(f"{client_id!r} cannot be the id of a client.", fix="nightly-job")
        secret = self._secrets.setdefault(client_id, fresh("gs"))
        client = Client(
            id=client_id,
            name=client_id,
            auth_method="client_secret",
            grants=frozenset({"client_credentials"}),
            scopes=scopes,
            secrets=(secret.digest,),
            created_at=now,
        )
        if not await store.add_client(client, now):
            known = await store.client(client_id) or client
            both = Scopes.of([*known.scopes, *scopes])
            verb = clients.set_scopes(client_id, both, now, LONGEST_LIFE)
            await self._auth.driver.write(verb)
            if secret.digest not in known.secrets:  # the app registered it, and has its secret
                kept = (*known.secrets[-1:], secret.digest)
                await store.set_client_secrets(client_id, kept, now, instead_of=known.secrets)
        return {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret.clear,
            **({"scope": str(scopes)} if scopes else {}),
        }

    async def _posted(self, form: dict[str, str]) -> str:
        """The access token that the token endpoint answers with."""
        transport = httpx2.ASGITransport(app=self._app, client=PEER)
        path = f"{self._auth.settings.prefix}/token"
        async with httpx2.AsyncClient(transport=transport, base_url=origin(self.name)) as http:
            answer = await http.post(path, data=form)
        if not answer.is_success:
            raise ConfigError("The app's token endpoint gave no token.", why=answer.text)
        return str(answer.json()["access_token"])


class Guests:
    """The app's own users, joined by those that a test makes up."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._made: dict[str, Account] = {}
        self._passwords: dict[str, str] = {}

    def welcome(self, account: Account, password: str | None) -> None:
        """Know an account from now on, as it is here and not as the app has it."""
        self._made[account.sub] = account
        if password is not None:
            self._passwords[account.sub] = password

    async def by_login(self, login: str) -> Account | None:
        """The account a person means by what they typed."""
        for account in self._made.values():
            if folded(account.username) == folded(login):
                return account
        return await self._users.by_login(login)

    async def by_subject(self, subject: str) -> Account | None:
        """The account behind a token's `sub`."""
        return self._made.get(subject) or await self._users.by_subject(subject)

    async def password_is(self, account: Account | None, password: str) -> bool:
        """As the test said, else as the app's users say."""
        if account is not None and account.sub in self._passwords:
            return same(self._passwords[account.sub], password)
        return await self._users.password_is(account, password)


@cache
def _stored_key(alg: str, prefix: str) -> StoredKey:
    return generate(alg, _SECRET, signs_from=0, kid_prefix=prefix)

"""The server without an app of anybody's: a FastAPI app that holds an Auth and nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from watchword import settings as settings_module
from watchword.auth import Auth
from watchword.cli.apps import auth_of, loaded
from watchword.crypto.secrets import fresh
from watchword.errors import ConfigError
from watchword.rules.scopes import Scopes
from watchword.seams import Account, StoredUser
from watchword.store.users import BuiltinUsers

# Names the app to develop. Not a setting: unknown WATCHWORD_* variables are refused.
TARGET = "_WATCHWORD_DEV_APP"
TUTORIAL = {"me": "See who you are", "items": "See your items"}
SEEDS = (  # the tutorial's users: login, password, disabled
    ("johndoe", "secret", False),
    ("alice", "secret2", True),
)


def make() -> FastAPI:
    """The app: settings from the environment and `watchword.toml`, which also has its
    `[scopes]` and `[roles]`.

    Raises:
        ConfigError: the settings cannot be served with.
    """  # noqa: D205
    settings = settings_module.load()
    tables = settings_module.tables()
    scopes = tables["scopes"]
    if not scopes and settings.is_development:
        scopes = TUTORIAL
    shown = settings.is_development if settings.docs is None else settings.docs
    app = FastAPI(
        title="Watchword",
        docs_url="/docs" if shown else None,
        redoc_url=None,
        openapi_url="/openapi.json" if shown else None,
    )
    Auth(app, scopes=scopes, roles=tables["roles"])
    return app


def developed() -> FastAPI:
    """The app to develop, seeded when it starts: in its own process, its own database."""
    target = os.environ.get(TARGET)
    app = loaded(target) if target else make()
    auth = auth_of(app)
    if auth is None:
        return app
    must_be_development(auth)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(of: Any) -> AsyncIterator[Any]:
        async with inner(of) as state:
            await seed(auth)
            yield state

    app.router.lifespan_context = lifespan
    return app


def must_be_development(auth: Auth) -> None:
    """Refuse to put users with published passwords into a production database.

    Raises:
        ConfigError: it is one.
    """
    if not auth.settings.is_development:
        raise ConfigError(
            "The app is in production mode.",
            why="`watchword dev` adds users whose passwords everybody knows",
            fix="leave env out of Auth(...) and WATCHWORD_ENV, or run: watchword serve",
        )


def has_known_users(auth: Auth) -> bool:
    """Whether the tutorial's users can sign in: not where an app has users of its own."""
    return type(auth.users) is BuiltinUsers and not auth.settings.strict


async def seed(auth: Auth) -> list[str]:
    """Add the tutorial's users where their names are free; returns those added."""
    if type(auth.users) is not BuiltinUsers:
        return []  # the app has users of its own
    added = []
    for name, password, disabled in SEEDS:
        if await auth.store.user_by_login(name) is not None:
            continue
        account = Account(
            sub=fresh("u", 128).clear,
            username=name,
            email=f"{name}@example.com",
            name={"johndoe": "John Doe", "alice": "Alice Wonderson"}[name],
            disabled=disabled,
            scopes=Scopes.of(TUTORIAL),
            created_at=auth.now(),
        )
        if await auth.store.add_user(StoredUser(account, await auth.passwords.hash(password))):
            added.append(name)
    return added

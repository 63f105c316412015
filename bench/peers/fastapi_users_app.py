"""fastapi-users as its manual sets it up: JWT strategy, SQLAlchemy over aiosqlite.

The authenticator loads the user on each guarded request; revocation is not supported.
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users.exceptions import UserAlreadyExists
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from bench.peers.common import ACCESS_TTL, LANES, MEMORY_KIB, PASSES, PASSWORD, SECRET, USERNAME

EMAIL = f"{USERNAME}@example.com"  # this library logs in by e-mail address


class Base(DeclarativeBase):
    """The declarative base of the one table."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """The library's own user table, nothing added."""


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """The library's manager, with the two secrets it insists on."""

    reset_password_token_secret = SECRET
    verification_token_secret = SECRET


engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['BENCH_STATE']}/fastapi_users.db")
session_maker = async_sessionmaker(engine, expire_on_commit=False)
passwords = PasswordHelper(
    PasswordHash((Argon2Hasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES),))
)


async def get_session() -> AsyncIterator[AsyncSession]:
    """Open a session for one request."""
    async with session_maker() as session:
        yield session


async def get_user_db(
    session: Annotated[AsyncSession, Depends(get_session)],
) -> AsyncIterator[SQLAlchemyUserDatabase[User, uuid.UUID]]:
    """Give the library its view of the user table."""
    yield SQLAlchemyUserDatabase(session, User)


async def get_user_manager(
    user_db: Annotated[SQLAlchemyUserDatabase[User, uuid.UUID], Depends(get_user_db)],
) -> AsyncIterator[UserManager]:
    """Give the library its manager."""
    yield UserManager(user_db, passwords)


def get_strategy() -> JWTStrategy[User, uuid.UUID]:
    """Sign and check with HS256, the library's default."""
    return JWTStrategy(secret=SECRET, lifetime_seconds=ACCESS_TTL)


backend = AuthenticationBackend("jwt", BearerTransport(tokenUrl="login"), get_strategy)
library = FastAPIUsers[User, uuid.UUID](get_user_manager, [backend])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make the table and the one user, unless an earlier start did."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with session_maker() as session:
        manager = UserManager(SQLAlchemyUserDatabase(session, User), passwords)
        with suppress(UserAlreadyExists):
            await manager.create(schemas.BaseUserCreate(email=EMAIL, password=PASSWORD))
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.include_router(library.get_auth_router(backend))


@app.get("/open")
async def open_route() -> dict[str, bool]:
    """Answer anyone."""
    return {"ok": True}


@app.get("/guarded", dependencies=[Depends(library.current_user(active=True))])
async def guarded_route() -> dict[str, bool]:
    """Answer an active user."""
    return {"ok": True}


app.get("/open-after")(open_route)

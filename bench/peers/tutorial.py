"""The design most FastAPI tutorials teach: HS256, users in a dict, revoked tokens in a set.

The password is checked inside `async def`, as the tutorials do; that is the point of measuring it.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

import jwt
from argon2.exceptions import VerifyMismatchError
from fastapi import Depends, FastAPI, Form, HTTPException, status
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pydantic import BaseModel

from bench.peers.common import ACCESS_TTL, PASSWORD, SECRET, USERNAME, hasher

ALGORITHM = "HS256"
REFRESH_TTL = 7 * 86_400  # seconds


class User(BaseModel):
    """Whom a token speaks for."""

    username: str
    full_name: str | None = None
    disabled: bool = False


class StoredUser(User):
    """The user with the hash that must not leave the server."""

    hashed_password: str


class Tokens(BaseModel):
    """The answer to a login."""

    access_token: str
    refresh_token: str
    token_type: str = "bearer"


class Blacklist(Protocol):
    """Where revoked tokens are remembered."""

    async def add(self, token: str) -> None:
        """Remember that `token` is revoked."""

    async def has(self, token: str) -> bool:
        """Say whether `token` was revoked."""


@dataclass
class MemoryBlacklist:
    """A set in the process: gone with it, and unknown to the next worker."""

    tokens: set[str] = field(default_factory=set)

    async def add(self, token: str) -> None:
        """Remember that `token` is revoked."""
        self.tokens.add(token)

    async def has(self, token: str) -> bool:
        """Say whether `token` was revoked."""
        return token in self.tokens


password_hasher = hasher()
users = {
    USERNAME: {
        "username": USERNAME,
        "full_name": "A Benchmark",
        "disabled": False,
        "hashed_password": password_hasher.hash(PASSWORD),
    }
}
bearer = OAuth2PasswordBearer(tokenUrl="token")
Token = Annotated[str, Depends(bearer)]
CurrentUser = Callable[..., Awaitable[User]]


def unauthorized(why: str) -> HTTPException:
    """Return the one refusal the tutorial has."""
    return HTTPException(status.HTTP_401_UNAUTHORIZED, why, {"WWW-Authenticate": "Bearer"})


def find_user(username: str) -> StoredUser | None:
    """Return the stored user of that name, if there is one."""
    return StoredUser(**users[username]) if username in users else None  # type: ignore[arg-type]


def authenticate(username: str, password: str) -> StoredUser:
    """Return the user whose password this is, or raise a 401."""
    user = find_user(username)
    if user is None:
        raise unauthorized("Incorrect username or password")
    try:
        password_hasher.verify(user.hashed_password, password)
    except VerifyMismatchError:
        raise unauthorized("Incorrect username or password") from None
    return user


def create_token(username: str, seconds: int, kind: str) -> str:
    """Sign a token of `kind` that lives for `seconds`."""
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    claims = {"sub": username, "exp": expires, "type": kind, "jti": uuid.uuid4().hex}
    return jwt.encode(claims, SECRET, algorithm=ALGORITHM)


def create_tokens(username: str) -> Tokens:
    """Sign the pair that a login answers with."""
    return Tokens(
        access_token=create_token(username, ACCESS_TTL, "access"),
        refresh_token=create_token(username, REFRESH_TTL, "refresh"),
    )


async def subject_of(token: str, kind: str, blacklist: Blacklist) -> str:
    """Return the user name that a live token of `kind` carries, or raise a 401."""
    if await blacklist.has(token):
        raise unauthorized("Token has been revoked")
    try:
        claims = jwt.decode(token, SECRET, algorithms=[ALGORITHM])
    except jwt.InvalidTokenError:
        raise unauthorized("Could not validate credentials") from None
    if claims.get("type") != kind or not claims.get("sub"):
        raise unauthorized("Could not validate credentials")
    return str(claims["sub"])


def guard(blacklist: Blacklist) -> CurrentUser:
    """Return the chain of dependencies that the tutorial builds up chapter by chapter."""

    async def get_current_user(token: Token) -> User:
        user = find_user(await subject_of(token, "access", blacklist))
        if user is None:
            raise unauthorized("Could not validate credentials")
        return user

    async def get_current_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
        if user.disabled:
            raise HTTPException(status.HTTP_400_BAD_REQUEST, "Inactive user")
        return user

    return get_current_active_user


def build(blacklist: Blacklist) -> FastAPI:
    """Build the tutorial's app over a place to remember revoked tokens."""
    app = FastAPI()
    current_active_user = guard(blacklist)

    @app.post("/token")
    async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Tokens:
        return create_tokens(authenticate(form.username, form.password).username)

    @app.post("/refresh-token")
    async def refresh(refresh_token: Annotated[str, Form()]) -> Tokens:
        username = await subject_of(refresh_token, "refresh", blacklist)
        await blacklist.add(refresh_token)
        return create_tokens(username)

    @app.post("/revoke-token")
    async def revoke(token: Token) -> dict[str, str]:
        await blacklist.add(token)
        return {"detail": "Token revoked"}

    @app.get("/users/me")
    async def me(user: Annotated[User, Depends(current_active_user)]) -> User:
        return user

    @app.get("/open")
    async def open_route() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/guarded", dependencies=[Depends(current_active_user)])
    async def guarded_route() -> dict[str, bool]:
        return {"ok": True}

    app.get("/open-after")(open_route)
    return app


app = build(MemoryBlacklist())

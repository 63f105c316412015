"""An API with a login."""
# ruff: noqa: TID251, B904 - as tutorials write it

from datetime import UTC, datetime, timedelta
from typing import Annotated

import bcrypt
import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from people import fake_users_db
from pydantic import BaseModel

SECRET_KEY = "5f2b7c1e9a4d80635f2b7c1e9a4d80635f2b7c1e9a4d80635f2b7c1e9a4d8063"
ALGORITHM = "HS256"
LIFETIME = timedelta(minutes=30)

app = FastAPI()
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")


class User(BaseModel):
    """Who is signed in."""

    username: str
    full_name: str
    email: str
    disabled: bool


def authenticate(username: str, password: str) -> User | None:
    found = fake_users_db.get(username)
    if found is None:
        return None
    if not bcrypt.checkpw(password.encode(), found["hashed_password"].encode()):
        return None
    return User(**found)


async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> User:
    try:
        claims = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM])
        user = User(**fake_users_db[claims["sub"]])
    except (jwt.InvalidTokenError, KeyError):
        raise HTTPException(
            401, "Could not validate credentials", headers={"WWW-Authenticate": "Bearer"}
        )
    if user.disabled:
        raise HTTPException(400, "Inactive user")
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


@app.post("/token")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, str]:
    user = authenticate(form.username, form.password)
    if user is None:
        raise HTTPException(400, "Incorrect username or password")
    claims = {"sub": user.username, "exp": datetime.now(UTC) + LIFETIME}
    token = jwt.encode(claims, SECRET_KEY, algorithm=ALGORITHM)
    return {"access_token": token, "token_type": "bearer"}


@app.get("/users/me")
async def read_me(user: CurrentUser) -> User:
    return user


@app.get("/users/me/items")
async def read_my_items(user: CurrentUser) -> list[dict[str, str]]:
    return [{"item_id": "Foo", "owner": user.username}]

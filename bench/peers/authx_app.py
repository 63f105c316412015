"""authx as its manual sets it up: HS256 tokens from the header, no store behind them."""

from datetime import timedelta
from typing import Annotated

from argon2.exceptions import VerifyMismatchError
from authx import AuthX, AuthXConfig
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordRequestForm

from bench.peers.common import ACCESS_TTL, PASSWORD, SECRET, USERNAME, hasher

library: AuthX[None] = AuthX(
    AuthXConfig(
        JWT_ALGORITHM="HS256",
        JWT_SECRET_KEY=SECRET,
        JWT_TOKEN_LOCATION=["headers"],
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=ACCESS_TTL),
    )
)
password_hasher = hasher()
hashed_passwords = {USERNAME: password_hasher.hash(PASSWORD)}

app = FastAPI()
library.handle_errors(app)


@app.post("/token")
def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, str]:
    """Log in; the library has no users of its own."""
    try:
        password_hasher.verify(hashed_passwords[form.username], form.password)
    except (KeyError, VerifyMismatchError):
        raise HTTPException(401, "Incorrect username or password") from None
    return {"access_token": library.create_access_token(uid=form.username), "token_type": "bearer"}


@app.get("/open")
async def open_route() -> dict[str, bool]:
    """Answer anyone."""
    return {"ok": True}


@app.get("/guarded", dependencies=[Depends(library.access_token_required)])
async def guarded_route() -> dict[str, bool]:
    """Answer the holder of an access token."""
    return {"ok": True}


app.get("/open-after")(open_route)

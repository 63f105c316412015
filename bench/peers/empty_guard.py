"""No design at all: one async dependency that does nothing, which is the least FastAPI allows."""

from fastapi import Depends, FastAPI

app = FastAPI()


async def nothing() -> None:
    """Let everyone in."""


@app.get("/open")
async def open_route() -> dict[str, bool]:
    """Answer anyone."""
    return {"ok": True}


@app.get("/guarded", dependencies=[Depends(nothing)])
async def guarded_route() -> dict[str, bool]:
    """Answer anyone, after asking nothing."""
    return {"ok": True}


app.get("/open-after")(open_route)


@app.post("/token")
async def login() -> dict[str, str]:
    """Hand out a token, as long as an ES256 one is, that nobody will look at."""
    return {"access_token": "x" * 480}

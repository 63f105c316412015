"""A small app with Watchword mounted on it: one open route, one guarded, limits off.

The limits are off because the benchmark is one address that logs one account in
thousands of times, which is what they are there to stop; no peer has any.
"""

import os

from fastapi import FastAPI

from watchword import Auth

app = FastAPI()
auth = Auth(
    app,
    env="development",
    issuer=f"http://localhost:{os.environ['BENCH_PORT']}",
    database_url=os.environ.get(
        "WATCHWORD_DATABASE_URL", f"sqlite:///{os.environ['BENCH_STATE']}/bench.db"
    ),
    secret=os.environ["BENCH_SECRET"],
    scopes={"me": "See who you are", "items": "See your items"},
    limit_login_account_ip="off",
    limit_login_ip="off",
    limit_login_account="off",
    limit_token="off",
)


@app.get("/open")
async def open_route() -> dict[str, bool]:
    """Answer anyone."""
    return {"ok": True}


@app.get("/guarded", dependencies=[auth.require("me")])
async def guarded_route() -> dict[str, bool]:
    """Answer the holder of a live token with the scope."""
    return {"ok": True}


app.get("/open-after")(open_route)

# What following the revocation log costs, by leaving it out: two processes of one program
# differ by more than that, so the same one does both.
_LOGS = [verifier.revocations for verifier in auth._verifiers]  # noqa: SLF001


@app.get("/log/{state}", dependencies=[auth.public])
async def log_route(state: str) -> dict[str, str]:
    """Turn the log on or off."""
    for verifier, log in zip(auth._verifiers, _LOGS, strict=True):  # noqa: SLF001
        verifier.revocations = log if state == "on" else None
    return {"log": state}

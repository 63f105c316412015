"""An API with login, guarded routes, refresh and revocation. Copy this file.

    watchword dev --app demo:app

Seeded for development: johndoe / secret, and alice / secret2, who is disabled.
"""

from typing import Annotated

from fastapi import FastAPI

from watchword import Account, Auth

app = FastAPI(title="Watchword demo")
auth = Auth(
    app,
    scopes={
        "me": "Read information about the current user",
        "items": "Read items",
    },
)


@app.get("/", dependencies=[auth.public])
async def open_to_everyone() -> dict[str, str]:
    return {"message": "Everyone may read this."}


# GET /users/me is there already: `Auth` answers it, where an app has none of its own.
@app.get("/users/me/items/", include_in_schema=False)
@app.get("/users/me/items")
async def read_my_items(
    user: Annotated[Account, auth.current_user("items")],
) -> list[dict[str, str]]:
    return [{"item_id": "Foo", "owner": user.username}]

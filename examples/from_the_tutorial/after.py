"""An API with a login."""

from typing import Annotated

from fastapi import FastAPI

from watchword import Account, Auth

app = FastAPI()
auth = Auth(app)
CurrentUser = Annotated[Account, auth.current_user()]


@app.get("/users/me/items")
async def read_my_items(user: CurrentUser) -> list[dict[str, str]]:
    return [{"item_id": "Foo", "owner": user.username}]

"""An API with one route."""

from typing import Annotated

from fastapi import FastAPI

from watchword import Account, Auth

app = FastAPI()
auth = Auth(app, scopes={"items": "See your items"})
CurrentUser = Annotated[Account, auth.current_user("items")]


@app.get("/items")
async def read_items(user: CurrentUser) -> list[dict[str, str]]:
    return [{"item": "Foo", "owner": user.username}]

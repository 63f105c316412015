"""How a guard decides, and that what it cannot decide is a refusal."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from watchword import AccessToken, Account, Auth
from watchword.errors import InvalidToken
from watchword.guard.decisions import Decisions
from watchword.seams import Unavailable


async def test_a_token_is_verified_once_per_request_however_many_ask(build, monkeypatch) -> None:
    def prepare(app: FastAPI, auth: Auth) -> None:
        def settings(token: Annotated[AccessToken, auth.token("me")]) -> str:
            return token.sub

        @app.get("/many", dependencies=[auth.require(), auth.require("me"), auth.require("items")])
        async def many(
            user: Annotated[Account, auth.current_user("items")],
            token: Annotated[AccessToken, auth.token()],
            again: Annotated[AccessToken, auth.token("items")],
            subject: Annotated[str, Depends(settings)],
        ) -> dict[str, bool]:
            return {"same": token is again and user.sub == token.sub == subject}

    server = build(prepare)
    await server.auth.start()
    await server.add_user("johndoe")
    token = (await server.login())["access_token"]
    verifier, asked = server.auth._verifiers[0], []

    class Counting:
        def recall(self, text: bytes, now: float) -> AccessToken | None:
            found = verifier.recall(text, now)
            if found is not None:
                asked.append(text)
            return found

        async def __call__(self, text: str, now: float, *more: object) -> AccessToken:
            asked.append(text)
            return await verifier(text, now, *more)

    monkeypatch.setattr(server.auth, "_verifiers", (Counting(),))
    monkeypatch.setattr(server.auth._decisions, "recall", Counting().recall)
    for number in (1, 2):
        assert (await server.get("/many", token)).json() == {"same": True}
        assert len(asked) == number, "once for each request: nothing is kept between requests"


async def test_two_guards_on_one_request_do_not_share_a_token() -> None:
    async def accept(text: str, now: float, *_: object) -> str:
        return f"accepted {text}"

    async def refuse(text: str, now: float, *_: object) -> str:
        raise InvalidToken("no")

    def made(verify) -> Decisions:
        return Decisions(verify, lambda: 0.0, declared={}, resource_metadata=None)

    scope = {"type": "http", "headers": [(b"authorization", b"Bearer x")]}
    kind, lax = made(refuse), made(accept)
    assert await lax.token_of(scope) == "accepted x"
    with pytest.raises(InvalidToken):
        await kind.token_of(scope)


async def test_a_refused_token_is_not_remembered_as_good(server) -> None:
    token = (await server.login())["access_token"]
    assert (await server.get("/guarded", token)).status_code == 200
    assert (await server.get("/guarded", token + "A")).status_code == 401
    assert (await server.get("/guarded")).status_code == 401


@pytest.mark.sqlite
async def test_when_the_log_cannot_be_read_nobody_is_let_in(server, monkeypatch) -> None:
    token = (await server.login())["access_token"]
    assert (await server.get("/guarded", token)).status_code == 200

    def away(after: int, epoch: int) -> None:
        raise Unavailable("disk gone: /var/secret")

    monkeypatch.setattr(
        server.auth.revocations, "_log", type("Log", (), {"news": staticmethod(away)})
    )
    answer = await server.get("/guarded", token)
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert "WWW-Authenticate" not in answer.headers
    body = answer.json()
    assert body["code"] == "WW-302" and "secret" not in body["detail"]


async def test_hints_are_for_development_only(build) -> None:
    production = build(
        env="production",
        issuer="https://login.example.com",
        resource="https://api.example.com",
    )
    await production.auth.start()
    for answer in (await production.get("/guarded"), await production.get("/guarded", "x.y.z")):
        assert answer.status_code == 401 and "hint" not in answer.json()
        assert 'resource_metadata="https://' in answer.headers["WWW-Authenticate"]


async def test_the_hint_says_what_to_do(server) -> None:
    assert "POST /token" in (await server.get("/guarded")).json()["hint"]
    assert "watchword explain" in (await server.get("/guarded", "x.y.z")).json()["hint"]
    client_id, secret = await server.add_client("job", scopes="items")
    answer = await server.post(
        "/token",
        {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret},
    )
    refused = await server.get("/users/me/items", answer.json()["access_token"])
    assert (refused.status_code, refused.json()["code"]) == (403, "WW-211")
    assert "client, not to a person" in refused.json()["hint"]


@pytest.mark.sqlite
async def test_a_warm_guard_asks_the_database_for_one_number_at_most(build, tmp_path) -> None:
    server = build(database_url=f"sqlite:///{tmp_path / 'w.db'}")
    await server.auth.start()
    await server.add_user("johndoe")
    token = (await server.login())["access_token"]
    assert (await server.get("/guarded", token)).status_code == 200
    statements: list[str] = []
    server.auth.driver.connection.set_trace_callback(statements.append)
    for _ in range(3):
        assert (await server.get("/guarded", token)).status_code == 200
    server.auth.driver.connection.set_trace_callback(None)
    assert len(statements) <= 3 and set(statements) <= {"PRAGMA data_version"}

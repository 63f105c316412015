"""`auth.revoke(...)`: what it ends, what it tells, and that it ends nothing else."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from watchword import Auth
from watchword.crypto.strict import decode64, json_object
from watchword.guard import streams


def claim(tokens: dict, name: str) -> str:
    return str(json_object(decode64(tokens["access_token"].split(".")[1].encode()))[name])


async def lives(server, tokens: dict) -> bool:
    return (await server.get("/guarded", tokens["access_token"])).is_success


@pytest.fixture
async def two(server):
    await server.add_user("jane")
    return await server.login(), await server.login(), await server.login("jane")


@pytest.mark.parametrize("by", ["account", "subject"])
async def test_a_user_is_signed_out_everywhere_and_nobody_else(server, two, by) -> None:
    first, second, other = two
    account = await server.auth.users.by_login("johndoe")
    await server.auth.revoke(user=account if by == "account" else account.sub)
    assert [await lives(server, one) for one in two] == [False, False, True]
    assert not (await server.refresh(first["refresh_token"])).is_success
    assert await lives(server, await server.login()), "in the very same second"
    assert [(event.what, event.target) for event in server.told("token.revoked")] == [
        ("user", account.sub)
    ]


@pytest.mark.parametrize("given", ["text", "bytes"])
async def test_a_grant_ends_and_no_other_of_the_same_person(server, two, given) -> None:
    first, *_ = two
    fid = claim(first, "fid")
    await server.auth.revoke(grant=fid if given == "text" else bytes.fromhex(fid))
    assert [await lives(server, one) for one in two] == [False, True, True]
    assert [event.target for event in server.told("token.revoked")] == [fid]


@pytest.mark.parametrize("given", ["text", "value"])
async def test_a_token_ends_with_its_grant(server, two, given) -> None:
    first, *_ = two
    token = first["access_token"]
    await server.auth.revoke(
        token=token if given == "text" else await server.auth._bench.verify(token)
    )
    assert [await lives(server, one) for one in two] == [False, True, True]
    assert not (await server.refresh(first["refresh_token"])).is_success
    await server.auth.revoke(token=token)
    assert len(server.told("token.revoked")) == 1


async def test_a_client_and_a_clients_own_token(server, two) -> None:
    name, secret = await server.add_client("job", scopes="me")
    form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
    one, other = [(await server.post("/token", form)).json() for _ in range(2)]
    await server.auth.revoke(token=one["access_token"])
    assert (await lives(server, one), await lives(server, other)) == (False, True)
    await server.auth.revoke(client=name)
    assert not await lives(server, other)
    assert await lives(server, (await server.post("/token", form)).json())
    assert [await lives(server, tokens) for tokens in two] == [True, True, True]


@pytest.mark.parametrize(
    "nothing",
    [{"user": "u_nobody"}, {"client": "nobody"}, {"grant": "00" * 16}, {"token": "x.y.z"}],
)
async def test_what_nobody_has_is_ended_already(server, two, nothing) -> None:
    before = await server.auth.store.head()
    assert await server.auth.revoke(**nothing) == f"1.{before}"
    assert [await lives(server, tokens) for tokens in two] == [True, True, True]
    assert not server.told("token.revoked")


@pytest.mark.parametrize("given", [{}, {"user": "a", "client": "b"}, {"token": "t", "grant": "00"}])
async def test_one_thing_at_a_time(server, given) -> None:
    with pytest.raises(TypeError, match="one thing"):
        await server.auth.revoke(**given)


async def test_a_position_is_where_the_log_is_and_only_grows(server, two) -> None:
    positions = [
        await server.auth.revoke(user="u_johndoe"),
        await server.auth.revoke(user="u_jane"),
        await server.auth.revoke(user="u_nobody"),
    ]
    head = await server.auth.store.head()
    assert positions == [f"1.{head - 1}", f"1.{head}", f"1.{head}"]


@pytest.mark.quiet
async def test_the_barrier_waits_for_guards_elsewhere_where_there_may_be_some(build) -> None:
    server = build(max_stale=0.3)
    await server.auth.start()
    await server.add_user("johndoe")
    if server.auth.revocations.bound:
        return  # across a network it waits in any case
    loop = asyncio.get_running_loop()
    await server.auth.revoke(user="u_johndoe")
    began = loop.time()
    await server.auth.revoke(user="u_johndoe", barrier=True)
    assert loop.time() - began < 0.3, "nobody may follow from elsewhere"
    await server.add_client("orders", introspects=("https://api.example.com",))
    began = loop.time()
    await server.auth.revoke(user="u_johndoe", barrier=True)
    assert 0.3 <= loop.time() - began < 2


@pytest.mark.sqlite
async def test_on_one_machine_the_barrier_is_no_wait(server, two) -> None:
    async with asyncio.timeout(1):
        await server.auth.revoke(user="u_johndoe", barrier=True)
    assert [await lives(server, tokens) for tokens in two] == [False, False, True]


async def test_a_server_that_has_not_begun_begins(build) -> None:
    server = build()
    assert await server.auth.revoke(user="u_nobody") == f"1.{await server.auth.store.head()}"


async def test_streams_of_this_process_are_cut_at_once(build, monkeypatch) -> None:
    monkeypatch.setattr(streams, "CHECK_EVERY", 3600)

    def prepare(app: FastAPI, auth: Auth) -> None:
        @app.get("/stream", dependencies=[auth.require()])
        async def stream(request: Request) -> StreamingResponse:
            async def lines() -> AsyncIterator[str]:
                async with auth.until_revoked(request):
                    while True:
                        yield "data: tick\n\n"
                        await asyncio.sleep(0.005)

            return StreamingResponse(lines(), media_type="text/event-stream")

    server = build(prepare)
    await server.auth.start()
    await server.add_user("johndoe")
    tokens = await server.login()
    streaming = asyncio.create_task(server.get("/stream", tokens["access_token"]))
    await asyncio.sleep(0.1)
    assert not streaming.done()
    await server.auth.revoke(token=tokens["access_token"])
    await asyncio.wait_for(streaming, 5)

"""Rows D of the attack catalogue: what strangers send costs little and is kept nowhere."""

import asyncio
import json
import time
import tracemalloc

import pytest

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATHS = ["/token", "/refresh-token", "/revoke", "/introspect", "/revoke-token", "/guarded"]
NO_LIMITS = dict.fromkeys(
    ("limit_login_account_ip", "limit_login_ip", "limit_login_account", "limit_token"), "off"
)


def bombs() -> list[bytes]:
    return [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"9" * 60_000,
        json.dumps({"a": "x" * 60_000}).encode(),
        b"{" + b'"a":1,' * 9_000 + b'"a":1}',
        b"a=" + b"%41" * 20_000,
        b"&" * 60_000,
        b"=" * 60_000,
        b"%" * 60_000,
        b"+" * 60_000,
        b"a=1&" * 16_000,
    ]


@pytest.mark.attack("D-03", "T-26")
@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x"],
)
async def test_bombs_go_off_nowhere(server, kind):
    began = time.process_time()
    with server.unchanged():
        for path in PATHS[:4]:
            for body in bombs():
                answer = await server.http.post(path, content=body, headers={"Content-Type": kind})
                assert answer.status_code in (400, 413, 415)
    assert time.process_time() - began < 4, "seconds of processor for 44 bombs"


@pytest.mark.attack("D-03", "J-33")
async def test_a_token_that_is_a_bomb(server):
    import base64

    def part(text: bytes) -> str:
        return base64.urlsafe_b64encode(text).decode().rstrip("=")

    header = part(b'{"alg":"ES256","typ":"at+jwt"}')
    began = time.process_time()
    for payload in (
        b"[" * 5_000,
        b'{"a":' * 1_500,
        b'{"exp":' + b"9" * 7_000 + b"}",
        b"{" + b'"a":1,' * 1_500 + b'"a":1}',
    ):
        for token in (f"{header}.{part(payload)}.AAAA", f"{part(payload)}.{part(b'{}')}.AAAA"):
            assert (await server.get("/guarded", token)).status_code == 401
            assert (await server.post("/revoke", {"token": token})).status_code == 200
    for size in (17_000, 1_000_000):
        assert (await server.get("/guarded", "x" * size)).status_code == 401
    assert time.process_time() - began < 2


@pytest.mark.attack("D-04", "D-06")
async def test_multipart_and_compressed_bodies_are_never_opened(server):
    import gzip

    bomb = gzip.compress(b"username=" + b"x" * 50_000_000)
    headers = {**FORM, "Content-Encoding": "gzip"}
    tracemalloc.start()
    try:
        for path in PATHS[:4]:
            assert (await server.http.post(path, content=bomb, headers=headers)).status_code == 415
            for boundary in ("x", "x" * 30_000, '"' * 500, ";" * 5_000, "=" * 5_000):
                kind = f"multipart/form-data; boundary={boundary}"
                body = (f"--{boundary}\r\n" + "X: y\r\n" * 10_000 + "\r\n").encode()
                answer = await server.http.post(path, content=body, headers={"Content-Type": kind})
                assert answer.status_code == 415
        assert tracemalloc.get_traced_memory()[1] < 20_000_000, "bytes at the peak"
    finally:
        tracemalloc.stop()


@pytest.mark.attack("D-09")
@pytest.mark.parametrize("letter", ["a", " ", "%", "=", ":", "/", "+", "-", "\t", ";", ",", '"'])
async def test_long_runs_of_one_letter_take_linear_time(server, letter):
    run = letter * 60_000
    began = time.process_time()
    for headers in (
        {"Authorization": f"Basic {run}"},
        {"Authorization": f"Bearer {run}"},
        {"Authorization": f"Bearer{run}"},
        {**FORM, "Content-Type": f"application/x-www-form-urlencoded;{run}"},
        {"Content-Type": run},
        {"Origin": run, **FORM},
        {"X-Forwarded-For": run, **FORM},
    ):
        for path in ("/token", "/guarded", "/refresh-token"):
            verb = "GET" if path == "/guarded" else "POST"
            answer = await server.http.request(verb, path, headers=headers)
            assert 400 <= answer.status_code < 500
    for field in ("username", "scope", "client_id", "refresh_token", "grant_type", "resource"):
        form = {"username": "johndoe", "password": "wrong", field: run[:20_000]}
        assert (await server.post("/token", form)).status_code < 500
    assert time.process_time() - began < 3


@pytest.mark.attack("D-07", "D-08")
async def test_a_thousand_failures_leave_no_row(build):
    server = build(**NO_LIMITS)
    await server.auth.start()
    before = server.snapshot()
    noted = server.rows("SELECT count(*) FROM watchword_audit")[0][0]
    for turn in range(300):
        await server.post("/token", {"username": f"user{turn}", "password": "x"})
        await server.post("/token", {"grant_type": "refresh_token", "refresh_token": f"wwr_{turn}"})
        await server.post("/revoke", {"token": f"{turn}.x.y"})
        await server.get("/guarded", f"{turn}.x.y")
    assert server.snapshot() == before
    assert server.rows("SELECT count(*) FROM watchword_audit")[0][0] == noted
    assert server.auth._verifiers[0]._cache == {}, "refusals are never remembered"


@pytest.mark.attack("D-07", "Z-30")
async def test_old_sessions_are_swept_in_batches_and_the_table_is_flat(build):
    server = build(**NO_LIMITS)
    await server.auth.start()
    await server.add_user("johndoe")
    for _ in range(30):
        await server.login()
    kept = server.snapshot()
    server.clock.tick(91 * 86_400)
    assert await server.auth.store.sweep(server.clock(), most=10) >= 10
    assert len(server.rows("SELECT * FROM watchword_grants")) == 20
    for _ in range(4):
        await server.auth.store.sweep(server.clock(), most=10)
    assert server.rows("SELECT * FROM watchword_grants") == []
    assert server.snapshot()["watchword_users"] == kept["watchword_users"]


@pytest.mark.attack("D-02")
async def test_hashing_does_not_hold_the_loop(build):
    """While passwords are hashed the loop goes on: it turns many times for each hash."""
    server = build(**NO_LIMITS, hash_memory_kib=32_768, hash_passes=3)
    await server.auth.start()
    await server.add_user("johndoe")
    turns, done = 0, False

    async def spin() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0.001)

    spinning = asyncio.create_task(spin())
    await asyncio.gather(*(server.login() for _ in range(4)))
    done = True
    await spinning
    assert turns >= 8

"""The cookie of a known device: set by a login, read once, and by nobody else."""

from __future__ import annotations

import pytest

LOGIN = {"username": "johndoe", "password": "secret"}
PRODUCTION = {"env": "production", "issuer": "https://id.example.com"}


async def started(build, **options):
    server = build(**options)
    await server.auth.start()
    await server.add_user("johndoe")
    return server


@pytest.mark.attack("W-05")
async def test_a_login_sets_it_as_safe_as_cookies_get(build):
    server = await started(build, **PRODUCTION)
    (cookie,) = (await server.post("/token", LOGIN)).headers.get_list("set-cookie")
    pair, *attributes = cookie.split("; ")
    assert pair.startswith("__Host-watchword_device=")
    assert len(pair) == len("__Host-watchword_device=") + 64
    assert {a.lower() for a in attributes if not a.lower().startswith("expires")} == {
        "httponly", "secure", "samesite=lax", "path=/", "max-age=7776000",
    }  # fmt: skip
    assert not any(a.lower().startswith("domain") for a in attributes)


async def test_in_development_it_works_without_tls(server):
    (cookie,) = (await server.post("/token", LOGIN)).headers.get_list("set-cookie")
    assert cookie.startswith("watchword_device=")
    assert "secure" not in cookie.lower()


async def test_only_a_login_that_succeeded_sets_it(server):
    for form in ({**LOGIN, "password": "wrong"}, {"username": "nobody", "password": "secret"}):
        assert "set-cookie" not in (await server.post("/token", form)).headers
    tokens = await server.login()
    assert "set-cookie" not in (await server.refresh(tokens["refresh_token"])).headers
    name, secret = await server.add_client("job")
    form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
    assert "set-cookie" not in (await server.post("/token", form)).headers


async def test_a_device_stays_the_same_and_lives_on(server):
    await server.login()
    first = server.http.cookies["watchword_device"]
    server.clock.tick(3600)
    await server.login()
    second = server.http.cookies["watchword_device"]
    assert first[:21] == second[:21], "the id"
    assert first != second
    server.http.cookies.clear()
    await server.login()
    assert server.http.cookies["watchword_device"][:21] != first[:21]


async def test_it_can_be_switched_off(build):
    server = await started(build, known_devices=False)
    assert "set-cookie" not in (await server.post("/token", LOGIN)).headers


@pytest.mark.attack("L-05")
@pytest.mark.parametrize(
    ("site", "sets"), [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)]
)  # fmt: skip
async def test_a_page_of_another_origin_cannot_replace_it(server, site, sets):
    answer = await server.post("/token", LOGIN, headers={"Sec-Fetch-Site": site})
    assert answer.is_success
    assert ("set-cookie" in answer.headers) == sets


@pytest.mark.attack("O-09")
async def test_two_of_a_name_are_none(build):
    server = await started(build, limit_login_account_ip="2 + 1/h")
    await server.login()
    known = server.http.cookies["watchword_device"]
    server.http.cookies.clear()
    for _ in range(2):
        await server.post("/token", {**LOGIN, "password": "wrong"})

    async def status(*headers: str) -> int:
        lines = [("Cookie", header) for header in headers]
        return (await server.post("/token", LOGIN, headers=lines)).status_code

    mine = f"watchword_device={known}"
    for tossed in (
        [f"watchword_device=x; {mine}"],
        [f"{mine}; watchword_device={known}"],
        [mine, "watchword_device=x"],
        [f"Watchword_Device={known}"],
        [f"watchword_device ={known}x"],
        ["watchword_device=" + "x" * 5000],
        [f'watchword_device="{known}"'],
    ):
        assert await status(*tossed) == 429, tossed
    assert await status("a=b; c; =; " + mine + "; d=e") == 200

"""Rows L of the attack catalogue at the endpoint: passwords, limits, enumeration."""

import asyncio
import time
import unicodedata

import bcrypt
import pytest

from watchword import Account
from watchword.crypto.devices import Devices
from watchword.rules.scopes import Scopes
from watchword.seams import StoredUser

PRODUCTION = {"env": "production", "issuer": "https://id.example.com"}
NO_LIMITS = {
    "limit_login_account_ip": "off",
    "limit_login_ip": "off",
    "limit_login_account": "off",
    "limit_token": "off",
}


async def attempt(server, name: str = "johndoe", password: str = "wrong", **more: str):
    return await server.post("/token", {"username": name, "password": password, **more})


async def stored(server, name: str) -> str:
    return (await server.auth.store.user_by_login(name)).password


async def with_hash(server, name: str, secret: str | None) -> None:
    account = Account(f"u_{name}", name, scopes=Scopes(["me"]))
    assert await server.auth.store.add_user(StoredUser(account, secret))


@pytest.mark.attack("L-01", "L-26")
async def test_every_refused_login_looks_the_same_and_costs_one_hash(build, refused, hashed):
    server = build(**NO_LIMITS)
    await server.auth.start()
    await server.add_user("johndoe")
    await server.add_user("alice", "secret2", disabled=True)
    await with_hash(server, "passkeys", None)
    await with_hash(server, "broken", "not a hash")
    await with_hash(server, "costly", "$argon2id$v=19$m=4194304,t=9,p=1$c2FsdHNhbHQ$" + "A" * 43)
    cases = [
        ("johndoe", "wrong"),
        ("nobody", "wrong"),
        ("nobody", "secret"),
        ("alice", "secret2"),  # disabled, and right
        ("alice", "wrong"),
        ("passkeys", "secret"),
        ("broken", "secret"),
        ("costly", "secret"),
        ("johndoe\u0301", "secret"),
        ("' OR 1=1 --", "secret"),
    ]
    answers = []
    for name, password in cases:
        hashed.clear()
        with server.unchanged():
            answer = await attempt(server, name, password)
        assert len(hashed) == 1, name
        refused(answer, 401, "invalid_grant")
        answers.append((answer.status_code, sorted(answer.headers.items()), answer.content))
    assert all(answer == answers[0] for answer in answers)
    assert len(server.told("login.failed")) == len(cases)
    assert (await attempt(server, "JohnDoe ", "secret")).is_success


@pytest.mark.attack("L-01", "S-03")
async def test_a_failed_login_is_told_without_the_name(server):
    await attempt(server, "hunter2-typed-into-the-wrong-field")
    (event,) = server.told("login.failed")
    assert "hunter2" not in repr(event)
    assert event.reason == "nobody by that name"


@pytest.mark.attack("L-01")
async def test_being_limited_tells_nothing_about_the_name(build):
    server = build(env="development")
    await server.auth.start()
    await server.add_user("johndoe")
    seen = []
    for name in ("johndoe", "nobody"):
        answers = [await attempt(server, name) for _ in range(7)]
        seen.append([(a.status_code, sorted(a.headers.items()), a.content) for a in answers])
    assert seen[0] == seen[1]


@pytest.mark.attack("L-04", "L-17", "L-23", "K-11")
@pytest.mark.parametrize("cost", [4, 6])
async def test_an_imported_hash_logs_in_and_is_replaced(server, hashed, cost):
    old = bcrypt.hashpw(b"secret", bcrypt.gensalt(cost)).decode()
    await with_hash(server, "legacy", old)
    hashed.clear()
    assert (await attempt(server, "legacy", "wrong")).status_code == 401
    assert hashed == ["hashpw"]
    assert await stored(server, "legacy") == old
    tokens = (await attempt(server, "legacy", "secret")).json()
    assert (await stored(server, "legacy")).startswith("$argon2id$")
    assert (await server.get("/guarded", tokens["access_token"])).is_success
    hashed.clear()
    assert (await attempt(server, "legacy", "secret")).is_success
    assert hashed == ["hash_secret_raw"], "one hash of the dominant scheme from now on"


@pytest.mark.attack("L-17")
async def test_seventy_two_bytes_are_not_the_end_of_a_password(build):
    server = build(**NO_LIMITS)
    await server.auth.start()
    long = "a" * 72 + "tail-one"
    await server.add_user("new", long)
    for wrong in (long[:72], long[:72] + "tail-two", long + "x", long[:-1]):
        assert (await attempt(server, "new", wrong)).status_code == 401
    assert (await attempt(server, "new", long)).is_success
    imported = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    await with_hash(server, "legacy", imported)
    assert (await attempt(server, "legacy", long)).is_success
    assert (await attempt(server, "legacy", long[:72] + "tail-two")).status_code == 401
    assert (await attempt(server, "legacy", long)).is_success


@pytest.mark.attack("L-18")
async def test_a_nul_byte_ends_no_password(build):
    server = build(**NO_LIMITS)
    await server.auth.start()
    await server.add_user("plain", "pass")
    await server.add_user("nul", "pass\0word")
    await with_hash(server, "legacy", bcrypt.hashpw(b"pass", bcrypt.gensalt(4)).decode())
    for name, password in [
        ("plain", "pass\0"), ("plain", "pass\0x"), ("nul", "pass"), ("nul", "pass\0"),
        ("nul", "pass\0other"), ("legacy", "pass\0"), ("legacy", "pass\0pass"),
    ]:  # fmt: skip
        assert (await attempt(server, name, password)).status_code == 401
    assert (await attempt(server, "nul", "pass\0word")).is_success


@pytest.mark.attack("L-19")
async def test_long_passwords_up_to_a_documented_length(server, refused, hashed):
    for length in (64, 1024):
        await server.add_user(f"len{length}", "p" * length)
        assert (await attempt(server, f"len{length}", "p" * length)).is_success
    hashed.clear()
    with server.unchanged():
        too_long = await asyncio.gather(*(attempt(server, password="p" * 1025) for _ in range(50)))
        for answer in too_long:
            refused(answer, 400, "invalid_request")
        giant = await asyncio.gather(
            *(attempt(server, password="p" * 1_000_000) for _ in range(50))
        )
        for answer in giant:
            refused(answer, 413, "invalid_request")
    assert hashed == []


@pytest.mark.attack("L-20", "L-21")
async def test_two_spellings_of_one_text_are_one_password(server):
    composed = unicodedata.normalize("NFC", "Zoë \u05d0\u05d1 \U0001f511 Ångström")
    parts = unicodedata.normalize("NFD", composed)
    assert composed != parts
    await server.add_user("nfc", composed)
    await server.add_user("nfd", parts)
    for name in ("nfc", "nfd"):
        for password in (composed, parts):
            assert (await attempt(server, name, password)).is_success
    await server.add_user("spaces", "  se cret ")
    assert (await attempt(server, "spaces", "  se cret ")).is_success
    assert (await attempt(server, "spaces", "se cret")).status_code == 401


@pytest.mark.attack("L-23")
async def test_a_password_changed_during_a_login_wins(server):
    """The upgrade of an old hash is a compare-and-swap, and the login itself is refused."""
    await with_hash(server, "legacy", bcrypt.hashpw(b"old", bcrypt.gensalt(4)).decode())
    passwords, store = server.auth.passwords, server.auth.store
    real, changed = passwords.verify, await passwords.hash("new")

    async def meanwhile(secret, password):
        verdict = await real(secret, password)
        assert verdict.upgrade
        await store.set_password("u_legacy", changed, server.clock())
        return verdict

    passwords.verify = meanwhile
    refusal = await attempt(server, "legacy", "old")
    del passwords.verify
    assert refusal.status_code == 401
    assert await stored(server, "legacy") == changed
    assert server.rows("SELECT * FROM watchword_grants") == []
    assert (await attempt(server, "legacy", "old")).status_code == 401
    assert (await attempt(server, "legacy", "new")).is_success


@pytest.mark.attack("L-23")
async def test_a_password_changed_between_the_look_up_and_the_hash_wins(server, monkeypatch):
    users, real = server.auth.users, server.auth.users.by_login
    changed = await server.auth.passwords.hash("new")

    async def meanwhile(login):
        found = await real(login)
        await server.auth.store.set_password("u_johndoe", changed, server.clock())
        return found

    with monkeypatch.context() as patched:
        patched.setattr(users, "by_login", meanwhile)
        assert (await attempt(server, password="secret")).status_code == 401
        assert server.rows("SELECT * FROM watchword_grants") == []
    assert (await attempt(server, password="secret")).status_code == 401
    assert (await attempt(server, password="new")).is_success


@pytest.mark.attack("L-23", "A-47")
async def test_a_login_that_was_under_way_when_the_user_was_signed_out(server):
    store, real = server.auth.store, server.auth.passwords.verify
    for end in (
        lambda: store.revoke_user("u_johndoe", server.clock()),
        lambda: store.set_disabled("u_johndoe", server.clock(), disabled=True),
    ):

        async def meanwhile(secret, password, end=end):
            await end()
            return await real(secret, password)

        server.auth.passwords.verify = meanwhile
        assert (await attempt(server, password="secret")).status_code == 401
        assert server.rows("SELECT * FROM watchword_grants") == []


@pytest.mark.attack("L-24")
async def test_only_the_built_in_client_may_carry_a_password(server, refused, hashed):
    _, secret = await server.add_client("third", grants={"password", "refresh_token"})
    await server.add_client("app", grants={"password"}, auth_method="none", secret=False)
    form = {"grant_type": "password", "username": "johndoe", "password": "secret"}
    with server.unchanged():
        confidential = {**form, "client_id": "third", "client_secret": secret}
        refused(await server.post("/token", confidential), 400, "unauthorized_client")
        public = {**form, "client_id": "app"}
        refused(await server.post("/token", public), 400, "unauthorized_client")
    assert hashed == []
    assert (await server.post("/token", {**form, "client_id": "watchword"})).is_success


@pytest.mark.attack("L-24")
async def test_the_strict_profile_knows_no_password_grant(build, refused, hashed):
    server = build(password_login="off")
    await server.auth.start()
    await server.add_user("johndoe")
    hashed.clear()
    form = {"username": "johndoe", "password": "secret"}
    for asked in (form, {**form, "grant_type": "password"}):
        refused(await server.post("/token", asked), 400, "unsupported_grant_type")
    assert hashed == []
    for place in ("openid-configuration", "oauth-authorization-server"):
        document = (await server.get(f"/.well-known/{place}")).json()
        assert "password" not in document["grant_types_supported"]
    described = (await server.get("/openapi.json")).json()["paths"]["/token"]["post"]
    assert "password" not in str(described["requestBody"]["content"]).split("'enum'")[1][:60]


@pytest.mark.attack("L-05", "L-06")
async def test_one_account_from_a_thousand_addresses(build, hashed):
    server = build(**PRODUCTION)
    await server.auth.start()
    await server.add_user("johndoe")
    hashed.clear()
    seen = {}
    for turn in range(1000):
        server.come_from(f"198.18.{turn // 250}.{turn % 250}")
        answer = await attempt(server)
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
    assert seen == {401: 100, 429: 900}
    assert len(hashed) == 100
    server.clock.tick(3600)  # no lock for ever: it recovers by itself
    server.come_from("203.0.113.1")
    assert (await attempt(server, password="secret")).is_success


async def burnt(server, name: str = "johndoe") -> None:
    """Strangers use up all the tries of an account."""
    for turn in range(110):
        server.come_from(f"198.18.0.{turn}")
        answer = await server.http.post(
            "/token", data={"username": name, "password": "wrong"}, headers={"Cookie": "x=y"}
        )
    assert answer.status_code == 429
    server.come_from("203.0.113.1")


HOME = "https://id.example.com"


@pytest.mark.attack("L-05")
@pytest.mark.parametrize("switch", [True, False])
async def test_who_is_known_here_gets_in_while_strangers_use_up_the_account(build, switch):
    server = build(**PRODUCTION, known_devices=switch)
    server.http.base_url = HOME  # the cookie is sent over TLS only
    await server.auth.start()
    await server.add_user("johndoe")
    await server.login()
    await burnt(server)
    answer = await attempt(server, password="secret")
    assert answer.status_code == (200 if switch else 429)
    server.http.cookies.clear()
    assert (await attempt(server, password="secret")).status_code == 429, "not known there"


@pytest.mark.attack("L-05", "L-06")
async def test_a_known_device_has_a_limit_of_its_own(build, hashed):
    server = build(**PRODUCTION)
    server.http.base_url = HOME
    await server.auth.start()
    await server.add_user("johndoe")
    await server.login()
    hashed.clear()
    codes = [(await attempt(server)).status_code for _ in range(15)]
    assert codes == [401] * 10 + [429] * 5
    assert len(hashed) == 10
    assert [event.policy for event in server.told("limit.reached")] == ["login_device"]
    server.clock.tick(60)
    assert (await attempt(server, password="secret")).is_success
    assert [(await attempt(server)).status_code for _ in range(11)] == [401] * 10 + [429]
    server.http.cookies.clear()
    assert (await attempt(server, password="secret")).is_success, "the account's own is untouched"


@pytest.mark.attack("L-05")
async def test_a_device_is_known_for_one_account_only(build):
    server = build(**PRODUCTION)
    server.http.base_url = HOME
    await server.auth.start()
    await server.add_user("johndoe")
    await server.add_user("mallory", "mine")
    await attempt(server, "mallory", "mine")
    await burnt(server)
    assert (await attempt(server, password="secret")).status_code == 429
    assert (await attempt(server, "mallory", "mine")).is_success


@pytest.mark.attack("L-05", "L-28")
@pytest.mark.parametrize("end", ["password", "everywhere", "disabled", "time", "secret"])
async def test_a_device_is_forgotten_with_everything_else(build, end):
    server = build(**PRODUCTION)
    server.http.base_url = HOME
    await server.auth.start()
    await server.add_user("johndoe")
    await server.login()
    store, now = server.auth.store, server.clock()
    if end == "password":
        await store.set_password("u_johndoe", await server.auth.passwords.hash("secret"), now)
    elif end == "everywhere":
        await store.revoke_user("u_johndoe", now)
    elif end == "disabled":
        await store.set_disabled("u_johndoe", now, disabled=True)
        await store.set_disabled("u_johndoe", now, disabled=False)
    elif end == "time":
        server.clock.tick(90 * 86_400)
    else:
        server.auth._bench.devices = Devices(["another secret that is long enough"])
    await burnt(server)
    assert (await attempt(server, password="secret")).status_code == 429
    server.clock.tick(3600)
    assert (await attempt(server, password="secret")).is_success
    await burnt(server)
    assert (await attempt(server, password="secret")).is_success, "known again"


@pytest.mark.attack("L-05")
async def test_a_device_proves_nothing_else(build):
    server = build(**PRODUCTION)
    server.http.base_url = HOME
    await server.auth.start()
    await server.add_user("johndoe")
    tokens = await server.login()
    known = server.http.cookies["__Host-watchword_device"]
    assert (await attempt(server)).status_code == 401
    assert (await server.get("/guarded")).status_code == 401
    assert (await server.get("/guarded", known)).status_code == 401
    assert (await server.refresh(known)).status_code == 400
    assert known not in str(tokens)
    for table in server.snapshot().values():
        assert known not in str(table)


@pytest.mark.attack("L-07", "L-10")
@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8:1:2::{n:x}"])
async def test_one_password_for_a_thousand_accounts_from_one_place(build, hashed, address):
    server = build(**PRODUCTION)
    await server.auth.start()
    hashed.clear()
    through, began = 0, time.monotonic()
    for turn in range(1000):
        server.come_from(address.format(n=turn + 1))
        through += (await attempt(server, f"user{turn}", "Summer2026")).status_code == 401
    # 20 + 1/s, and Valkey's clock goes on meanwhile.
    more = 1 + int(time.monotonic() - began) if server.auth.shared is not None else 0
    assert 20 <= through == len(hashed) <= 20 + more


@pytest.mark.attack("L-10")
async def test_a_site_s_whole_network_does_not_make_it_many_sites(build, hashed):
    server = build(**PRODUCTION, limit_token="off")
    await server.auth.start()
    hashed.clear()
    codes, began = [], time.monotonic()
    for turn in range(1000):
        server.come_from(f"2001:db8:7:{turn:x}::1")  # a /64 of its own each time
        codes.append((await attempt(server, f"user{turn}", "Summer2026")).status_code)
    # 200 + 5/s, and Valkey's clock goes on meanwhile.
    more = 1 + int(5 * (time.monotonic() - began)) if server.auth.shared is not None else 0
    assert 200 <= codes.count(401) <= 200 + more and set(codes) == {401, 429}
    assert len(hashed) == codes.count(401)
    assert {event.policy for event in server.told("limit.reached")} == {"login_wide"}
    server.come_from("2001:db8:8::1")
    assert (await attempt(server, "user0", "Summer2026")).status_code == 401, "the neighbour"


class Lenient:
    """An app's own users, who take many spellings for one person."""

    asked = 0

    async def by_login(self, login):
        local, _, domain = login.lower().partition("@")
        known = (local.partition("+")[0].replace(".", ""), domain) == ("johndoe", "example.com")
        return Account("42", "johndoe", scopes=Scopes(["me"])) if known else None

    async def by_subject(self, subject):
        return Account("42", "johndoe") if subject == "42" else None

    async def password_is(self, account, password):
        self.asked += 1
        return account is not None and password == "secret"


@pytest.mark.attack("L-06")
@pytest.mark.parametrize("one_address", [True, False])
async def test_spellings_of_one_person_are_one_account(build, one_address):
    people = Lenient()
    server = build(**PRODUCTION, users=people, limit_login_ip="off", limit_token="off")
    through = 0
    for turn in range(400):
        if not one_address:
            server.come_from(f"198.18.{turn // 250}.{turn % 250}")
        answer = await attempt(server, f"John.Doe+{turn}@example.com")
        through += answer.status_code == 401
    assert through == people.asked == (5 if one_address else 100)


@pytest.mark.attack("L-01", "L-06")
async def test_a_name_nobody_has_is_limited_as_a_person_is(build):
    people = Lenient()
    server = build(**PRODUCTION, users=people)
    seen = []
    for name in ("johndoe@example.com", "nobody@example.com"):
        answers = [await attempt(server, name) for _ in range(7)]
        seen.append([(a.status_code, sorted(a.headers.items()), a.content) for a in answers])
    assert seen[0] == seen[1]
    assert people.asked == 10


@pytest.mark.attack("L-06")
async def test_signing_in_to_one_s_own_account_buys_no_tries_at_another_s(build):
    """Nobody's bucket is filled up by a login to another account, whatever that one is called."""

    class Namesakes(Lenient):
        async def by_login(self, login):
            sub = {"johndoe": "42", "mine": "43"}.get(login)
            return Account(sub, "johndoe", scopes=Scopes(["me"])) if sub else None

        async def password_is(self, account, password):
            self.asked += 1
            return account is not None and (account.sub, password) == ("43", "mine")

    people = Namesakes()
    server = build(**PRODUCTION, users=people, limit_login_ip="off")
    codes = []
    for _ in range(8):
        codes.append((await attempt(server)).status_code)
        assert (await attempt(server, "mine", "mine")).is_success
    assert codes == [401] * 5 + [429] * 3


@pytest.mark.attack("L-12")
async def test_two_hundred_at_once_reach_five_hashes(build, hashed):
    server = build(**PRODUCTION, limit_login_ip="off", limit_token="off")
    await server.auth.start()
    await server.add_user("johndoe")
    hashed.clear()
    answers = await asyncio.gather(*(attempt(server) for _ in range(200)))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(401), codes.count(429)) == (5, 195)
    assert len(hashed) == 5


@pytest.mark.attack("L-11", "L-12")
@pytest.mark.parametrize("mode", [PRODUCTION, {}])
async def test_the_sixth_wrong_try_in_a_minute(build, hashed, mode):
    """In development too: a limit nobody meets is a limit nobody tests."""
    server = build(**mode)
    await server.auth.start()
    await server.add_user("johndoe")
    hashed.clear()
    for _ in range(5):
        assert (await attempt(server)).status_code == 401
    sixth = await attempt(server, password="secret")
    assert sixth.status_code == 429
    assert len(hashed) == 5
    assert sixth.headers["retry-after"] == "60"
    assert sixth.headers["ratelimit-limit"] == "5"
    assert sixth.headers["ratelimit-remaining"] == "0"
    assert sixth.headers["ratelimit-reset"] == "300"
    assert sixth.headers["cache-control"] == "no-store"
    assert sixth.json()["error"] == "temporarily_unavailable"
    assert [event.policy for event in server.told("limit.reached")] == ["login_account_ip"]
    server.clock.tick(59)
    assert (await attempt(server, password="secret")).headers["retry-after"] == "1"
    server.clock.tick(1)
    assert (await attempt(server, password="secret")).is_success
    server.http.cookies.clear()  # a known device has a budget of its own
    for _ in range(5):  # the honest login gave the whole budget back
        assert (await attempt(server)).status_code == 401


SPOOFED = ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP"]


@pytest.mark.attack("L-09")
async def test_forwarding_headers_of_strangers_change_nothing(build):
    server = build(**PRODUCTION)
    await server.auth.start()
    through = 0
    for turn in range(60):
        forged = f"198.51.100.{turn}"
        headers = {SPOOFED[turn % 5]: f"for={forged}" if turn % 5 == 1 else forged}
        form = {"username": "johndoe", "password": "wrong"}
        through += (await server.post("/token", form, headers=headers)).status_code == 401
    assert through == 5
    assert {event.ip for event in server.told("login.failed")} == {"127.0.0.1"}


@pytest.mark.attack("L-09")
async def test_behind_a_declared_proxy_clients_are_told_apart(build):
    server = build(**PRODUCTION, trusted_proxies="10.0.0.0/24")
    await server.auth.start()
    server.come_from("10.0.0.5")

    async def through(header: str) -> int:
        form = {"username": "johndoe", "password": "wrong"}
        headers = {"X-Forwarded-For": header}
        answers = [await server.post("/token", form, headers=headers) for _ in range(8)]
        return sum(answer.status_code == 401 for answer in answers)

    assert await through("203.0.113.1") == 5
    assert await through("203.0.113.2") == 5
    assert await through("198.51.100.1, 203.0.113.2:4711") == 0, (
        "the left-hand side is the client's"
    )
    assert await through("203.0.113.3, 10.0.0.6") == 5, "two hops"
    assert await through("garbage") == 5, "malformed: the peer is the key"
    assert await through("other garbage") == 0
    assert {event.ip for event in server.told("login.failed")} == {
        "203.0.113.1", "203.0.113.2", "203.0.113.3", "10.0.0.5",
    }  # fmt: skip


@pytest.mark.attack("L-13")
async def test_the_limit_comes_before_the_parser(build, hashed):
    server = build(**PRODUCTION, limit_token="4 + 1/min")
    await server.auth.start()
    bad = [
        {"content": b"x" * 1_000_000},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {"data": {"grant_type": "nonsense"}},
        {"data": {"username": "johndoe"}},
    ]
    for path in ("/token", "/refresh-token", "/revoke", "/introspect"):
        server.come_from(f"203.0.113.{len(path)}")
        codes = [(await server.http.post(path, **request)).status_code for request in bad]
        assert all(400 <= code < 416 for code in codes)
        for request in bad:
            assert (await server.http.post(path, **request)).status_code == 429
    assert hashed == []


@pytest.mark.attack("L-15")
@pytest.mark.parametrize(
    "path",
    ["/token/", "/token//", "/auth/token/", "//token", "/TOKEN", "/%74oken", "/token;x=1", "/./token", "/a/../token", "/token%2f",
     "/token%00", "/auth/token", "/auth//token", "/token?x=1", "/token#x"],
)  # fmt: skip
async def test_no_spelling_of_the_path_is_an_unlimited_twin(build, hashed, path):
    server = build(**PRODUCTION)
    await server.auth.start()
    await server.add_user("johndoe")
    for _ in range(5):
        assert (await attempt(server)).status_code == 401
    hashed.clear()
    answer = await server.post(path, {"username": "johndoe", "password": "secret"})
    assert answer.status_code in (404, 405, 429)
    assert "access_token" not in answer.text
    assert hashed == []


@pytest.mark.attack("L-27")
@pytest.mark.parametrize(
    "dear",
    [
        "$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHQ$" + "A" * 43,
        "$argon2id$v=19$m=65536,t=1000000,p=1$c2FsdHNhbHQ$" + "A" * 43,
        "$2b$31$" + "." * 53,
        "pbkdf2_sha256$999999999$salt$" + "A" * 43 + "=",
    ],
)
async def test_a_stored_hash_cannot_ask_for_the_moon(server, refused, hashed, dear):
    await with_hash(server, "dear", dear)
    hashed.clear()
    refused(await attempt(server, "dear", "secret"), 401, "invalid_grant")
    assert hashed == ["hash_secret"], "the work of an unknown user, no more"


@pytest.mark.attack("L-34")
async def test_a_password_in_the_url_is_never_read(server, hashed):
    url = "/token?username=johndoe&password=secret&grant_type=password"
    for verb in ("GET", "HEAD", "PUT"):
        assert (await server.http.request(verb, url)).status_code == 405
    assert (await server.http.post(url)).status_code in (400, 415)
    assert hashed == []


@pytest.mark.attack("L-37")
async def test_a_hundred_logins_are_a_hundred_sessions(build):
    server = build(**NO_LIMITS)
    await server.auth.start()
    await server.add_user("johndoe")
    sessions = await asyncio.gather(*(server.login() for _ in range(100)))
    assert len({tokens["refresh_token"] for tokens in sessions}) == 100
    await server.post("/revoke", {"token": sessions[0]["refresh_token"]})
    kept = [(await server.refresh(tokens["refresh_token"])).is_success for tokens in sessions]
    assert kept == [False] + [True] * 99


@pytest.mark.attack("L-38")
async def test_an_empty_or_unknown_step_moves_nothing(server, refused):
    with server.unchanged():
        for form in ({}, {"step": "2"}, {"grant_type": "step"}, {"username": ""}, {"state": "x"}):
            code = "unsupported_grant_type" if form.get("grant_type") else "invalid_request"
            answer = await server.http.post("/token", data=form or {"": ""})
            refused(answer, 400, code)

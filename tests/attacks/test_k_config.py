"""Rows K of the attack catalogue: secrets, settings, keys; and B-15, what production does not show."""

import base64
import hashlib
import hmac
import json

import bcrypt
import pytest

from watchword import Account, settings
from watchword.crypto import jose
from watchword.crypto.jose import KeySet
from watchword.errors import ConfigError, InvalidToken
from watchword.rules.scopes import Scopes
from watchword.seams import StoredUser

PRODUCTION = {"env": "production", "issuer": "https://id.example.com"}
TUTORIAL = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"
WEAK = [
    "",
    "secret",
    "changeme",
    "changethis",
    "SECRET",
    "password",
    "your-256-bit-secret",
    "a-string-secret-at-least-256-bits-long",
    TUTORIAL,
    TUTORIAL.upper(),
    f" {TUTORIAL}\n",
    "x" * 64,
    "ab" * 32,
    "0123456789" * 4,
    "0123456789abcdef0123456789abcdef",
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "correcthorse1correcthorse1correcthorse1",
    "change-me-change-me-change-me-change-me",
    "supersecretpasswordsupersecretpassword",
    "your_secret_key_change_it_in_production",
    "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0",  # 31 bytes
]


@pytest.mark.attack("K-01")
@pytest.mark.parametrize("name", ["secret", "secret_previous"])
@pytest.mark.parametrize("weak", WEAK)
def test_a_weak_secret_is_refused_by_name_and_not_shown(name, weak):
    good = {"secret": "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A"}
    if name == "secret_previous" and not weak:
        assert settings.load(**PRODUCTION, **good, secret_previous="").secrets
        return
    with pytest.raises(ConfigError) as refused:
        settings.load(**PRODUCTION, **{**good, name: weak})
    text = str(refused.value)
    assert name.upper() in text
    if len(weak.strip()) > 8:
        assert weak.strip() not in text


@pytest.mark.attack("K-01")
def test_development_may_invent_a_secret_but_not_weaken_it():
    given = {"env": "development", "database_url": "sqlite:///:memory:"}
    assert len(settings.load(**given).secret) >= 32
    with pytest.raises(ConfigError, match="SECRET is not fit"):
        settings.load(**given, secret="secret")


# --- key rotation ---


@pytest.mark.attack("K-03", "Z-24")
async def test_twenty_rotations_refuse_no_good_token(build):
    """A guard elsewhere caches the key set as long as it may; tokens of every age keep coming."""
    server = build(
        **PRODUCTION, key_rotate="1h", key_overlap="20m", access_ttl="10m", limit_token="off"
    )
    auth, clock = server.auth, server.clock
    await auth.start()
    _, secret = await server.add_client("job")
    form = {"grant_type": "client_credentials", "client_id": "job", "client_secret": secret}
    cached, fetched_at = KeySet([]), float("-inf")
    alive: list[tuple[float, str]] = []
    used: dict[str, None] = {}
    checked = 0
    while len(used) < 21:
        await auth.tidy()
        if clock() - fetched_at >= 300:  # max-age
            document = (await server.get("/.well-known/jwks.json")).json()
            cached = KeySet.from_jwks(document, algorithms=frozenset({"ES256"}))
            fetched_at = clock()
        token = (await server.post("/token", form)).json()["access_token"]
        used[json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"]] = None
        alive = [(born, text) for born, text in alive if clock() - born < 600] + [(clock(), token)]
        for _, text in (alive[0], alive[-1]):
            jose.verify(text, cached, typ=frozenset({"at+jwt"}))  # or it raises
            assert (await auth._verify(text, clock())).sub == "job"
            checked += 1
        clock.tick(120)
    assert checked > 1000
    kinds = server.rows("SELECT count(*) FROM watchword_signing_keys")
    assert kinds[0][0] <= 6, "what is gone is swept"
    assert len(server.told("keys.rotated")) >= 40


@pytest.mark.attack("K-03")
async def test_a_retired_key_verifies_nothing(build):
    server = build(**PRODUCTION, key_rotate="1h", key_overlap="20m", access_ttl="10m")
    await server.auth.start()
    await server.add_user("johndoe")
    old = (await server.login())["access_token"]
    claims = jose.verify(
        old, server.auth.signing.key_set(server.clock()), typ=frozenset({"at+jwt"})
    ).claims
    first = server.auth.signing.ring.signer("ES256", server.clock())
    for _ in range(4):
        server.clock.tick(3600)
        await server.auth.tidy()
    forever = {**claims, "exp": int(server.clock()) + 600, "iat": int(server.clock())}
    with pytest.raises(InvalidToken):
        await server.auth._verify(jose.sign(forever, first, "at+jwt"), server.clock())


@pytest.mark.attack("Z-25", "K-03")
async def test_without_its_secret_no_key_signs_and_nothing_steps_in(build, kept_url):
    one = build(**PRODUCTION, database_url=kept_url)
    await one.auth.start()
    one.auth.close()
    two = build(**PRODUCTION, database_url=kept_url, secret="qT8vWm2Xc5Yb7Zn4Kj9Lh3Gf6Ds1Ap0R")
    with pytest.raises(ConfigError, match="cannot be opened"):
        await two.auth.start()
    two.auth.close()
    assert len(one.rows("SELECT * FROM watchword_signing_keys")) == 2, "and no new one was made"


@pytest.mark.attack("K-03", "S-12")
async def test_developments_keys_open_nothing_in_production(build, kept_url):
    issuer = "https://localhost"
    one = build(env="development", issuer=issuer, database_url=kept_url)
    await one.auth.start()
    await one.add_user("johndoe")
    token = (await one.login())["access_token"]
    one.auth.close()
    two = build(env="production", issuer=issuer, database_url=kept_url, now=one.clock)
    assert (await two.get("/guarded", token)).status_code == 401
    keys = (await two.get("/.well-known/jwks.json")).json()["keys"]
    assert not [key for key in keys if key["kid"].startswith("dev-")]


# --- from a tutorial ---


@pytest.mark.attack("K-11")
async def test_tokens_of_the_tutorial_are_dead_and_its_passwords_live(server):
    account = Account("u_old", "old", scopes=Scopes(["me"]))
    kept = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    assert await server.auth.store.add_user(StoredUser(account, kept))

    def part(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    for header in (
        {"alg": "HS256", "typ": "JWT"},
        {"alg": "HS256", "typ": "at+jwt"},
        {"alg": "none"},
    ):
        message = f"{part(header)}.{part({'sub': 'old', 'exp': 4_000_000_000})}"
        for key in (
            TUTORIAL.encode(),
            bytes.fromhex(TUTORIAL),
            server.auth.settings.secret.encode(),
        ):
            mac = hmac.digest(key, message.encode(), hashlib.sha256)
            token = f"{message}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
            assert (await server.get("/guarded", token)).status_code == 401
    tokens = await server.login("old")
    assert (await server.get("/guarded", tokens["access_token"])).is_success


# --- what production does not show ---


CLOSED = ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/metrics", "/debug", "/health",
          "/auth/static/swagger-ui.css", "/auth/admin", "/auth", "/.env", "/watchword.db"]  # fmt: skip


@pytest.mark.attack("B-15")
async def test_production_shows_no_more_than_it_must(build):
    server = build(**PRODUCTION)
    for path in CLOSED:
        for verb in ("GET", "HEAD"):
            assert (await server.http.request(verb, path)).status_code == 404, path


@pytest.mark.attack("B-15")
async def test_an_operator_may_ask_for_the_docs(build):
    server = build(**PRODUCTION, docs=True)
    page = await server.get("/docs")
    assert page.is_success
    assert "Development mode" not in page.text
    assert (await server.get("/openapi.json")).is_success


@pytest.mark.attack("K-07")
async def test_nodes_whose_clocks_differ(build, kept_url):
    """Half a minute either way is forgiven; nothing lives longer than that beyond its end."""
    one = build(**PRODUCTION, database_url=kept_url)
    await one.auth.start()
    await one.add_user("johndoe")

    class Shifted:
        def __init__(self, by: float) -> None:
            self.by = by

        def __call__(self) -> float:
            return one.clock() + self.by

    late, early = [build(**PRODUCTION, database_url=kept_url, now=Shifted(by)) for by in (30, -30)]
    token = (await one.login())["access_token"]
    for node in (late, early):
        assert (await node.get("/guarded", token)).is_success
    one.clock.tick(599)
    assert (await late.get("/guarded", token)).is_success
    one.clock.tick(1)
    assert (await late.get("/guarded", token)).status_code == 401
    one.clock.tick(59)
    assert (await early.get("/guarded", token)).is_success
    one.clock.tick(1)
    assert (await early.get("/guarded", token)).status_code == 401


@pytest.mark.attack("K-07")
async def test_a_clock_that_goes_back_locks_nobody_out_for_long(server):
    for _ in range(5):
        await server.post("/token", {"username": "johndoe", "password": "wrong"})
    server.clock.tick(-86_400)
    for _ in range(4):  # each limit forgets the future at its first refusal
        await server.post("/token", {"username": "johndoe", "password": "wrong"})
        server.clock.tick(61)
    tokens = await server.login()
    assert (await server.get("/guarded", tokens["access_token"])).is_success

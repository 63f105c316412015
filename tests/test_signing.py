"""Which keys sign now, and how processes come to agree about it."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from watchword.crypto import jose
from watchword.errors import ConfigError, InvalidToken
from watchword.seams import Unavailable
from watchword.signing import JWKS_MAX_AGE, LEAD

TYP = frozenset({"at+jwt"})
NEW = "qT8vWm2Xc5Yb7Zn4Kj9Lh3Gf6Ds1Ap0R"
NEWER = "Bn4Mq7Ws1Ed9Rf5Tg2Yh8Uj3Ik6Ol0Pz"


async def test_the_first_keys_sign_at_once(build):
    server = build()
    await server.auth.start()
    signing = server.auth.signing
    assert signing.algorithms == ("ES256", "RS256")
    token = signing.access_token({"sub": "x"}, server.clock())
    assert jose.verify(token, signing.key_set(server.clock()), typ=TYP).claims == {"sub": "x"}
    assert len(server.told("keys.rotated")) == 2


async def test_one_algorithm_needs_one_key(build):
    server = build(access_token_alg="RS256")
    await server.auth.start()
    assert server.auth.signing.algorithms == ("RS256",)
    assert len((await server.get("/.well-known/jwks.json")).json()["keys"]) == 1


@pytest.mark.attack("K-03", "Z-24")
async def test_a_successor_is_published_before_it_signs(build):
    server = build()
    await server.auth.start()
    signing, clock = server.auth.signing, server.clock
    old = signing.ring.signer("ES256", clock())
    clock.tick(90 * 86_400 + 1)
    await server.auth.tidy()
    kids = {key["kid"] for key in (await server.get("/.well-known/jwks.json")).json()["keys"]}
    assert len(kids) == 4
    assert signing.ring.signer("ES256", clock()).kid == old.kid
    clock.tick(LEAD)
    new = signing.ring.signer("ES256", clock())
    assert new.kid != old.kid
    assert new.kid in kids
    assert LEAD > JWKS_MAX_AGE
    clock.tick(7 * 86_400)
    assert signing.key_set(clock()).knows(old.kid)
    clock.tick(1)
    assert not signing.key_set(clock()).knows(old.kid)


@pytest.mark.attack("Z-24")
async def test_processes_that_start_together_make_one_set_of_keys(build, kept_url):
    servers = [build(database_url=kept_url) for _ in range(4)]
    await asyncio.gather(*(server.auth.start() for server in servers))
    rows = servers[0].rows("SELECT alg FROM watchword_signing_keys ORDER BY alg")
    assert [row[0] for row in rows] == ["ES256", "RS256"]


@pytest.mark.attack("Z-24")
async def test_another_process_sees_a_new_key_in_time(build, kept_url):
    one = build(database_url=kept_url)
    await one.auth.start()
    await one.add_user("johndoe")
    two = build(database_url=kept_url, now=one.clock)
    await two.auth.start()
    await one.auth.signing.rotate("ES256", even_if_young=True)
    one.clock.tick(LEAD + 1)
    token = (await one.login())["access_token"]
    assert (await two.get("/guarded", token)).is_success, "the log tells it that keys changed"


async def test_as_long_as_no_key_changes_the_ring_stays(build):
    """Guards remember what they verified together with it; a new one would forget it all."""
    server = build()
    await server.auth.start()
    signing = server.auth.signing
    ring, keys = signing.ring, signing.key_set(server.clock())
    for _ in range(3):
        server.clock.tick(60)
        await server.auth.tidy()
    assert signing.ring is ring
    assert signing.key_set(server.clock()) is keys
    await signing.rotate("ES256", even_if_young=True)
    assert signing.ring is not ring


@pytest.mark.attack("Z-25")
async def test_no_key_no_signature(build):
    server = build(access_token_alg="Ed25519")
    with pytest.raises(Unavailable, match="no signing key"):
        server.auth.signing.access_token({}, server.clock())


@pytest.mark.attack("S-12")
async def test_a_copy_of_the_database_signs_nothing(build, kept_url):
    one = build(database_url=kept_url)
    await one.auth.start()
    for (sealed,) in one.rows("SELECT sealed FROM watchword_signing_keys"):
        assert b"PRIVATE" not in sealed
        for start in (sealed, sealed[12:]):  # the nonce comes first
            with pytest.raises(ValueError):
                load_der_private_key(start, password=None)
    two = build(database_url=kept_url, secret=NEW, now=one.clock)
    with pytest.raises(ConfigError, match="cannot be opened"):
        await two.auth.start()
    three = build(
        database_url=kept_url, secret=NEW, secret_previous=one.auth.settings.secret, now=one.clock
    )
    await three.auth.start()


async def test_a_leaked_key_gives_way_at_once(build):
    server = build()
    await server.auth.start()
    signing, clock = server.auth.signing, server.clock
    old = signing.ring.signer("ES256", clock())
    clock.tick(10)
    assert await signing.rotate("ES256", at_once=True)
    assert signing.ring.signer("ES256", clock()).kid != old.kid
    token = signing.access_token({"sub": "x"}, clock())
    assert jose.verify(token, signing.key_set(clock()), typ=TYP)
    with pytest.raises(InvalidToken):
        jose.verify(token, jose.KeySet([old.public()]), typ=TYP)


# --- the secret changes ---


async def served_with(build, url, clock, secret, previous="") -> list[tuple[str, bytes]]:
    """Start a server with these secrets; the sealed keys as it leaves them."""
    server = build(
        database_url=url, secret=secret, secret_previous=previous, now=clock, max_stale=30
    )
    await server.auth.start()  # waits for its first poll, which may wait for others
    return server.rows("SELECT kid, sealed FROM watchword_signing_keys ORDER BY kid")


async def test_the_secret_may_change_twice_without_a_rotation_in_between(build, kept_url):
    one = build(database_url=kept_url)
    await one.auth.start()
    first, clock = one.auth.settings.secret, one.clock
    kids = [row[0] for row in await served_with(build, kept_url, clock, NEW, first)]
    again = await served_with(build, kept_url, clock, NEWER, NEW)
    assert [row[0] for row in again] == kids, "no key was made or lost on the way"
    assert await served_with(build, kept_url, clock, NEWER) == again, "the last one is enough"
    with pytest.raises(ConfigError, match="cannot be opened"):
        await served_with(build, kept_url, clock, NEW)


async def test_keys_that_the_secret_in_use_opens_are_left_as_they_are(build, kept_url):
    one = build(database_url=kept_url)
    await one.auth.start()
    first, clock = one.auth.settings.secret, one.clock
    anew = await served_with(build, kept_url, clock, NEW, first)
    assert await served_with(build, kept_url, clock, NEW, first) == anew
    log = one.rows("SELECT kind FROM watchword_audit ORDER BY id")
    assert [kind for (kind,) in log].count("key.resealed") == 2


async def test_processes_that_start_together_seal_each_key_anew_once(build, kept_url):
    one = build(database_url=kept_url)
    await one.auth.start()
    first, clock = one.auth.settings.secret, one.clock
    await asyncio.gather(*(served_with(build, kept_url, clock, NEW, first) for _ in range(4)))
    log = one.rows("SELECT kind FROM watchword_audit")
    assert [kind for (kind,) in log].count("key.resealed") == 2


async def test_a_process_with_the_earlier_secret_goes_on_signing(build, kept_url):
    """Processes are replaced one after the other; those that wait must not fail meanwhile."""
    one = build(database_url=kept_url)
    await one.auth.start()
    await one.auth.signing.rotate("ES256", even_if_young=True)
    first, clock = one.auth.settings.secret, one.clock
    await served_with(build, kept_url, clock, NEW, first)
    await one.add_client("new")  # the keys are read again
    clock.tick(LEAD + 1)  # and the successor signs
    await one.auth.tidy()
    await one.add_user("johndoe")
    assert (await one.get("/guarded", (await one.login())["access_token"])).is_success


# --- a key leaks ---


async def test_a_successor_that_waits_makes_way_for_one_that_signs_at_once(build):
    server = build()
    await server.auth.start()
    signing, clock = server.auth.signing, server.clock
    clock.tick(10)
    waiting = await signing.rotate("ES256", even_if_young=True)
    made = await signing.rotate("ES256", at_once=True)
    assert signing.ring.signer("ES256", clock()).kid == made.kid
    assert not signing.key_set(clock()).knows(waiting.kid), "its seal may have been broken too"
    clock.tick(LEAD + 1)
    assert signing.ring.signer("ES256", clock()).kid == made.kid


async def test_a_retired_key_verifies_nothing_whatever_the_clock_does(build):
    server = build()
    await server.auth.start()
    await server.add_user("johndoe")
    signing, clock = server.auth.signing, server.clock
    tokens = await server.login()
    assert (await server.get("/guarded", tokens["access_token"])).is_success
    (leaked,) = [key for key in await server.auth.store.keys() if key.alg == "ES256"]
    assert await signing.retire(leaked, at_once=True)
    assert (await server.get("/guarded", tokens["access_token"])).status_code == 401
    clock.tick(-7200)
    assert (await server.get("/guarded", tokens["access_token"])).status_code == 401
    clock.tick(7200)
    kids = {key["kid"] for key in (await server.get("/.well-known/jwks.json")).json()["keys"]}
    assert leaked.kid not in kids
    refreshed = (await server.refresh(tokens["refresh_token"])).json()
    assert (await server.get("/guarded", refreshed["access_token"])).is_success
    assert not await signing.retire(leaked, at_once=True), "once is enough"


async def test_whoever_retires_the_only_signer_gets_another_at_once(build):
    server = build()
    await server.auth.start()
    signing, clock = server.auth.signing, server.clock
    clock.tick(10)
    await signing.rotate("ES256", even_if_young=True)  # waits, so it is no signer yet
    (active, waiting) = [key for key in await server.auth.store.keys() if key.alg == "ES256"]
    assert await signing.retire(active, at_once=True)
    signer = signing.ring.signer("ES256", clock())
    assert signer.kid not in (active.kid, waiting.kid)
    assert signing.key_set(clock()).knows(signer.kid)


async def test_a_key_that_retires_in_peace_sees_its_tokens_out(build):
    server = build()
    await server.auth.start()
    await server.add_user("johndoe")
    signing, clock = server.auth.signing, server.clock
    token = (await server.login())["access_token"]
    (old,) = [key for key in await server.auth.store.keys() if key.alg == "ES256"]
    await signing.retire(old)
    assert signing.ring.signer("ES256", clock()).kid != old.kid
    assert (await server.get("/guarded", token)).is_success
    clock.tick(7 * 86_400 + 1)
    assert not signing.key_set(clock()).knows(old.kid)


async def test_a_key_that_this_server_does_not_need_needs_no_successor(build):
    server = build()
    await server.auth.start()
    signing = server.auth.signing
    made = await signing.rotate("Ed25519")
    assert await signing.retire(made, at_once=True)
    algs = [key.alg for key in await server.auth.store.keys()]
    assert sorted(algs) == ["ES256", "Ed25519", "RS256"]

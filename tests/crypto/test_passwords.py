"""Passwords: real hashes on real threads, a queue that refuses in time, and no oracle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import unicodedata
from collections.abc import AsyncIterator, Iterator

import argon2
import bcrypt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from watchword.crypto import hashes, passwords
from watchword.crypto.passwords import Cost, Passwords, Verdict, normalised, recognised
from watchword.errors import Busy, ConfigError, InvalidRequest

CHEAP = Cost(memory_kib=64, passes=1)
NFC, NFD = "é\u1ec7 pass", unicodedata.normalize("NFD", "é\u1ec7 pass")


@pytest.fixture
def cheap() -> Iterator[Passwords]:
    made = Passwords(CHEAP, threads=1, patience=60.0)
    yield made
    made.close()


@pytest.fixture
def argon2_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Count what is really asked of Argon2, as (KiB, passes, lanes)."""
    calls = []
    write, derive = passwords.hash_secret, hashes.hash_secret_raw

    def written(password, salt, t, m, p, *rest):
        calls.append((m, t, p))
        return write(password, salt, t, m, p, *rest)

    def derived(password, salt, t, m, p, *rest):
        calls.append((m, t, p))
        return derive(password, salt, t, m, p, *rest)

    monkeypatch.setattr(passwords, "hash_secret", written)
    monkeypatch.setattr(hashes, "hash_secret_raw", derived)
    return calls


@contextlib.asynccontextmanager
async def occupied(pool: Passwords) -> AsyncIterator[None]:
    """Keep the one thread of `pool` busy, so that everything else waits."""
    began, over = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        over.wait(30)

    held = asyncio.ensure_future(pool._queued(hold))
    await asyncio.to_thread(began.wait, 30)
    try:
        yield
    finally:
        over.set()
        await held


async def turns(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


# What a password is


@pytest.mark.attack("L-20")
def test_both_normal_forms_are_one_password():
    assert NFC != NFD
    assert normalised(NFC) == normalised(NFD) == NFC.encode()
    assert normalised("\ufb01") != normalised("fi")  # a ligature is a choice, not a spelling


@pytest.mark.attack("L-19", "L-20", "L-21")
@pytest.mark.parametrize("password", ["", "x" * 1025, "x" * 1_000_000, "a\ud800", "\udfff"])
def test_what_is_no_password_is_a_bad_request(password: str):
    with pytest.raises(InvalidRequest) as refusal:
        normalised(password)
    assert refusal.value.__context__ is None  # a codec's error would hold the password


@pytest.mark.attack("L-18", "L-19", "L-20", "L-21")
@pytest.mark.parametrize("password", [" ", "  x ", "\0", "x" * 64, "x" * 1024, "😀🔐", "שלום"])
async def test_what_is_a_password_is_kept_as_it_is(cheap: Passwords, password: str):
    stored = await cheap.hash(password)
    assert await cheap.verify(stored, password) == Verdict(matches=True)
    assert not (await cheap.verify(stored, password[:-1] + "?")).matches


@pytest.mark.attack("L-19", "D-02")
async def test_an_endless_password_is_refused_before_a_thread_is_started(cheap: Passwords):
    for _ in range(1000):
        with pytest.raises(InvalidRequest):
            await cheap.verify(None, "x" * 1_000_000)
    assert cheap._pool is None


# Hash and verify


async def test_the_default_is_owasps_argon2id_and_another_library_agrees():
    pool = Passwords()
    stored = await pool.hash("correct horse")
    pool.close()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert recognised(stored) == "argon2id"
    assert argon2.PasswordHasher().verify(stored, "correct horse")


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_a_password_matches_its_own_hash_and_no_other_does(password: str, other: str):
    assume(unicodedata.normalize("NFC", password) != unicodedata.normalize("NFC", other))

    async def story() -> None:
        pool = Passwords(CHEAP, threads=1)
        stored = await pool.hash(password)
        assert stored != await pool.hash(password)
        assert await pool.verify(stored, password) == Verdict(matches=True)
        assert await pool.verify(stored, other) == Verdict(matches=False)
        pool.close()

    asyncio.run(story())


@pytest.mark.attack("L-18")
async def test_a_nul_counts(cheap: Passwords):
    stored = await cheap.hash("pass")
    assert not (await cheap.verify(stored, "pass\0x")).matches
    stored = await cheap.hash("pass\0x")
    assert (await cheap.verify(stored, "pass\0x")).matches
    assert not (await cheap.verify(stored, "pass")).matches
    legacy = bcrypt.hashpw(b"pass", bcrypt.gensalt(4)).decode()
    assert not (await cheap.verify(legacy, "pass\0pass")).matches


@pytest.mark.attack("L-17")
async def test_every_byte_of_a_long_password_counts(cheap: Passwords):
    password = "0123456789" * 8
    stored = await cheap.hash(password)
    assert not (await cheap.verify(stored, password[:72] + "89674523")).matches
    assert not (await cheap.verify(stored, password[:72])).matches


# Hashes brought along


@pytest.mark.attack("L-17")
async def test_an_imported_hash_is_replaced_by_one_that_sees_the_whole_password(cheap: Passwords):
    password = "0123456789" * 8
    legacy = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    verdict = await cheap.verify(legacy, password)
    assert verdict.matches
    assert verdict.upgrade is not None
    assert verdict.upgrade.startswith(CHEAP.prefix)
    assert await cheap.verify(verdict.upgrade, password) == Verdict(matches=True)
    assert not (await cheap.verify(verdict.upgrade, password[:72])).matches
    assert await cheap.verify(legacy, "wrong") == Verdict(matches=False)


@pytest.mark.parametrize(
    "other",
    [Cost(memory_kib=128, passes=1), Cost(memory_kib=64, passes=2)],
)
async def test_a_hash_of_another_cost_is_replaced(cheap: Passwords, other: Cost):
    verdict = await cheap.verify(other.hash(b"pass"), "pass")
    assert verdict.matches
    assert verdict.upgrade is not None
    assert verdict.upgrade.startswith(CHEAP.prefix)


async def test_a_hash_of_more_lanes_is_replaced(cheap: Passwords):
    stored = argon2.PasswordHasher(1, 64, 4).hash("pass")
    verdict = await cheap.verify(stored, "pass")
    assert verdict.upgrade is not None
    assert ",p=1$" in verdict.upgrade


@pytest.mark.attack("L-20")
async def test_an_imported_hash_of_unnormalised_text_still_lets_its_owner_in(cheap: Passwords):
    legacy = bcrypt.hashpw(NFD.encode(), bcrypt.gensalt(4)).decode()
    verdict = await cheap.verify(legacy, NFD)
    assert verdict.matches
    assert verdict.upgrade is not None
    assert (await cheap.verify(verdict.upgrade, NFD)).matches
    assert (await cheap.verify(verdict.upgrade, NFC)).matches
    assert not (await cheap.verify(legacy, NFD + "x")).matches


@pytest.mark.attack("L-20")
@pytest.mark.parametrize(("first", "then"), [(NFC, NFD), (NFD, NFC)])
async def test_both_normal_forms_log_in(cheap: Passwords, first: str, then: str):
    assert (await cheap.verify(await cheap.hash(first), then)).matches


# No oracle


@pytest.mark.attack("L-04", "L-27")
@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "hunter2",
        "$2b$31$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
        "$argon2id$v=19$m=4194304,t=1000000,p=1$MDEyMzQ1Njc4OWFiY2RlZg$SV0/mFTSganBAy4Pzc8zDw",
        "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$",
        "scrypt$99999$\ud800$8$1$AAAA",
    ],
)
async def test_nobody_costs_what_somebody_costs(
    cheap: Passwords, argon2_calls: list[tuple[int, int, int]], stored: str | None
):
    known = CHEAP.hash(b"pass")
    argon2_calls.clear()
    await cheap.verify(known, "wrong")
    somebody = list(argon2_calls)
    argon2_calls.clear()
    assert await cheap.verify(stored, NFD) == Verdict(matches=False)
    assert argon2_calls == somebody == [(64, 1, 1)]


@pytest.mark.attack("L-04")
async def test_somebody_and_nobody_are_shed_alike():
    pool = Passwords(CHEAP, threads=1, patience=0.0)
    known = CHEAP.hash(b"pass")
    async with occupied(pool):
        first = asyncio.ensure_future(pool.verify(known, "pass"))
        await turns()
        for stored in (known, None):
            with pytest.raises(Busy):
                await pool.verify(stored, "pass")
    assert (await first).matches
    pool.close()


# The queue


@pytest.mark.attack("D-02")
async def test_the_loop_keeps_turning_while_twenty_are_hashed():
    pool = Passwords(patience=60.0)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticker = asyncio.ensure_future(tick())
    await asyncio.gather(*(pool.hash(f"password {n}") for n in range(20)))
    ticker.cancel()
    pool.close()
    assert ticks > 20  # hashed on the loop, it would have turned about once


@pytest.mark.attack("D-02")
async def test_a_cold_start_under_a_storm_sheds_and_recovers():
    pool = Passwords(Cost(), threads=1, patience=0.2)
    assert 0.01 < pool.seconds_per_hash < 1  # before anything was measured
    async with occupied(pool):
        storm = [asyncio.ensure_future(pool.verify(None, "x")) for _ in range(100)]
        await turns()
        admitted = pool.waiting
        assert admitted == sum(not login.done() for login in storm)
        assert 1 <= admitted < 100
        assert (admitted - 1) * pool.seconds_per_hash <= 0.2
    outcomes = await asyncio.gather(*storm, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Busy)]
    assert len(refused) == 100 - admitted
    for refusal in refused:
        assert refusal.status == 503
        assert refusal.retry_after is not None
        assert 0.2 < refusal.retry_after < 2
    assert len({refusal.retry_after for refusal in refused}) > 1  # or all would come back at once
    assert pool.waiting == 0
    assert (await pool.verify(await pool.hash("pass"), "pass")).matches
    pool.close()


async def test_however_slow_it_was_an_empty_queue_admits(cheap: Passwords):
    cheap.seconds_per_hash = 3600.0  # as after a suspended machine
    stored = await cheap.hash("pass")
    assert cheap.seconds_per_hash < 3600
    assert (await cheap.verify(stored, "pass")).matches


async def test_what_nobody_waits_for_is_not_done(cheap: Passwords):
    done: list[int] = []
    async with occupied(cheap):
        gone = [asyncio.ensure_future(cheap._queued(done.append, n)) for n in range(3)]
        stays = asyncio.ensure_future(cheap._queued(done.append, 3))
        await turns()
        assert cheap.waiting == 4
        for task in gone:
            task.cancel()
        await turns()
        assert cheap.waiting == 1
    await stays
    assert done == [3]
    assert cheap.waiting == 0


async def test_cancelling_what_has_begun_frees_the_caller(cheap: Passwords):
    began, over = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        over.wait(30)

    task = asyncio.ensure_future(cheap._queued(hold))
    await asyncio.to_thread(began.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cheap.waiting == 0
    over.set()
    assert await cheap.hash("pass")


async def test_replacing_a_hash_waits_for_a_quiet_moment(cheap: Passwords):
    old = Cost(memory_kib=128, passes=1).hash(b"pass")
    async with occupied(cheap):
        crowded = asyncio.ensure_future(cheap.verify(old, "pass"))
        await turns()
        last = asyncio.ensure_future(cheap.verify(old, "pass"))
        await turns()
    assert await crowded == Verdict(matches=True)
    assert (await last).upgrade is not None


async def test_the_estimate_follows_what_is_measured(cheap: Passwords):
    cheap.seconds_per_hash = 1.0
    for _ in range(100):
        await cheap.verify(None, "pass")
    assert cheap.seconds_per_hash < 0.1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has niceness for each thread")
@pytest.mark.attack("D-02")
async def test_the_threads_step_back_and_the_loop_does_not(cheap: Passwords):
    before = os.getpriority(os.PRIO_PROCESS, 0)
    there = await cheap._queued(os.getpriority, os.PRIO_PROCESS, 0)
    assert there == max(10, before)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


async def test_no_more_threads_than_asked_for_and_none_before_the_first_use():
    pool = Passwords(CHEAP, threads=2, patience=60.0)
    assert pool._pool is None
    idents = await asyncio.gather(*(pool._queued(threading.get_ident) for _ in range(20)))
    assert 1 <= len(set(idents)) <= 2
    assert threading.get_ident() not in idents
    pool.close()


async def test_closing_finishes_what_was_admitted_and_can_be_undone(cheap: Passwords):
    async with occupied(cheap):
        admitted = asyncio.ensure_future(cheap.hash("pass"))
        await turns()
        cheap.close()
        cheap.close()
    assert (await cheap.verify(await admitted, "pass")).matches


# Costs


@pytest.mark.parametrize(
    ("memory_kib", "passes"), [(7, 1), (19_456, 0), (1_000_000, 1), (262_144, 8), (64, 1000)]
)
def test_a_cost_that_could_not_be_verified_cannot_be_set(memory_kib: int, passes: int):
    with pytest.raises(ConfigError):
        Cost(memory_kib=memory_kib, passes=passes)


@pytest.mark.attack("L-27")
def test_import_names_the_scheme_or_the_reason():
    assert recognised("$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW") == "bcrypt"
    with pytest.raises(ValueError, match="bcrypt cost 31"):
        recognised("$2b$31$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW")

"""Stored hashes: what other software wrote is read, and nothing that costs too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.crypto.hashes import argon2_fits, read

PASSWORD = "correct horse é battery"

# Written by Django 5.2, passlib 1.7.4, Werkzeug 3.1, bcrypt 4.0 and argon2-cffi 25.1.
WRITTEN = {
    "django pbkdf2": (
        "pbkdf2_sha256",
        "pbkdf2_sha256$1000$gCZYL4KbQGXMhzyh5lBl2C$TBtB5hlM88purD3ZW6wk8omqr9Z9yokLNKcYmlhT9sc=",
    ),
    "django pbkdf2 sha1": (
        "pbkdf2_sha1",
        "pbkdf2_sha1$1000$nF1i9ErwgRA6Xo6YAMme22$j5uMoRmWLJqVEvr3xdhNAphrhVg=",
    ),
    "django bcrypt_sha256": (
        "bcrypt_sha256",
        "bcrypt_sha256$$2b$04$iW77wHVBz.50eQulqPjkBeol.mJWJaLR6ykDW5Ss7IcOPwBq1I7.q",
    ),
    "django bcrypt": (
        "bcrypt",
        "bcrypt$$2b$04$2rV3lAN2TtzFek.KJF.IQOW9doIRzwLYy6oqgry9iAScdofe5NOfO",
    ),
    "django argon2": (
        "argon2id",
        "argon2$argon2id$v=19$m=64,t=1,p=2$NG9hYXBKV0h6clFGcFJkdERGazl6OA$IiMydp30pyxQfAWKof/BiwFzL5dB5zsZl6rQya/MvTM",
    ),
    "django scrypt": (
        "scrypt",
        "scrypt$16$Q1hSBt8vMV1O2udfhimm5J$8$5$nyYzazdXRcOZ7d0owarMl67x6idFGySlnGr67QvaoKpiCDXzrzXqzENrc7BsLkDhy9kFTB06WpfuNz8vzmtnDQ==",
    ),
    "passlib pbkdf2 sha256": (
        "pbkdf2_sha256",
        "$pbkdf2-sha256$1000$DmEMwbjXOmdsjdFaK0Xo/Q$DMSJgGqm8FSwRHSFALxL94mfTKJoQDy8PXKWK4TWFLU",
    ),
    "passlib pbkdf2 sha512": (
        "pbkdf2_sha512",
        "$pbkdf2-sha512$1000$650zBgAAwPi/d875H2PsnQ$25W/MpNsHtTufQfG7gW4XrK.8Nl0uq.ZhG6XbYp4jzCaPMpHB6UWPpkdTrXmMa.C34YQ9oimh.C6bvBpKUnubA",
    ),
    "passlib pbkdf2 sha1": (
        "pbkdf2_sha1",
        "$pbkdf2$1000$AoDQuhcCIMT4XyvlPIdQig$s21DUoK8CSH.omKLlszDSgtcpYQ",
    ),
    "passlib scrypt": (
        "scrypt",
        "$scrypt$ln=4,r=8,p=1$CAGglPKeE8I4h7D2/v//vw$V57KDCf8Pn76CeBLnEpsWrZrZNxQX4Uq25U8tlmd45s",
    ),
    "passlib argon2": (
        "argon2id",
        "$argon2id$v=19$m=64,t=1,p=1$b+09JySklJJyTglhrBWCUA$0NPooeP7EHP/j07m0gGAh+m3o6S1L5qqEXGFvKRrAWg",
    ),
    "werkzeug pbkdf2 sha256": (
        "pbkdf2_sha256",
        "pbkdf2:sha256:1000$PG9gqMjCBUvd8ZT2$fd4e4e261ca9fa738f85c8f74a71cd7f4825f71fa2fc2b3cae7ceae73f325935",
    ),
    "werkzeug pbkdf2 sha1": (
        "pbkdf2_sha1",
        "pbkdf2:sha1:1000$BVqgKLUdUsTSTzS6$4c3f94b72aa9928e0169f8a91d45697bd731d39a",
    ),
    "werkzeug pbkdf2 sha512": (
        "pbkdf2_sha512",
        "pbkdf2:sha512:1000$0kVQxmzM94aGOWPT$c82b6510638457b87970bf03539d4d83d392e3577534edad27d17c83785d41c5df0b7806e70a611e509f44669aca903baba8d0c0231aecf4c7fc67aad9223621",
    ),
    "werkzeug scrypt": (
        "scrypt",
        "scrypt:1024:8:1$TmrWN4nwaAgcoEzB$a01833305716e0ff127921442a640493a1afa5f7f65be7d96f7eb325c1d6075a14cb6ead9154212c69f93d88ad90f001a650dc51aa6a5b1a2569a37d52cbbb18",
    ),
    "werkzeug scrypt, its default": (
        "scrypt",
        "scrypt:32768:8:1$sGA4wt0deX9h3uEe$0cd43be0e81d072c11909a4c99b3b240177bdacb04a0e2e6847fa0c4f4a7045a57475634a7f83b2ee133690ef96a473ec2739032d2afd97b0fe56144355250e5",
    ),
    "bcrypt 2a": ("bcrypt", "$2a$04$o1B4p23Q8Bx1LwQ9f3IOg.tLs/a0ylnAmKa.n4XjEpGPuk4nSgjF2"),
    "bcrypt 2b": ("bcrypt", "$2b$04$2WHZohcIl1UmSOtHWnJbfet0Z1yoWNusRbjNTBmhwL/83Vfjx9S.O"),
    "bcrypt 2y": ("bcrypt", "$2y$04$2WHZohcIl1UmSOtHWnJbfet0Z1yoWNusRbjNTBmhwL/83Vfjx9S.O"),
    "argon2d": (
        "argon2d",
        "$argon2d$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$+N/DYj3MvDGfOIzSC2Yl0A6OaoSoF9lQ26XzZ1dU0sA",
    ),
    "argon2i, 16 bytes": (
        "argon2i",
        "$argon2i$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$SV0/mFTSganBAy4Pzc8zDw",
    ),
    "argon2i, version 1.0": (
        "argon2i",
        "$argon2i$v=16$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$Q8T63kIf1dmp2sTf3kjvvxjldYK3nV6sB16IvKn0YlU",
    ),
    "argon2i, version unsaid": (
        "argon2i",
        "$argon2i$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$Q8T63kIf1dmp2sTf3kjvvxjldYK3nV6sB16IvKn0YlU",
    ),
}

_SALT = "MDEyMzQ1Njc4OWFiY2RlZg"
_DIGEST = "SV0/mFTSganBAy4Pzc8zDw"
_BCRYPT = "iW77wHVBz.50eQulqPjkBeol.mJWJaLR6ykDW5Ss7IcOPwBq1I7.q"

COSTLY = {
    "argon2 memory": f"$argon2id$v=19$m=4194304,t=1,p=1${_SALT}${_DIGEST}",
    "argon2 passes": f"$argon2id$v=19$m=64,t=1000000,p=1${_SALT}${_DIGEST}",
    "argon2 both": f"$argon2id$v=19$m=262144,t=5,p=1${_SALT}${_DIGEST}",
    "argon2 lanes": f"$argon2id$v=19$m=65536,t=1,p=64${_SALT}${_DIGEST}",
    "bcrypt cost": f"$2b$31${_BCRYPT}",
    "bcrypt cost, just": f"bcrypt_sha256$$2b$16${_BCRYPT}",
    "pbkdf2 rounds": "pbkdf2_sha256$4000001$salt$TBtB5hlM88purD3ZW6wk8omqr9Z9yokLNKcYmlhT9sc=",
    "pbkdf2 blocks": "pbkdf2:sha256:1000$salt$" + "ab" * 160,
    "scrypt memory": f"$scrypt$ln=19,r=8,p=1${_SALT}${_DIGEST}",
    "scrypt p": f"scrypt$131072$salt$8$5${_DIGEST}",
    "scrypt r": "scrypt:1024:4096:1$salt$" + "ab" * 32,
    "scrypt ln": f"$scrypt$ln=99,r=8,p=1${_SALT}${_DIGEST}",
}

MALFORMED = {
    "empty": "",
    "clear text": "hunter2",
    "md5": "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
    "unusable in django": "!eyJ0eXAi",
    "argon2 without salt": f"$argon2id$v=19$m=64,t=1,p=1$${_DIGEST}",
    "argon2 short salt": f"$argon2id$v=19$m=64,t=1,p=1$c2FsdA${_DIGEST}",
    "argon2 empty digest": f"$argon2id$v=19$m=64,t=1,p=1${_SALT}$",
    "argon2 short digest": f"$argon2id$v=19$m=64,t=1,p=1${_SALT}$SV0/mA",
    "argon2 bad base64": f"$argon2id$v=19$m=64,t=1,p=1${_SALT}$SV0/mFTSganBAy4Pzc8zDwxxx",
    "argon2 no passes": f"$argon2id$v=19$m=64,t=0,p=1${_SALT}${_DIGEST}",
    "argon2 no lanes": f"$argon2id$v=19$m=64,t=1,p=0${_SALT}${_DIGEST}",
    "argon2 too little memory": f"$argon2id$v=19$m=15,t=1,p=2${_SALT}${_DIGEST}",
    "argon2 version": f"$argon2id$v=99$m=64,t=1,p=1${_SALT}${_DIGEST}",
    "argon2 negative": f"$argon2id$v=19$m=-64,t=1,p=1${_SALT}${_DIGEST}",
    "argon2 other digits": f"$argon2id$v=19$m=٦٤,t=1,p=1${_SALT}${_DIGEST}",
    "argon2 long number": f"$argon2id$v=19$m={'9' * 200},t=1,p=1${_SALT}${_DIGEST}",
    "bcrypt cost": f"$2b$03${_BCRYPT}",
    "bcrypt broken variant": f"$2x$04${_BCRYPT}",
    "bcrypt stray salt bits": "$2b$04$iW77wHVBz.50eQulqPjkBfol.mJWJaLR6ykDW5Ss7IcOPwBq1I7.q",
    "bcrypt cut off": f"$2b$04${_BCRYPT}"[:-1],
    "bcrypt newline": f"$2b$04${_BCRYPT}\n",
    "pbkdf2 no rounds": "pbkdf2_sha256$0$salt$TBtB5hlM88purD3ZW6wk8omqr9Z9yokLNKcYmlhT9sc=",
    "pbkdf2 no digest": "pbkdf2_sha256$1000$salt$",
    "pbkdf2 other digest": "pbkdf2_sha256$1000$salt$j5uMoRmWLJqVEvr3xdhNAphrhVg=",
    "pbkdf2 md5": "pbkdf2:md5:1000$salt$fd4e4e261ca9fa738f85c8f74a71cd7f",
    "pbkdf2 odd hex": "pbkdf2:sha256:1000$salt$fd4",
    "scrypt n": f"scrypt$1000$salt$8$1${_DIGEST}",
    "scrypt n of one": f"$scrypt$ln=0,r=8,p=1${_SALT}${_DIGEST}",
    "scrypt n too large for r": f"$scrypt$ln=16,r=1,p=1${_SALT}${_DIGEST}",
    "scrypt no r": f"scrypt$1024$salt$0$1${_DIGEST}",
    "scrypt short digest": "scrypt:1024:8:1$salt$abcd",
    "lone surrogate": "pbkdf2_sha256$1000$\ud800$TBtB5hlM88purD3ZW6wk8omqr9Z9yokLNKcYmlhT9sc=",
    "endless": "$argon2id$v=19$m=64,t=1,p=1$" + "A" * 1_000_000 + f"${_DIGEST}",
}


@pytest.mark.parametrize(("scheme", "stored"), WRITTEN.values(), ids=WRITTEN)
def test_what_others_wrote_is_read(scheme: str, stored: str):
    known = read(stored)
    assert known.scheme == scheme
    assert known.matches(PASSWORD.encode())
    assert not known.matches(PASSWORD.encode()[:-1])


@pytest.mark.parametrize(("scheme", "stored"), WRITTEN.values(), ids=WRITTEN)
def test_one_altered_character_of_the_digest_matches_nothing(scheme: str, stored: str):
    body = stored.rstrip("=")
    at = len(body) - 2  # the last one may hold spare bits
    altered = body[:at] + ("a" if body[at] != "a" else "b") + stored[at + 1 :]
    assert not read(altered).matches(PASSWORD.encode())


def test_the_hash_of_the_tutorial_is_read():
    stored = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"
    assert read(stored).matches(b"secret")
    assert not read(stored).matches(b"Secret")


@pytest.mark.attack("L-17")
def test_a_bcrypt_hash_of_more_than_72_bytes_is_read_as_its_maker_cut_it():
    known = read("$2b$04$IZZFOLRz.08Ma6ebn1zymu5mlW4/qCjMR/ZMaN0tvRntlyYCRdGWK")
    password = b"0123456789" * 8
    assert known.matches(password)
    assert known.matches(password[:72] + b"another tail")  # lost when it was made
    assert not known.matches(password[:71])
    # Django's digest first: every byte of a long password counts.
    known = read(WRITTEN["django bcrypt_sha256"][1])
    assert not known.matches(PASSWORD.encode() + b"x" * 72)


@pytest.mark.attack("L-18")
@pytest.mark.parametrize(("scheme", "stored"), WRITTEN.values(), ids=WRITTEN)
def test_a_nul_never_ends_a_password(scheme: str, stored: str):
    known = read(stored)
    password = PASSWORD.encode()
    # As C ends text, as bcrypt repeats a short key, as HMAC fills one up.
    for twin in (password + b"\0x", password + b"\0" + password, password + b"\0"):
        assert not known.matches(twin)


@pytest.mark.attack("L-27")
@pytest.mark.parametrize("stored", COSTLY.values(), ids=COSTLY)
def test_a_cost_over_the_ceiling_is_refused_before_any_work(stored: str):
    with pytest.raises(ValueError, match=r"allowed|\d"):
        read(stored)


@pytest.mark.parametrize("stored", MALFORMED.values(), ids=MALFORMED)
def test_malformed_text_is_refused(stored: str):
    with pytest.raises(ValueError):
        read(stored)


@pytest.mark.attack("L-27")
@given(
    st.sampled_from([stored for _, stored in WRITTEN.values()]),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from("$=,:.0129aAzé\0 ")), max_size=4),
)
def test_mutated_text_is_read_or_refused_with_a_reason(stored: str, changes: list[tuple[int, str]]):
    text = list(stored)
    for at, character in changes:
        text[at % len(text)] = character
    try:
        known = read("".join(text))
    except ValueError as refusal:
        assert str(refusal)
    else:
        assert 16 <= len(known.digest) <= 64


def test_the_ceilings_leave_room_for_what_is_recommended():
    for memory_kib, passes, lanes in [
        (65_536, 3, 4),  # RFC 9106, second choice
        (262_144, 3, 1),  # libsodium, moderate
        (7_168, 5, 1),
        (47_104, 1, 1),
        (8, 1, 1),
    ]:
        argon2_fits(memory_kib, passes, lanes)
    read(f"scrypt$131072$salt$8$1${_DIGEST}")
    read(f"$scrypt$ln=18,r=8,p=1${_SALT}${_DIGEST}")
    read("pbkdf2_sha256$1500000$salt$TBtB5hlM88purD3ZW6wk8omqr9Z9yokLNKcYmlhT9sc=")
    read(f"$2b$15${_BCRYPT}")

"""The cache of verified tokens: a hit is judged as a miss is."""

from __future__ import annotations

import pytest

from watchword.crypto import jose
from watchword.crypto.jose import KeySet
from watchword.crypto.jwk import SigningKey, new_private_key
from watchword.errors import Busy, InvalidToken
from watchword.guard import verifier as module
from watchword.guard.revocations import Revocations
from watchword.guard.verifier import Verifier
from watchword.rules.access import LEEWAY, Expectation
from watchword.rules.revoking import key8
from watchword.seams import Revocation, Tail

NOW = 1_800_000_000.0


class Keys:
    def __init__(self, *keys: SigningKey) -> None:
        self.set: KeySet | None = self.of(*keys)
        self.missed_calls = 0

    @staticmethod
    def of(*keys: SigningKey) -> KeySet:
        return KeySet(key.public() for key in keys)

    def current(self, now: float) -> KeySet | None:
        return self.set

    async def load(self, now: float) -> KeySet:
        raise Busy("away")

    async def missed(self, now: float) -> KeySet:
        self.missed_calls += 1
        assert self.set is not None
        return self.set


class Log:
    def __init__(self) -> None:
        self.entries: list[Revocation] = []

    def news(self, after: int, epoch: int) -> Tail | None:
        new = tuple(entry for entry in self.entries if entry.seq > after)
        return Tail(1, new[-1].seq, new) if new else None


KEY = SigningKey("k1", "ES256", new_private_key("ES256"))


def token(key: SigningKey = KEY, **claims: object) -> str:
    content = {
        "iss": "i", "sub": "u", "aud": ["r"], "client_id": "c", "jti": "j",
        "exp": int(NOW) + 600, "iat": int(NOW), "rev": 0, "scope": "a", **claims,
    }  # fmt: skip
    return jose.sign(content, key, "at+jwt")


def made(keys: Keys, log: Log | None = None) -> Verifier:
    revocations = Revocations(log) if log is not None else None
    expected = Expectation("i", "r")
    return Verifier(keys, expected, types=frozenset({"at+jwt"}), revocations=revocations)


@pytest.fixture
def signatures(monkeypatch) -> list[str]:
    """The tokens whose signatures were really checked."""
    checked: list[str] = []
    real = jose.verify

    def counting(text, keys, **more):
        checked.append(text)
        return real(text, keys, **more)

    monkeypatch.setattr(module.jose, "verify", counting)
    return checked


async def test_a_token_is_verified_once_and_its_expiry_every_time(signatures) -> None:
    verify, text = made(Keys(KEY)), token()
    first = await verify(text, NOW)
    assert await verify(text, NOW + 600 + LEEWAY - 0.1) is first
    for _ in range(2):
        with pytest.raises(InvalidToken):
            await verify(text, NOW + 600 + LEEWAY)
    assert signatures == [text, text], "an expired entry leaves the cache"


async def test_a_key_that_is_withdrawn_takes_its_cached_tokens_with_it() -> None:
    keys, text = Keys(KEY), token()
    verify = made(keys)
    await verify(text, NOW)
    other = SigningKey("k2", "ES256", new_private_key("ES256"))
    keys.set = keys.of(other)
    with pytest.raises(InvalidToken):
        await verify(text, NOW)
    with pytest.raises(InvalidToken):
        await verify(text, NOW)
    keys.set = None
    with pytest.raises(Busy):
        await verify(text, NOW)


async def test_refusals_are_not_cached_and_fill_nothing(signatures) -> None:
    verify = made(Keys(KEY))
    bad = [token(aud=["other"]), token(exp=1), token() + "A", token()[:-2], "x", ""]
    for text in bad * 2:
        with pytest.raises(InvalidToken):
            await verify(text, NOW)
    assert verify._cache == {} and len(signatures) == 2 * len(bad)


@pytest.mark.attack("J-19", "J-18")
async def test_revoked_is_revoked_cached_or_not() -> None:
    log = Log()
    verify, cached = made(Keys(KEY), log), token()
    await verify(cached, NOW)
    log.entries.append(Revocation(1, "jti", key8("jti", "j"), NOW + 9000))
    same_id = token()  # another signature over the same claims: another spelling
    assert same_id != cached
    for text in (cached, same_id, cached):
        with pytest.raises(InvalidToken):
            await verify(text, NOW)
    assert (await verify(token(jti="j2"), NOW)).jti == "j2"


async def test_what_is_revoked_while_keys_are_loaded_is_revoked() -> None:
    log = Log()

    class Slow(Keys):
        def current(self, now: float) -> KeySet | None:
            return None

        async def load(self, now: float) -> KeySet:
            log.entries.append(Revocation(1, "jti", key8("jti", "j"), NOW + 9000))
            assert self.set is not None
            return self.set

    with pytest.raises(InvalidToken):
        await made(Slow(KEY), log)(token(), NOW)


async def test_the_cache_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_CACHED", 3)
    verify = made(Keys(KEY))
    texts = [token(jti=f"j{n}") for n in range(5)]
    for text in texts:
        await verify(text, NOW)
    assert len(verify._cache) == 3
    assert (await verify(texts[0], NOW)).jti == "j0"


async def test_an_unknown_key_makes_it_look_again_once(signatures) -> None:
    newer = SigningKey("k2", "ES256", new_private_key("ES256"))

    class Rotating(Keys):
        async def missed(self, now: float) -> KeySet:
            self.missed_calls += 1
            self.set = self.of(KEY, newer)
            return self.set

    keys = Rotating(KEY)
    verify = made(keys)
    assert (await verify(token(newer), NOW)).sub == "u"
    assert (await verify(token(newer), NOW)).sub == "u"
    assert keys.missed_calls == 1
    with pytest.raises(InvalidToken):
        await verify(token(SigningKey("k3", "ES256", new_private_key("ES256"))), NOW)

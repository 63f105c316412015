"""Group J, as far as the signature layer decides: hostile tokens against `jose.verify`.

Every refusal is an InvalidToken with the one public sentence; nothing of the token is in
what the caller or the log gets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import socket
import time
import tracemalloc
import zlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from watchword.crypto.jose import MAX_SIZE, Jws, KeySet, UnknownKey, sign, verify
from watchword.crypto.jwk import ALGORITHMS, SigningKey, new_private_key
from watchword.crypto.strict import encode64
from watchword.errors import InvalidToken

attack = pytest.mark.attack

AT = frozenset({"at+jwt"})
CLAIMS = {"iss": "https://id.example.com", "sub": "ada", "exp": 1_790_000_000, "jti": "t1"}
KEYS = {alg: SigningKey(f"k-{alg}", alg, new_private_key(alg)) for alg in sorted(ALGORITHMS)}
OURS = KeySet(key.public() for key in KEYS.values())
REMOTE = KeySet.from_jwks({"keys": [key.public().jwk for key in KEYS.values()]})
ES = KEYS["ES256"]
GOOD = sign(CLAIMS, ES, "at+jwt")
HEADER = {"typ": "at+jwt", "alg": "ES256", "kid": ES.kid}


def b64(raw: bytes) -> str:
    return encode64(raw).decode()


def forged(header: Any, payload: Any = None, key: Any = ES) -> str:
    """A token with this header and payload, truly signed by one of our keys."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = payload if isinstance(payload, bytes) else json.dumps(payload or CLAIMS).encode()
    message = encode64(head) + b"." + encode64(body)
    return (message + b"." + encode64(key.sign(message))).decode()


def refused(token: str, *sets: KeySet, typ: frozenset[str] = AT) -> None:
    for keys in sets or (OURS, REMOTE):
        with pytest.raises(InvalidToken) as caught:
            verify(token, keys, typ=typ)
        fault = caught.value
        assert (fault.why, fault.code, fault.status) == (
            "the token is not valid",
            "invalid_token",
            401,
        )
        assert fault.detail.isascii() and fault.detail.isprintable() and 0 < len(fault.detail) < 60
        assert fault.__cause__ is None and (fault.__context__ is None or fault.__suppress_context__)


def test_the_untouched_token_passes() -> None:
    for keys in (OURS, REMOTE):
        assert verify(GOOD, keys, typ=AT) == Jws(HEADER, CLAIMS)


@attack("J-01")
@pytest.mark.parametrize(
    "alg",
    [
        "none",
        "None",
        "NONE",
        "nOnE",
        "none ",
        " none",
        "",
        None,
        0,
        False,
        [],
        {},
        ["ES256"],
        "absent",
    ],
)
@pytest.mark.parametrize("kid", [{"kid": "k-ES256"}, {}])
def test_alg_none(alg: object, kid: dict[str, str]) -> None:
    header = {"typ": "at+jwt", **kid, **({} if alg == "absent" else {"alg": alg})}
    token = forged(header)
    refused(token)
    refused(token.rpartition(".")[0] + ".")
    refused(token.rpartition(".")[0] + "." + GOOD.rpartition(".")[2])


def public_spellings(key: SigningKey) -> list[bytes]:
    public = key._private.public_key()
    der, spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(Encoding.PEM, spki)
    body = b"".join(pem.splitlines()[1:-1])
    jwk = key.public().jwk
    spellings = [
        pem,
        pem.strip(),
        pem.replace(b"\n", b"\r\n"),
        pem.replace(b"\n", b""),
        pem.replace(b"\n", b" "),
        b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n",
        body,
        public.public_bytes(der, spki),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        json.dumps(jwk).encode(),
        json.dumps(jwk, separators=(",", ":")).encode(),
        json.dumps({"keys": [jwk]}).encode(),
        json.dumps({"outer": {"key": jwk}}).encode(),
        key.kid.encode(),
    ]
    if key.alg in {"RS256", "PS256"}:
        spellings += [public.public_bytes(form, PublicFormat.PKCS1) for form in (Encoding.PEM, der)]
    if isinstance(public, ed25519.Ed25519PublicKey):
        spellings += [public.public_bytes_raw(), jwk["x"].encode()]
    return spellings


@attack("J-02", "J-04")
@pytest.mark.parametrize("hs", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_our_public_key_as_mac_key(alg: str, hs: str) -> None:
    for secret in (*public_spellings(KEYS[alg]), b"", b"\0", b"secret"):
        for header in (
            {"typ": "at+jwt", "alg": hs, "kid": f"k-{alg}"},
            {"typ": "at+jwt", "alg": hs},
        ):
            message = (
                encode64(json.dumps(header).encode()) + b"." + encode64(json.dumps(CLAIMS).encode())
            )
            mac = hmac.digest(secret, message, f"sha{hs[2:]}")
            refused((message + b"." + encode64(mac)).decode())


@attack("J-03", "J-15")
@pytest.mark.parametrize("named", sorted(ALGORITHMS))
@pytest.mark.parametrize(
    "alg",
    [
        *sorted(ALGORITHMS),
        "ES384",
        "ES512",
        "ES256K",
        "RS384",
        "RS512",
        "PS512",
        "HS256",
        "EdDSA",
        "Ed448",
        "es256",
        "ES256 ",
    ],
)
def test_another_algorithm_than_the_keys(alg: str, named: str) -> None:
    if alg == named:
        return
    header = {"typ": "at+jwt", "alg": alg, "kid": f"k-{named}"}
    for signer in (KEYS[named], KEYS.get(alg, KEYS[named])):
        token = forged(header, key=signer)
        refused(token, OURS)
        if not (named == "Ed25519" and alg == "EdDSA"):  # one algorithm, two names (RFC 9864)
            refused(token, REMOTE)


@attack("J-15")
def test_one_rsa_key_serves_one_scheme() -> None:
    private = KEYS["RS256"]._private
    as_pss = SigningKey("k-RS256", "PS256", private)
    refused(sign(CLAIMS, as_pss, "at+jwt"))
    refused(forged({"typ": "at+jwt", "alg": "RS256", "kid": "k-RS256"}, key=as_pss))


@attack("J-03", "J-04", "J-40")
def test_symmetric_keys_are_never_loaded() -> None:
    for k in ("", b64(b"\0" * 32), b64(b"secret")):
        jwks = {
            "keys": [
                {"kty": "oct", "k": k, "kid": "k-ES256", **alg}
                for alg in ({}, {"alg": "HS256"}, {"alg": "ES256"})
            ]
        }
        keys = KeySet.from_jwks(jwks, algorithms=frozenset({*ALGORITHMS, "HS256"}))
        assert len(keys) == 0
        refused(GOOD, keys)


@attack("J-05")
def test_null_signature() -> None:
    head, payload, signature = GOOD.split(".")
    for token in (
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f"{head}..{signature}",
        f".{payload}.{signature}",
        f"..{signature}",
        "..",
        ".",
        "",
    ):
        refused(token)


@attack("J-06")
def test_wrong_number_of_parts_and_json_forms() -> None:
    head, payload, signature = GOOD.split(".")
    parts = [head, payload, signature]
    for count in (1, 2, 4, 5, 6):
        refused(".".join((parts * 2)[:count]))
    for token in (GOOD + ".", "." + GOOD, f"{head}..{payload}.{signature}"):
        refused(token)
    one = {"protected": head, "signature": signature}
    for form in (
        {"payload": payload, **one},
        {"payload": payload, "signatures": [one]},
        {"payload": payload, "signatures": []},
        {},
    ):
        refused(json.dumps(form))
        refused(" " + json.dumps(form))
        refused(json.dumps({**form, "dots": "a.b"}))
        refused(json.dumps([form]))


KIDS = ["../../dev/null", "/proc/self/environ", "' OR '1'='1", ";id", "https://evil.example/k", "k-ES256\0", "\0", "k" * 10_000, "K-ES256", " k-ES256", "", 0, 1.5, True, None, [], ["k-ES256"], {}, {"k-ES256": 1}]  # fmt: skip


@attack("J-07", "J-46")
@pytest.mark.parametrize("kid", KIDS, ids=lambda kid: repr(kid)[:20])
def test_kid_is_a_name_in_a_table(kid: object, monkeypatch: pytest.MonkeyPatch) -> None:
    token = forged({**HEADER, "kid": kid})
    touched: list[object] = []
    monkeypatch.setattr("builtins.open", lambda *args, **kw: touched.append(args))
    monkeypatch.setattr(socket, "socket", lambda *args, **kw: touched.append(args))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kw: touched.append(args))
    refused(token)
    if isinstance(kid, str):
        for keys in (OURS, REMOTE):
            with pytest.raises(UnknownKey):
                verify(token, keys, typ=AT)
    assert not touched


STRANGER = SigningKey("evil", "ES256", new_private_key("ES256"))


@attack("J-08", "J-09", "J-10")
@pytest.mark.parametrize("kid", [{}, {"kid": "evil"}, {"kid": "k-ES256"}])
@pytest.mark.parametrize(
    "extra",
    [
        {"jku": "https://evil.example/jwks"}, {"jku": "https://id.example.com/../evil/jwks"}, {"jku": "https://id.example.com/out?to=evil"}, {"jku": None},
        {"x5u": "https://evil.example/cert"}, {"x5u": ""},
        {"jwk": STRANGER.public().jwk}, {"jwk": {}}, {"jwk": None},
        {"x5c": ["MIIB"]}, {"x5c": []},
    ],
    ids=lambda extra: str(extra)[:50],  # short of a key that is new each time
)  # fmt: skip
def test_a_token_brings_no_key(
    extra: dict[str, object], kid: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", lambda *args, **kw: pytest.fail("a socket was opened"))
    for signer in (STRANGER, ES):
        token = forged({"typ": "at+jwt", "alg": "ES256", **kid, **extra}, key=signer)
        refused(token)


@attack("J-11")
@pytest.mark.parametrize(
    "crit",
    [["x"], [], "b64", None, {}, 7, ["alg"], ["x", "x"], ["absent"], ["b64"], ["kid"], [""]],
    ids=str,
)
def test_crit(crit: object) -> None:
    refused(forged({**HEADER, "crit": crit, "x": 1}))
    refused(forged({**HEADER, "crit": crit}))


@attack("J-12")
@pytest.mark.parametrize("crit", [{}, {"crit": ["b64"]}])
@pytest.mark.parametrize("b64_", [False, True, None, "false"])
def test_b64_and_detached_payloads(b64_: object, crit: dict[str, object]) -> None:
    head = encode64(json.dumps({**HEADER, "b64": b64_, **crit}).encode())
    for payload, sent in (
        (b'{"sub":"ada"}', b'{"sub":"ada"}'),
        (b'{"sub":"ada"}', b""),
        (encode64(b'{"sub":"ada"}'), encode64(b'{"sub":"ada"}')),
    ):
        signature = encode64(ES.sign(head + b"." + payload))
        refused((head + b"." + sent + b"." + signature).decode())
    started = time.thread_time()  # however busy the machine is
    refused(head.decode() + "." + "A" * 50_000_000 + ".AA")
    assert time.thread_time() - started < 0.5


@attack("J-12", "J-33")
def test_the_payload_is_not_decoded_before_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    token = forged(HEADER, key=STRANGER)
    verify(GOOD, OURS, typ=AT)
    seen: list[bytes] = []
    monkeypatch.setattr("watchword.crypto.jose.json_object", lambda raw: seen.append(raw) or {})
    refused(GOOD.rpartition(".")[0] + "." + token.rpartition(".")[2], OURS)
    assert not seen


@attack("J-18")
def test_base64url_has_one_spelling() -> None:
    parts = GOOD.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for keys in (OURS, REMOTE):
        verify(GOOD, keys, typ=AT)  # the header is known by now: the fast way must refuse as well
    for place, part in enumerate(parts):
        spellings = [
            part + tail
            for tail in ("=", "==", "===", " ", "\n", "\r\n", "\t", "?", "\0", "A", "é", "\u2003")
        ]
        spellings += [lead + part for lead in (" ", "\n", "=", "\ufeff")]
        spellings += [
            part[:5] + middle + part[5:]
            for middle in ("?", " ", "\n", "=", "%", "\0", "é", "-", "_")
        ]
        if "-" in part or "_" in part:
            spellings.append(part.replace("-", "+").replace("_", "/"))
        if len(part) % 4:
            spellings += [
                part[:-1] + letter
                for letter in alphabet
                if letter != part[-1]
                and base64.urlsafe_b64decode(part[:-1] + letter + "==")
                == base64.urlsafe_b64decode(part + "==")
            ]
        for spelling in spellings:
            refused(".".join([*parts[:place], spelling, *parts[place + 1 :]]))
    for token in (
        GOOD + "\n",
        GOOD + " ",
        " " + GOOD,
        "Bearer " + GOOD,
        GOOD + "#x",
        GOOD + "&a=b",
    ):
        refused(token)


@attack("J-18")
def test_unused_bits_of_every_alg_are_refused() -> None:
    for alg, key in KEYS.items():
        token = sign(CLAIMS, key, "at+jwt")
        twin = (
            token[:-1] + {"A": "B", "Q": "R", "g": "h", "w": "x"}[token[-1]]
        )  # 64 and 256 bytes leave 4 bits
        assert base64.urlsafe_b64decode(twin.rpartition(".")[2] + "==") == base64.urlsafe_b64decode(
            token.rpartition(".")[2] + "=="
        ), alg
        refused(twin)


@attack("J-21")
@pytest.mark.parametrize(
    "payload",
    [
        b'{"sub":"ada","sub":"eve"}',
        b'{"sub":"ada","\\u0073ub":"eve"}',
        b'{"\\u0073ub":"ada","\\u0073ub":"eve"}',
        b'{"s\\u0075b":"eve","sub":"ada"}',
        b'{"cnf":{"jkt":"a","jkt":"b"}}',
        b'{"aud":[{"a":1,"a":1}]}',
        b'{"":1,"":2}',
    ],
)
def test_duplicate_members_at_any_depth(payload: bytes) -> None:
    refused(forged(HEADER, payload))
    canonical = json.dumps(
        HEADER, separators=(",", ":")
    ).encode()  # what our signer writes: the fast way
    refused(forged(canonical, payload))


@attack("J-21")
def test_duplicate_header_members() -> None:
    for head in (
        b'{"alg":"none","typ":"at+jwt","alg":"ES256","kid":"k-ES256"}',
        b'{"typ":"at+jwt","alg":"ES256","kid":"evil","k\\u0069d":"k-ES256"}',
    ):
        refused(forged(head))


@attack("J-21")
def test_other_spellings_of_claim_names_are_other_claims() -> None:
    claims = verify(
        forged(HEADER, {**CLAIMS, "Sub": "eve", "EXP": 1, "sub ": "eve", "ѕub": "eve"}),
        OURS,
        typ=AT,
    ).claims
    assert (claims["sub"], claims["exp"]) == ("ada", 1_790_000_000)


@attack("J-22")
@pytest.mark.parametrize(
    "number",
    [
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "-Infinity",
        "9" * 400,
        "-" + "9" * 400,
        "9" * 4999,
        "1" + "0" * 10_000,
        "nan",
        "0x7f",
        "1_000",
        "01",
        "+1",
        "1.",
        ".5",
        "٣",
    ],
)
@pytest.mark.parametrize("where", ['{"exp":%s}', '{"a":[{"exp":%s}]}', '{ "exp" : %s }'])
def test_numbers_that_are_none(number: str, where: str) -> None:
    refused(forged(HEADER, (where % number).encode()))


@attack("J-22")
@pytest.mark.parametrize(
    "number", ["-1", "9223372036854775807", "9223372036854775808", "1e3", "1790000000.5"]
)
def test_other_numbers_arrive_as_they_are(
    number: str,
) -> None:  # whether they are a time is for the rules
    exp = verify(forged(HEADER, b'{"exp":%s}' % number.encode()), OURS, typ=AT).claims["exp"]
    assert exp == json.loads(number) and type(exp) is type(json.loads(number)) and float(exp)


def jwe(header: dict[str, object], bomb: bytes = b"") -> str:
    return ".".join(
        [
            b64(json.dumps(header).encode()),
            b64(b"k" * 32),
            b64(b"i" * 12),
            b64(bomb or b"c" * 16),
            b64(b"t" * 16),
        ]
    )


@attack("J-32")
def test_jwe_is_not_read() -> None:
    bomb = zlib.compress(b"\0" * 1_000_000, 9)
    heads = [
        {"alg": "dir", "enc": "A256GCM", "zip": "DEF"},
        {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_000_000_000, "p2s": "AAAA"},
        {"alg": "RSA1_5", "enc": "A128CBC-HS256", "kid": "k-RS256"},
        {"alg": "ECDH-ES", "enc": "A256GCM", "epk": ES.public().jwk, "kid": "k-ES256"},
    ]
    started = time.thread_time()
    for head in heads:
        refused(jwe(head, bomb))
        for extra in ({"enc": "A256GCM"}, {"zip": "DEF"}, {"enc": None}):
            refused(forged({**HEADER, **extra}))
    assert time.thread_time() - started < 1


@attack("J-32")
def test_nested_tokens_are_not_opened() -> None:
    token = GOOD
    for _ in range(5):
        token = forged({**HEADER, "cty": "JWT"}, token.encode())
        refused(token)
        refused(forged(HEADER, json.dumps(token).encode()))


@attack("J-33")
def test_oversize_costs_nothing() -> None:
    head, payload, signature = GOOD.split(".")
    tokens = [
        "A" * 1_000_000 + f".{payload}.{signature}",
        f"{head}.{payload}." + "A" * 100_000_000,
        f"{head}."
        + b64(json.dumps({f"c{n}": n for n in range(100_000)}).encode())
        + f".{signature}",
        "." * 1_000_000,
        "é" * 1_000_000,
        "{" * 1_000_000,
    ]
    for token in tokens:
        tracemalloc.start()
        started = time.thread_time()
        refused(token, OURS)
        took, peak = time.thread_time() - started, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert took < 0.1 and peak < 200_000


@attack("J-33")
def test_the_cap_is_exact() -> None:
    room = MAX_SIZE - len(forged(HEADER, {"x": ""}))
    assert verify(forged(HEADER, {"x": "y" * (room * 3 // 4 - 2)}), OURS, typ=AT)
    refused(forged(HEADER, {"x": "y" * (room * 3 // 4 + 3)}))


@attack("J-33")
@pytest.mark.parametrize("opener", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("depth", [33, 500, 990, 1100, 1900])
def test_nesting(opener: bytes, depth: int) -> None:
    closer = b"".join(b"]" if char == 91 else b"}" for char in reversed(opener) if char in b"[{")
    for body in (opener * depth, opener * depth + b"1" + closer * depth):
        refused(forged(HEADER, b'{"a":' + body + b"}"))
        refused(forged(b'{"alg":"ES256","kid":"k-ES256","typ":"at+jwt","a":' + body + b"}"))


@attack("J-34")
@pytest.mark.parametrize(
    "text",
    [
        '{"sub":"ada"}'.encode("utf-16"), '{"sub":"ada"}'.encode("utf-16-le"), '{"sub":"ada"}'.encode("utf-16-be"), '{"sub":"ada"}'.encode("utf-32"),
        b'\xef\xbb\xbf{"sub":"ada"}', b'{"sub":"\xff"}', b'{"sub":"\xc0\x80"}', b'{"sub":"\xed\xa0\x80"}', b'{"sub":"\xf5\x80\x80\x80"}',
        b'{"sub":"\\ud800"}', b'{"\\udc00":1}', b'{"a":[["\\udbff\\u0061"]]}', b'{"sub":"\\x41"}', b'{"sub":"\\u00"}',
        b"[]", b'["sub"]', b'"ada"', b"7", b"null", b"true", b"", b" ", b"{", b"}", b"{]", b'{"sub"}', b'{"sub":}', b"{sub:1}", b"{}{}", b'{"a":1}\0', b"/**/{}", b"{}//",
    ],
    ids=repr,
)  # fmt: skip
def test_encodings_and_shapes(text: bytes) -> None:
    refused(forged(HEADER, text) if text else forged(HEADER, b" "))
    refused(forged(text))


@attack("J-19")
def test_the_twin_of_a_signature_is_the_same_token() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    message, _, signature = GOOD.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    again = verify(f"{message}.{b64(twin)}", OURS, typ=AT)
    assert again.claims["jti"] == CLAIMS["jti"]  # by which it is revoked; the digests differ
    assert hashlib.sha256(twin).digest() != hashlib.sha256(raw).digest()


@attack("J-40")
def test_a_hostile_jwks_loses_its_bad_keys_only() -> None:
    good, other = ES.public().jwk, KEYS["RS256"].public().jwk
    private = {**KEYS["PS256"].public().jwk, "kid": "private", "d": "AQAB"}
    bad: list[object] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        private,
        {**other, "kid": "enc", "use": "enc"},
        {**other, "kid": "ops", "key_ops": ["encrypt"]},
        {**good, "kid": "off-curve", "y": good["x"]},
        {"kty": "EC", "kid": "p384", "crv": "P-384", "x": "AA", "y": "AA"},
        {"kty": "XYZ", "kid": "kty"},
        {"kid": "empty"},
        {**good, "kid": 7},
        None,
        7,
        "key",
        [good],
    ]
    keys = KeySet.from_jwks({"keys": [*bad, good, *bad, other]})
    assert len(keys) == 2 and keys.knows(good["kid"]) and keys.knows(other["kid"])
    assert verify(GOOD, keys, typ=AT)
    for name in ("oct", "private", "enc", "ops", "off-curve", "p384", "kty", "empty"):
        assert not keys.knows(name)


@attack("J-40")
def test_a_name_used_twice_names_nobody() -> None:
    good, twin = ES.public().jwk, {**STRANGER.public().jwk, "kid": ES.kid}
    for listed in ([good, twin], [twin, good], [good, good], [good, twin, good]):
        keys = KeySet.from_jwks({"keys": [*listed, KEYS["RS256"].public().jwk]})
        refused(GOOD, keys)
        refused(forged({"typ": "at+jwt", "alg": "ES256"}), keys)
        assert not keys.knows(ES.kid) and keys.knows("k-RS256")


@attack("J-46")
@pytest.mark.parametrize(
    "hostile",
    [
        "a\r\nSet-Cookie: x=1",
        "\x1b[2J\x1b[31mroot",
        "x" * 9000,
        "%s%n{0.__class__}",
        "\u202eevil",
        "${jndi:ldap://x}",
    ],
)
def test_nothing_of_a_bad_token_is_told(hostile: str) -> None:
    for header, claims in (
        ({**HEADER, "kid": hostile}, CLAIMS),
        ({**HEADER, "alg": hostile}, CLAIMS),
        ({**HEADER, "typ": hostile}, CLAIMS),
        ({**HEADER, hostile: 1, "crit": [hostile]}, CLAIMS),
        (HEADER, {"iss": hostile, "sub": hostile}),
    ):
        token = forged(header, claims, STRANGER)
        with pytest.raises(InvalidToken) as caught:
            verify(token, OURS, typ=AT)
        told = f"{caught.value} {caught.value.why} {caught.value.detail} {caught.value!r}"
        assert hostile[:8] not in told and token[:12] not in told


def mutated(token: str, chance: random.Random) -> str:  # noqa: PLR0911 -- one way a line
    kind = chance.randrange(8)
    if kind == 0:  # flip a bit
        place = chance.randrange(len(token))
        return (
            token[:place] + chr(ord(token[place]) ^ (1 << chance.randrange(7))) + token[place + 1 :]
        )
    if kind == 1:  # cut
        return token[: chance.randrange(len(token))] + token[chance.randrange(len(token)) :]
    if kind == 2:  # splice another
        other = sign({"n": chance.random()}, KEYS["Ed25519"], "at+jwt")
        return token[: chance.randrange(len(token))] + other[chance.randrange(len(other)) :]
    if kind == 3:  # swap parts
        parts = token.split(".")
        chance.shuffle(parts)
        return ".".join(parts)
    if kind == 4:  # noise
        return "".join(
            chr(chance.choice((chance.randrange(128), chance.randrange(0x11_0000))))
            for _ in range(chance.randrange(200))
        )
    if kind == 5:  # noise of the right letters, up to 8 kB
        return ".".join(b64(chance.randbytes(chance.randrange(2000))) for _ in range(3))
    raw = bytearray(json.dumps(HEADER if kind == 6 else CLAIMS).encode())
    for _ in range(chance.randrange(1, 4)):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    if kind == 6:
        return forged(bytes(raw), None, KEYS["Ed25519"])
    return forged({**HEADER, "alg": "Ed25519", "kid": "k-Ed25519"}, bytes(raw), KEYS["Ed25519"])


@attack("J-45")
def test_ten_thousand_mutants_raise_one_thing_only() -> None:
    chance = random.Random(0x4A)
    seeds = [sign(CLAIMS, key, "at+jwt") for key in KEYS.values()]
    took: list[float] = []
    for number in range(10_000):
        token = mutated(seeds[number % len(seeds)], chance)
        started = time.thread_time()
        try:
            read = verify(token, OURS if number % 3 else REMOTE, typ=AT)
        except InvalidToken:
            pass
        else:  # only a payload that was truly signed passes, and it is an object
            assert token in seeds or (
                isinstance(read.claims, dict) and read.header["kid"] == "k-Ed25519"
            )
        took.append(time.thread_time() - started)
    assert sorted(took)[9_900] < 0.005

"""Tokens: what we sign others read, what others sign we read, and nothing else."""

from __future__ import annotations

import json

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from watchword.crypto.jose import MAX_SIZE, KeySet, UnknownKey, sign, verify
from watchword.crypto.jwk import ALGORITHMS, SigningKey, new_private_key
from watchword.crypto.strict import encode64
from watchword.errors import ConfigError, InvalidToken

AT = frozenset({"at+jwt"})
CLAIMS = {
    "iss": "https://id.example.com",
    "sub": "ada",
    "exp": 1_790_000_000,
    "scope": "a b",
    "name": "Zoë ☃",
}
KEYS = {alg: SigningKey(f"k-{alg}", alg, new_private_key(alg)) for alg in sorted(ALGORITHMS)}
OURS = KeySet(key.public() for key in KEYS.values())
JOSERFC = {"ES256": ECKey, "RS256": RSAKey, "PS256": RSAKey, "Ed25519": OKPKey}
JUDGE = jws.JWSRegistry(algorithms=[*sorted(ALGORITHMS), "EdDSA"])

each_alg = pytest.mark.parametrize("alg", sorted(ALGORITHMS))


def forged(header: object, key: SigningKey, payload: bytes = b'{"sub":"ada"}') -> str:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    message = encode64(head) + b"." + encode64(payload)
    return (message + b"." + encode64(key.sign(message))).decode()


@each_alg
def test_there_and_back(alg: str) -> None:
    token = sign(CLAIMS, KEYS[alg], "at+jwt")
    for _ in range(2):  # the second time the header is known already
        read = verify(token, OURS, typ=AT)
        assert read.claims == CLAIMS
        assert read.header == {"typ": "at+jwt", "alg": alg, "kid": f"k-{alg}"}


@each_alg
def test_the_independent_judge_accepts_ours(alg: str) -> None:
    token = sign(CLAIMS, KEYS[alg], "at+jwt")
    read = jwt.decode(token, JOSERFC[alg].import_key(KEYS[alg].public().jwk), registry=JUDGE)
    assert read.claims == CLAIMS and read.header["typ"] == "at+jwt"


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@each_alg
def test_we_accept_the_independent_judge(alg: str) -> None:
    judge = JOSERFC[alg].generate_key(
        *([2048] if "S256" in alg and alg != "ES256" else []),
        parameters={"kid": "j", "use": "sig", **({} if alg == "Ed25519" else {"alg": alg})},
        auto_kid=False,
    )
    keys = KeySet.from_jwks({"keys": [judge.as_dict(private=False)]})
    for name in (alg, "EdDSA") if alg == "Ed25519" else (alg,):
        token = jwt.encode(
            {"alg": name, "kid": "j", "typ": "at+jwt"}, CLAIMS, judge, registry=JUDGE
        )
        for _ in range(2):
            assert verify(token, keys, typ=AT).claims == CLAIMS


RFC_CLAIMS = {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
RFC_PAYLOAD = (
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)


@pytest.mark.parametrize(
    ("jwk", "header", "signature"),
    [
        (
            {
                "kty": "EC",
                "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            },
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            {
                "kty": "RSA",
                "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
                "e": "AQAB",
            },
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
    ],
    ids=["RFC 7515 A.3", "RFC 7515 A.2"],
)
def test_known_answers(jwk: dict[str, str], header: str, signature: str) -> None:
    keys = KeySet.from_jwks({"keys": [jwk]})
    assert (
        verify(f"{header}.{RFC_PAYLOAD}.{signature}", keys, typ=frozenset({""})).claims
        == RFC_CLAIMS
    )


def test_a_known_answer_for_ed25519() -> None:  # RFC 8037 A.4, whose payload is not JSON
    keys = KeySet.from_jwks(
        {
            "keys": [
                {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
            ]
        }
    )
    token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    with pytest.raises(InvalidToken) as caught:
        verify(token, keys, typ=frozenset({""}))
    assert caught.value.detail == "not JSON"  # that is, the signature was good
    with pytest.raises(InvalidToken) as caught:
        verify(token[:-3] + "AAg", keys, typ=frozenset({""}))
    assert caught.value.detail == "bad signature"


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"])
def test_typ_is_compared_as_a_media_type(typ: str) -> None:
    key = KEYS["ES256"]
    assert verify(forged({"alg": "ES256", "kid": key.kid, "typ": typ}, key), OURS, typ=AT)
    assert verify(sign({}, key, "at+jwt"), OURS, typ=frozenset({typ}))


@pytest.mark.parametrize(
    "typ",
    [
        "JWT",
        "jwt",
        "dpop+jwt",
        "at+jwt ",
        "at+jw",
        "text/at+jwt",
        "",
        "application/",
        7,
        None,
        ["at+jwt"],
        "at+jwt\0",
        "ａt+jwt",
    ],
)
def test_another_typ_is_refused_known_header_or_not(typ: object) -> None:
    key = KEYS["ES256"]
    token = forged({"alg": "ES256", "kid": key.kid, "typ": typ}, key)
    if isinstance(typ, str) and typ.isascii():
        verify(token, OURS, typ=frozenset({typ}))
    with pytest.raises(InvalidToken):
        verify(token, OURS, typ=AT)


def test_folding_case_brings_no_foreign_letters_in() -> None:
    key = KEYS["ES256"]
    kelvin = {"alg": "ES256", "kid": key.kid, "typ": "to\u212aen+jwt"}  # lower() makes it a k
    with pytest.raises(InvalidToken):
        verify(forged(kelvin, key), OURS, typ=frozenset({"token+jwt"}))


def test_no_typ_is_a_kind_of_its_own() -> None:
    key = KEYS["ES256"]
    token = forged({"alg": "ES256", "kid": key.kid}, key)
    assert verify(token, OURS, typ=frozenset({"", "jwt"}))
    with pytest.raises(InvalidToken):
        verify(token, OURS, typ=AT)


def test_a_name_that_is_not_here() -> None:
    stranger = SigningKey("k-new", "ES256", new_private_key("ES256"))
    with pytest.raises(UnknownKey) as caught:
        verify(sign({}, stranger, "at+jwt"), OURS, typ=AT)
    assert (caught.value.code, caught.value.status, caught.value.why) == (
        "invalid_token",
        401,
        "the token is not valid",
    )
    assert OURS.knows("k-ES256") and not OURS.knows("k-new") and not OURS.knows("")


def test_without_kid_one_remote_key_must_fit() -> None:
    key, other = KEYS["ES256"], SigningKey("k-2", "ES256", new_private_key("ES256"))
    token = forged({"alg": "ES256", "typ": "at+jwt"}, key)
    one = [key.public().jwk, KEYS["RS256"].public().jwk]
    assert verify(token, KeySet.from_jwks({"keys": one}), typ=AT)
    for keys in (
        OURS,
        KeySet([key.public()]),
        KeySet.from_jwks({"keys": [*one, other.public().jwk]}),
        KeySet.from_jwks({"keys": one[1:]}),
    ):
        with pytest.raises(InvalidToken) as caught:
            verify(token, keys, typ=AT)
        assert not isinstance(caught.value, UnknownKey)


def test_a_nameless_remote_key_serves_nameless_tokens_only() -> None:
    key = KEYS["ES256"]
    nameless = {name: value for name, value in key.public().jwk.items() if name != "kid"}
    keys = KeySet.from_jwks({"keys": [nameless]})
    assert verify(forged({"alg": "ES256", "typ": "at+jwt"}, key), keys, typ=AT)
    for kid in ("", "x"):
        with pytest.raises(UnknownKey):
            verify(forged({"alg": "ES256", "typ": "at+jwt", "kid": kid}, key), keys, typ=AT)


def test_our_own_keys_go_by_the_new_name_only() -> None:
    key = KEYS["Ed25519"]
    token = forged({"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid}, key)
    assert verify(token, KeySet.from_jwks({"keys": [key.public().jwk]}), typ=AT)
    with pytest.raises(InvalidToken):
        verify(token, OURS, typ=AT)


def test_only_good_signatures_are_remembered_and_not_without_end() -> None:
    key = KEYS["ES256"]
    keys = KeySet([key.public()])
    bad = forged({"alg": "ES256", "typ": "at+jwt", "kid": key.kid}, KEYS["Ed25519"])
    with pytest.raises(InvalidToken):
        verify(bad, keys, typ=AT)
    assert not keys._heads
    for number in range(100):
        token = forged({"alg": "ES256", "typ": "at+jwt", "kid": key.kid, "x": number}, key)
        assert verify(token, keys, typ=AT).header["x"] == number
    assert len(keys._heads) == 64


def test_a_header_cannot_be_changed_by_its_reader() -> None:
    read = verify(sign({}, KEYS["ES256"], "at+jwt"), OURS, typ=AT)
    with pytest.raises(TypeError):
        read.header["kid"] = "x"  # type: ignore[index]


def test_claims_belong_to_the_caller() -> None:
    token = sign({"roles": []}, KEYS["ES256"], "at+jwt")
    verify(token, OURS, typ=AT).claims["roles"].append("admin")
    assert verify(token, OURS, typ=AT).claims == {"roles": []}


def test_a_token_nobody_would_read_is_not_written() -> None:
    with pytest.raises(ConfigError):
        sign({"extra": "x" * MAX_SIZE}, KEYS["ES256"], "at+jwt")


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"keys": None}, {"keys": {}}, {"keys": ["x", 7, None, [], {}]}, "text"],
)
def test_a_broken_jwks_is_an_empty_set(document: object) -> None:
    assert len(KeySet.from_jwks(document)) == 0

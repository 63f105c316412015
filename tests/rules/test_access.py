"""Is this access token meant for us, now? Tables of claims, no signature and no clock."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from watchword.errors import InvalidToken
from watchword.rules.access import LEEWAY, AccessToken, Expectation, judged

NOW = 1_800_000_000.0
OURS = Expectation("https://a.example", "https://api.example")
LOOSE = Expectation("https://a.example", "https://api.example", shared_audience=True, strict=False)


def claims(**changes):
    content = {
        "iss": "https://a.example", "sub": "u", "aud": ["https://api.example"], "client_id": "c",
        "jti": "j", "exp": NOW + 600, "iat": NOW, "rev": 0, "scope": "a b", **changes,
    }  # fmt: skip
    return {name: value for name, value in content.items() if value is not ...}


def refused(expected=OURS, now=NOW, **changes) -> bool:
    try:
        judged(claims(**changes), expected, now)
    except InvalidToken as refusal:
        assert refusal.why == "The access token is not valid."
        return True
    return False


def test_a_good_token() -> None:
    found = judged(claims(auth_time=NOW, roles=["editor"], fid="f"), OURS, NOW)
    assert isinstance(found, AccessToken)
    assert found.scopes == ("a", "b") and found.roles == ("editor",) and found.fid == "f"
    assert found.audience == ("https://api.example",) and not found.is_client
    assert judged(claims(sub="c"), OURS, NOW).is_client
    assert "claims=" not in repr(found)
    with pytest.raises(TypeError):
        found.claims["sub"] = "other"


BAD_TIMES = [
    "9999999999", math.inf, -math.inf, math.nan, -1, True, [NOW + 60], None, 2**63, 10**400, {}, "",
]  # fmt: skip


@pytest.mark.parametrize("value", [..., *BAD_TIMES], ids=lambda value: repr(value)[:16])
@pytest.mark.attack("J-22")
def test_exp_has_one_shape(value) -> None:
    assert refused(exp=value)


@pytest.mark.parametrize("name", ["nbf", "iat", "auth_time"])
@pytest.mark.parametrize("value", BAD_TIMES, ids=lambda value: repr(value)[:16])
@pytest.mark.attack("J-22")
def test_other_times_have_one_shape_too(name, value) -> None:
    assert refused(**{name: value})


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.attack("J-23")
def test_a_token_of_the_future(name) -> None:
    assert LEEWAY <= 60
    assert not refused(**{name: NOW + LEEWAY})
    assert refused(**{name: NOW + LEEWAY + 1})


@pytest.mark.attack("J-24")
def test_the_last_moment() -> None:
    exp = NOW + 600
    assert [refused(now=now) for now in (exp - 1, exp, exp + LEEWAY - 1)] == [False] * 3
    assert [refused(now=now) for now in (exp + LEEWAY, exp + LEEWAY + 1)] == [True] * 2
    assert not refused(exp=exp + 0.5, now=exp + LEEWAY), "a fraction of a second counts"


@pytest.mark.parametrize(
    "iss",
    [
        ..., None, "", "https://a.exampl", "https://a.example.evil", "a.example",
        "https://A.example", "https://a.example/", "https://a.example:443",
        ["https://a.example"], {"https://a.example": 1}, 7,
    ],
)  # fmt: skip
@pytest.mark.attack("J-25")
def test_the_issuer_is_compared_byte_for_byte(iss) -> None:
    assert refused(iss=iss) and refused(LOOSE, iss=iss)


@pytest.mark.parametrize(
    "aud",
    [
        ..., None, "", [], {}, 7, "https://api.exampl", "https://api.example/", "https://API.example",
        ["https://api.example", 7], ["https://other.example"], [["https://api.example"]],
        ["https://api.example"] * 10_000, {"https://api.example": 1},
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
@pytest.mark.attack("J-26", "J-30")
def test_the_audience_is_one_of_a_short_list_of_strings(aud) -> None:
    assert refused(aud=aud) and refused(LOOSE, aud=aud)


@pytest.mark.attack("J-26")
def test_a_token_for_others_too_is_accepted_only_by_explicit_setting() -> None:
    both = ["https://api.example", "https://other.example"]
    assert refused(aud=both) and not refused(LOOSE, aud=both)
    assert not refused(aud="https://api.example")
    assert not refused(Expectation("https://a.example", None), aud=["https://other.example"])


@pytest.mark.parametrize("sub", [..., None, "", 7, ["u"], {}, True, "x" * 10_000])
@pytest.mark.attack("J-31")
def test_the_subject_is_a_short_string(sub) -> None:
    assert refused(sub=sub) and refused(LOOSE, sub=sub)


@pytest.mark.parametrize("name", ["client_id", "jti", "rev"])
def test_our_own_tokens_have_all_that_we_write(name) -> None:
    assert refused(**{name: ...}) and not refused(LOOSE, **{name: ...})


@pytest.mark.parametrize("rev", [None, "0", 0.0, True, [0]])
def test_rev_is_a_whole_number(rev) -> None:
    assert refused(rev=rev)


def test_elsewhere_rev_is_a_position_only_if_it_is_said_to_be() -> None:
    lenient = replace(OURS, strict=False)
    assert judged(claims(rev=7), lenient, NOW).rev is None
    positioned = replace(lenient, positioned=True)
    assert judged(claims(rev=7), positioned, NOW).rev == 7
    for other in (None, "7", 7.0, True):
        assert judged(claims(rev=other), positioned, NOW).rev is None, "all that is revoked ends it"


@pytest.mark.attack("J-21")
def test_other_spellings_of_a_claim_are_other_claims() -> None:
    found = judged(claims(Sub="admin", EXP=1, **{"scope ": "root"}), OURS, NOW)
    assert (found.sub, found.scopes) == ("u", ("a", "b"))
    assert refused(exp=..., EXP=NOW + 60)


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        ("read", True), ("write read", True), (" read", True), ("read read", True),
        ("readwrite", False), ("READ", False), ("read\u00a0write", False), ("read\twrite", False),
        ("", False), (..., False),
    ],
)  # fmt: skip
@pytest.mark.attack("J-43")
def test_a_scope_is_a_word_between_spaces(scope, held) -> None:
    assert ("read" in judged(claims(scope=scope), OURS, NOW).scopes) is held


@pytest.mark.parametrize("scope", [["read"], 7, None, {"read": 1}, True])
@pytest.mark.attack("J-43")
def test_a_scope_of_another_type_is_refused(scope) -> None:
    assert refused(scope=scope)


@pytest.mark.parametrize("name", ["acr", "sid", "jti", "fid", "client_id", "azp"])
@pytest.mark.parametrize("value", [7, [], {}, "", "x" * 10_000])
def test_text_claims_are_text(name, value) -> None:
    changes = {name: value} | ({"client_id": ...} if name == "azp" else {})
    assert refused(**changes)


@pytest.mark.attack("J-48")
def test_a_claim_does_not_switch_a_check_off() -> None:
    assert refused(aud=["other"], nonce_supported=False, strict=False, alg="none")

"""What a route needs of a token."""

from __future__ import annotations

import pytest

from watchword.errors import InsufficientScope, NoUser, StaleLogin
from watchword.rules.access import AccessToken
from watchword.rules.needs import Need
from watchword.rules.scopes import Scopes

NOW = 1_800_000_000.0


def token(scope: str = "", **more) -> AccessToken:
    given = {"sub": "u", "client_id": "c", "roles": (), **more}
    return AccessToken(
        scopes=Scopes(scope.split()),
        issuer="i",
        audience=("r",),
        expires_at=NOW + 60,
        claims={},
        **given,
    )


def refusal(need: Need, held: AccessToken, kind: type) -> object:
    with pytest.raises(kind) as raised:
        need.judge(held, NOW)
    assert type(raised.value) is kind
    return raised.value


def test_no_conditions() -> None:
    Need().judge(token(), NOW)


def test_all_scopes_are_needed_and_all_are_named() -> None:
    need = Need(("a", "b"))
    need.judge(token("b x a"), NOW)
    error = refusal(need, token("a"), InsufficientScope)
    assert error.scopes == ("a", "b") and '"b"' in error.why and '"a"' not in error.why


def test_any_of_means_one() -> None:
    need = Need(any_of=("a", "b"))
    need.judge(token("b"), NOW)
    assert refusal(need, token("c"), InsufficientScope).scopes == ("a", "b")


def test_a_role_is_one_of_these() -> None:
    need = Need(roles=("admin", "support"))
    need.judge(token(roles=("x", "support")), NOW)
    assert "admin or support" in refusal(need, token(roles=("Admin",)), InsufficientScope).why


def test_the_client_is_named_to_nobody() -> None:
    need = Need(client="nightly")
    need.judge(token(client_id="nightly"), NOW)
    assert "nightly" not in refusal(need, token(), InsufficientScope).why


def test_a_person_is_not_a_client() -> None:
    need = Need(user=True)
    need.judge(token(), NOW)
    refusal(need, token(sub="c"), NoUser)
    refusal(need, token(machine=True), NoUser)


def test_the_login_is_young_enough() -> None:
    need = Need(max_age=300)
    need.judge(token(auth_time=NOW - 300), NOW)
    assert refusal(need, token(auth_time=NOW - 301), StaleLogin).max_age == 300
    refusal(need, token(), StaleLogin)
    refusal(Need(max_age=0), token(auth_time=NOW - 1), StaleLogin)


def test_the_login_is_strong_enough() -> None:
    need = Need(acr="mfa", max_age=60)
    need.judge(token(acr="mfa", auth_time=NOW), NOW)
    error = refusal(need, token(acr="pwd", auth_time=NOW), StaleLogin)
    assert (error.acr, error.max_age) == ("mfa", 60)
    refusal(need, token(auth_time=NOW), StaleLogin)


def test_what_a_login_cannot_mend_comes_first() -> None:
    refusal(Need(("a",), max_age=1), token(), InsufficientScope)

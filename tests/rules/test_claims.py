"""What an access token says (RFC 9068 section 2.2), and what an app may add."""

from __future__ import annotations

import pytest

from watchword.errors import ConfigError
from watchword.rules import claims
from watchword.rules.scopes import Scopes

NOW = 1_800_000_000.9
GIVEN = {
    "issuer": "https://id.example.com",
    "subject": "u_johndoe",
    "client_id": "watchword",
    "audience": "https://api.example.com",
    "scopes": Scopes(["me", "items"]),
    "jti": "j",
    "now": NOW,
    "ttl": 600.0,
    "rev": 7,
}
ALWAYS = {
    "iss": "https://id.example.com",
    "sub": "u_johndoe",
    "aud": ["https://api.example.com"],
    "client_id": "watchword",
    "scope": "me items",
    "jti": "j",
    "iat": 1_800_000_000,
    "exp": 1_800_000_600,
    "rev": 7,
}


def test_the_least_a_token_says():
    assert claims.access(**GIVEN) == ALWAYS


def test_what_is_said_of_a_person():
    found = claims.access(
        **GIVEN, fid="f", auth_time=NOW - 5.5, roles=("editor",), extra={"tenant": "t1"}
    )
    more = {"fid": "f", "auth_time": 1_799_999_995, "roles": ["editor"], "tenant": "t1"}
    assert found == {**ALWAYS, **more}


def test_times_are_whole_seconds_that_have_passed():
    """A token is never dated into the future, and never lives longer than it may."""
    found = claims.access(**GIVEN)
    assert found["iat"] <= NOW
    assert found["exp"] <= NOW + 600


@pytest.mark.attack("J-21")
@pytest.mark.parametrize("name", sorted(claims.RESERVED))
def test_an_app_may_add_and_never_replace(name):
    with pytest.raises(ConfigError, match=name):
        claims.addable({"tenant": "t1", name: "x"})
    with pytest.raises(ConfigError):
        claims.access(**GIVEN, extra={name: "x"})


def test_every_claim_of_ours_is_reserved():
    full = claims.access(**GIVEN, fid="f", auth_time=NOW, roles=("r",))
    assert full.keys() <= claims.RESERVED


def test_nothing_added_is_nothing():
    assert claims.access(**GIVEN, extra={}) == ALWAYS
    assert claims.addable({"tenant": 1}) == {"tenant": 1}

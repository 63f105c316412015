"""How a presented refresh token stands to its grant: every case of one table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.rules.refresh import FURTHEST_HEAL, Grant, RefreshToken, Standing, judged
from watchword.rules.scopes import Scopes

NOW, WINDOW = 1_800_000_000.0, 30.0
GRANT = Grant(
    id=b"g" * 16,
    user_id="u_johndoe",
    client_id="watchword",
    scopes=Scopes(["me"]),
    audience="r",
    generation=5,
    rotated_at=NOW,
    proof=b"p" * 16,
    opened_rev=1,
    auth_time=NOW - 1000,
    created_at=NOW - 1000,
    idle_until=NOW + 1000,
    expires_at=NOW + 2000,
)


def token(generation: int = 5, **more) -> RefreshToken:
    given = {"grant_id": GRANT.id, "proof": GRANT.proof, "client_id": "watchword", **more}
    return RefreshToken(generation=generation, **given)


@pytest.mark.attack("T-19", "T-21")
@pytest.mark.parametrize(
    ("generation", "after", "standing"),
    [
        (5, 0, Standing.NEWEST),
        (5, 900, Standing.NEWEST),
        (4, 0, Standing.JUST_SPENT),
        (4, 30, Standing.JUST_SPENT),
        (4, 30.001, Standing.REUSED),
        (4, -30, Standing.JUST_SPENT),
        (4, -31, Standing.REUSED),  # a clock that went back revives nothing
        (4, -3600, Standing.REUSED),
        (3, 0, Standing.REUSED),
        (0, 0, Standing.REUSED),
        (6, 0, Standing.AHEAD),
        (5 + FURTHEST_HEAL, 0, Standing.AHEAD),
        (6 + FURTHEST_HEAL, 0, Standing.TOO_FAR),
        (2**32 - 2, 0, Standing.TOO_FAR),
    ],
)
def test_generations(generation, after, standing):
    assert judged(token(generation), GRANT, NOW + after, WINDOW) is standing


def test_a_window_of_nothing_answers_nobody_twice():
    assert judged(token(4), GRANT, NOW + 0.001, 0) is Standing.REUSED


@pytest.mark.attack("T-15", "A-50")
@pytest.mark.parametrize("other", [{"proof": b"q" * 16}, {"client_id": "thief"}, {"proof": b""}])
@pytest.mark.parametrize("generation", [0, 4, 5, 6])
def test_what_is_not_of_this_grant_neither_uses_nor_ends_it(other, generation):
    assert judged(token(generation, **other), GRANT, NOW, WINDOW) is Standing.FORGED


@pytest.mark.attack("T-40")
@pytest.mark.parametrize(
    "end",
    [
        {"revoked_seq": 0},
        {"revoked_seq": 9},
        {"owner_is_dead": True},
        {"idle_until": NOW},
        {"expires_at": NOW},
    ],
)
@pytest.mark.parametrize("generation", [3, 4, 5, 6])
def test_a_grant_that_has_ended_answers_nobody(end, generation):
    ended = replace(GRANT, **end)
    assert not ended.lives(NOW)
    assert judged(token(generation), ended, NOW, WINDOW) is Standing.DEAD


def test_the_last_moment_counts():
    assert GRANT.lives(GRANT.idle_until - 0.001)
    assert not GRANT.lives(GRANT.idle_until)


@given(
    st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 2), st.floats(-1e6, 900), st.floats(0, 120)
)
def test_at_most_one_generation_moves_a_grant_on(generation, newest, after, window):
    """Of all tokens of a chain, those that mint something new are the newest or newer ones."""
    grant = replace(GRANT, generation=newest)
    standing = judged(token(generation), grant, NOW + after, window)
    if standing in (Standing.NEWEST, Standing.AHEAD):
        assert generation >= newest
    elif standing is Standing.JUST_SPENT:
        assert generation == newest - 1
        assert abs(after) <= window + 1e-6
    else:
        assert standing in (Standing.REUSED, Standing.TOO_FAR)

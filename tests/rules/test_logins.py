"""When two spellings of a login mean one person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.rules.logins import folded


@pytest.mark.attack("L-20", "L-05")
@pytest.mark.parametrize(
    "spelling",
    [
        "johndoe",
        "JohnDoe",
        " JOHNDOE ",
        "\tjohndoe\n",
        "\uff4aohndoe",
        "johnd\uff4fe",
        "john\u1d05oe"[:4] + "doe",
    ],
)
def test_one_person(spelling):
    assert folded(spelling) == "johndoe"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("stra\u00dfe", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("\u017fam", "sam"),
        ("\u212aelvin", "kelvin"),
        ("\u2167", "viii"),
    ],
)
def test_spellings_that_look_the_same(one, other):
    assert folded(one) == folded(other)


@pytest.mark.parametrize("other", ["john doe", "j\u00f6hndoe", "johndoe1", "jo\u0445ndoe", ""])
def test_other_people(other):
    assert folded(other) != "johndoe"


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing(login):
    once = folded(login)
    assert folded(once) == once
    assert folded(login.upper()) == folded(login.upper().casefold())

"""Scopes are exact words in the order they were asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import InsufficientScope, InvalidScope
from watchword.rules.scopes import NONE, Scopes, expanded, well_formed

words = st.sampled_from(["me", "items", "items:read", "items:write", "ME", "admin", "*"])
scopes = st.lists(words, unique=True).map(Scopes)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, ()),
        ("", ()),
        ("me", ("me",)),
        ("items me", ("items", "me")),
        ("me me items me", ("me", "items")),
        ("https://x.example.com/a?b#c", ("https://x.example.com/a?b#c",)),
    ],
)
def test_a_parameter_is_read_in_order(text, names):
    assert Scopes.parse(text) == names


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "me ",
        " me",
        "me  items",
        'm"e',
        "m\\e",
        "m\te",
        "m\ne",
        "m\x7fe",
        "\u00e9",
        "me\u00a0items",
    ]
    + [" ".join(f"s{n}" for n in range(101))],
)
def test_what_the_grammar_lacks_is_refused(text):
    with pytest.raises(InvalidScope):
        Scopes.parse(text)


@given(st.text(max_size=30))
def test_what_is_read_is_written_again(text):
    try:
        read = Scopes.parse(text)
    except InvalidScope:
        return
    assert Scopes.parse(str(read)) == read
    assert all(well_formed(name) for name in read)


@pytest.mark.attack("T-17")
@given(scopes, scopes)
def test_a_refresh_never_widens(granted, ask):
    try:
        narrowed = granted.narrowed_to(ask)
    except InvalidScope:
        assert set(ask) - set(granted)
        return
    assert set(narrowed) <= set(granted)
    assert narrowed == (ask or granted)


@given(scopes, scopes)
def test_within_and_beyond_share_everything_out(some, allowed):
    inside, outside = some.within(allowed), some.beyond(allowed)
    assert sorted(inside + outside) == sorted(some)
    assert set(inside) <= set(allowed)
    assert not set(outside) & set(allowed)
    assert list(inside) == [name for name in some if name in allowed], "in the order asked"


@given(scopes, scopes)
def test_needs_are_met_whole_or_not_at_all(held, needed):
    if set(needed) <= set(held):
        held.must_include(needed)
        return
    with pytest.raises(InsufficientScope) as raised:
        held.must_include(needed)
    assert raised.value.scopes == tuple(needed), "all of them, so that one step up suffices"
    for name in set(needed) - set(held):
        assert f'"{name}"' in raised.value.why


def test_names_are_words_and_not_patterns():
    for held in ("readwrite", "READ", "read:all", "*", "rea", "read*"):
        with pytest.raises(InsufficientScope):
            Scopes([held]).must_include(["read"])


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["items:*"], ("items:read", "items:write")),
        (["*"], ("items:read", "items:write", "me")),
        (["me", "items:read", "me"], ("me", "items:read")),
        (["items:read*"], ("items:read",)),
        (["*:read"], ()),  # a star means something at the end only
        (["it*ms:read"], ()),
        (["unknown"], ()),
        ([], ()),
    ],
)
def test_a_roles_patterns_become_declared_names(patterns, names):
    assert expanded(patterns, ["items:read", "items:write", "me"]) == names


def test_text_is_what_the_wire_carries():
    assert str(Scopes(["b", "a"])) == "b a"
    assert str(NONE) == ""
    assert not NONE

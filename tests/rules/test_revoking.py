"""What the log can name a token by."""

from __future__ import annotations

from watchword.rules.access import AccessToken
from watchword.rules.revoking import BY_POSITION, OUTRIGHT, key8, names
from watchword.rules.scopes import NONE


def test_a_name_is_a_signed_number_of_kind_and_id() -> None:
    found = {key8(kind, name) for kind in ("user", "client") for name in ("a", "b", "")}
    assert len(found) == 6 and all(-(2**63) <= key < 2**63 for key in found)
    assert key8("user", "a") == key8("user", "a") != key8("grant", "a")
    assert key8("user", "\u00e9") != key8("user", "e\u0301")


def test_a_token_is_named_by_all_it_belongs_to() -> None:
    token = AccessToken("u", "c", NONE, "i", (), 0, {}, jti="j", fid="f")
    assert names(token) == tuple(
        (kind, key8(kind, name))
        for kind, name in (
            ("all", ""),
            ("user", "u"),
            ("client", "c"),
            ("grant", "f"),
            ("jti", "j"),
        )
    )
    bare = AccessToken("u", "c", NONE, "i", (), 0, {})
    assert [kind for kind, _ in names(bare)] == ["all", "user", "client"]
    assert {kind for kind, _ in names(token)} == {*BY_POSITION, *OUTRIGHT}

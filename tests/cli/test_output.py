from __future__ import annotations

import pytest

from watchword.cli.output import counted, facts, shown, table, when


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, "-"),
        ("", "-"),
        ((), "-"),
        (True, "yes"),
        (False, "no"),
        (("a", "b"), "a b"),
        (0, "0"),
        ("a\x1b[2Jb\n", "a\ufffd[2Jb\ufffd"),
        ("\u202eevil", "\ufffdevil"),
    ],
)
@pytest.mark.attack("R-11")
def test_no_cell_moves_the_cursor(value: object, cell: str) -> None:
    assert shown(value) == cell


def test_columns_line_up_without_trailing_blanks() -> None:
    assert table(("A", "LONG"), [("xx", None)]) == ["A   LONG", "xx  -"]
    assert facts({"a": 1, "bbb": 2}) == ["a    1", "bbb  2"]
    assert facts({}) == []


def test_times_are_utc() -> None:
    assert when(0.5) == "1970-01-01 00:00:00Z"
    assert when(None) is None


def test_one_is_not_many() -> None:
    assert [counted(n, "key") for n in (0, 1, 2)] == ["0 keys", "1 key", "2 keys"]

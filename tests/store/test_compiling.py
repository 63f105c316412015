"""Statements are compiled once, for each dialect in its way."""

from __future__ import annotations

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from watchword.store import tables
from watchword.store.compiling import Statements

_o = tables.once
_ALL = select(_o.c.id).where(_o.c.kind == bindparam("kind"))


def test_statements_are_compiled_once():
    statements = Statements(sqlite.dialect(paramstyle="named"))
    assert statements(_ALL).text is statements(_ALL).text
    assert "LIMIT" not in statements(_ALL).text
    assert statements(select(_o.c.id).limit(3)).constants["param_1"] == 3
    assert statements(_ALL).names == ()


def test_numbers_have_an_order():
    statements = Statements(postgresql.dialect(paramstyle="numeric_dollar"))
    some = _ALL.where(_o.c.expires_at > 3.0)
    found = statements(some)
    assert found.names[0] == "kind"
    assert found.constants == {found.names[1]: 3.0}

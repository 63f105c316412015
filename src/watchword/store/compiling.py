"""Statements as text: each is compiled once for a dialect and kept by identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement, Executable


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement for a driver.

    Attributes:
        text: as the driver wants it.
        names: of the parameters, in the order of their numbers; empty where they have names.
        constants: the values of those that the statement brings along.
    """

    text: str
    names: tuple[str, ...]
    constants: dict[str, Any]


class Statements:
    """The statements of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._compiled: dict[Executable, Compiled] = {}

    def __call__(self, statement: Executable) -> Compiled:
        """The statement, compiled when it is asked for first."""
        found = self._compiled.get(statement)
        if found is None:
            made: Any = cast("ClauseElement", statement).compile(dialect=self._dialect)
            constants = {k: v for k, v in made.params.items() if v is not None}
            found = Compiled(made.string, tuple(made.positiontup or ()), constants)
            self._compiled[statement] = found
        return found

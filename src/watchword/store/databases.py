"""Which driver a database URL asks for."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, TypeAlias

from watchword.errors import ConfigError
from watchword.store.sqlite import Sqlite

if TYPE_CHECKING:
    from watchword.store.postgres import Postgres

PER_LOOP = 4  # connections to a server that one worker works on; two more follow the log


# A file on this machine or a server; where they differ is asked by `is_local` and `in_memory`.
Driver: TypeAlias = "Sqlite | Postgres"


def driver_of(url: str) -> Driver:
    """A driver for the database; nothing is opened yet.

    Args:
        url: `sqlite:///path`, `sqlite:///:memory:` or `postgresql://...`.

    Raises:
        ConfigError: the driver of a server is not installed.
    """
    if url.startswith("sqlite:"):
        return Sqlite(url.removeprefix("sqlite:///") or ":memory:")
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError(
            "DATABASE_URL names a PostgreSQL server, and its driver is not installed.",
            fix='pip install "watchword[postgres]"',
        )
    from watchword.store.postgres import Postgres  # noqa: PLC0415 - only where it is used

    return Postgres(url, most=PER_LOOP)

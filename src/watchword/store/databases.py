"""Which driver a database URL asks for."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from watchword.errors import ConfigError
from watchword.store.sqlite import Sqlite
from watchword.store.verbs import Driver as Runs
from watchword.store.verbs import Verb

T = TypeVar("T")
PER_LOOP = 4  # connections to a server that one worker works on; two more follow the log


class Driver(Runs, Protocol):
    """A driver, and what differs between a file and a server.

    `committed` is awaited after each commit to the revocation log, where its readers are
    not on this machine.
    """

    committed: Callable[[], Awaitable[None]] | None

    @property
    def in_memory(self) -> bool:
        """Whether all is lost at the end."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether every process that uses the database is on this machine."""
        ...

    async def read_apart(self, verb: Verb[T]) -> T:
        """Run a verb that changes nothing and must not wait behind other work."""
        ...

    def write_now(self, verb: Verb[T]) -> T:
        """Run a verb in one durable transaction from a thread without an event loop."""
        ...

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` when others may have committed something; nothing depends on it."""
        ...

    def close(self) -> None:
        """Disconnect; a later use connects again."""
        ...


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

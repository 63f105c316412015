"""A look at a PostgreSQL server, for `watchword doctor`; it changes nothing."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watchword.cli.command import clock
from watchword.crypto.keys import StoredKey
from watchword.seams import Unavailable
from watchword.settings import Settings
from watchword.store import outbox, signing
from watchword.store.databases import driver_of
from watchword.store.outbox import LATE, Waiting
from watchword.store.schema import Schema
from watchword.store.sqlite import Sqlite

if TYPE_CHECKING:
    import psycopg

LEAST_FREE = 10  # connections
_FACTS = """
    SELECT current_setting('server_version'),
           current_setting('max_connections')::int
               - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true), '0')::int,
           (SELECT sum(numbackends)::int FROM pg_stat_database),
           current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on',
           extract(epoch FROM clock_timestamp())::float8
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found.

    Attributes:
        version: of the server.
        took: seconds for one answer.
        wire: what is wrong with the way there; empty if it is encrypted and leads where it should.
        most: connections that the server accepts from such as us.
        free: how many of them are left.
        lasts: whether what is committed outlives a power cut.
        ahead: seconds that its clock is before this machine's.
        schema: how it stands, and the revision.
        keys: the signing keys, sealed; none where the schema is another.
        waiting: events that should have been delivered; none where the schema is another.
    """

    version: str
    took: float
    wire: str
    most: int
    free: int
    lasts: bool
    ahead: float
    schema: tuple[Schema, str | None]
    keys: list[StoredKey]
    waiting: list[Waiting]


async def look(settings: Settings) -> Look:
    """Connect and ask.

    Raises:
        ConfigError: the driver is not installed.
        Unavailable: the server cannot be reached.
    """
    driver = driver_of(settings.database_url)
    assert not isinstance(driver, Sqlite)  # noqa: S101 - whoever has a path does not come here
    import psycopg  # noqa: PLC0415 - `driver_of` has said so where it is missing

    try:
        with psycopg.connect(driver.conninfo, connect_timeout=5) as connection:
            facts, schema = _asked(connection)
        serves = schema[0].serves
        keys = await driver.read(signing.every()) if serves else []
        late = await driver.read(outbox.waiting(clock() - LATE)) if serves else []
    except psycopg.Error as error:
        raise Unavailable(str(error).strip().splitlines()[0]) from error
    finally:
        driver.close()
    return Look(*facts, schema=schema, keys=keys, waiting=late)


def _asked(
    connection: psycopg.Connection,
) -> tuple[tuple[str, float, str, int, int, bool, float], tuple[Schema, str | None]]:
    from watchword.store import server_schema  # noqa: PLC0415

    connection.execute("SELECT 1")  # the first answer pays for what comes with a connection
    began = time.perf_counter()
    row = connection.execute(_FACTS).fetchone()
    took = time.perf_counter() - began
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    version, most, used, lasts, now = row
    facts = (version, took, _wire(connection), most, most - used, lasts, now - clock())
    return facts, server_schema.standing(connection)


def _wire(connection: psycopg.Connection) -> str:
    address = connection.info.hostaddr
    if not address or ipaddress.ip_address(address).is_loopback:
        return ""  # a socket of this machine
    if not connection.pgconn.ssl_in_use:
        return "what is said to the server, passwords included, is not encrypted"
    if connection.info.get_parameters().get("sslmode") != "verify-full":
        return "whoever answers in the server's place is believed: nobody checks its name"
    return ""

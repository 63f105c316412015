"""The PostgreSQL connections of one event loop: few, kept open, replaced when they die.

A connection belongs to the loop that made it. Taking one that is free costs two
comparisons; a library's pool costs as much as the shortest statement.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
from psycopg.rows import dict_row

from watchword.seams import Unavailable


class Connection(psycopg.AsyncConnection[dict[str, object]]):
    """A connection that knows whether its commits wait for the disk."""

    waits = True


_MOST_PREPARED = 300  # all there are, so that none is ever prepared twice
_SOONER = 0.8  # of the patience, after which the server itself gives up waiting for a lock
# A server that is gone without a word is noticed in seconds, not in the kernel's hours.
_WATCHED = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}


class Connections:
    """Up to `most` connections to one server.

    Args:
        conninfo: libpq's connection string, URL or not.
        most: how many are open at a time.
        patience: seconds to wait for one, and for each piece of work on one.
        prepares: whether statements may be prepared on the server.
    """

    def __init__(self, conninfo: str, *, most: int, patience: float, prepares: bool) -> None:
        self._conninfo = conninfo
        self._patience = patience
        self._prepares = prepares
        self._turns = asyncio.Semaphore(most)
        self._free: list[Connection] = []  # the latest used is taken first: its caches are warm
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._process = os.getpid()

    @asynccontextmanager
    async def one(self, *, waits: bool | None = None) -> AsyncIterator[Connection]:
        """A connection for one piece of work; it is thrown away when that is interrupted.

        Args:
            waits: whether one would do best whose commits wait for the disk; `None` if
                nothing is committed.

        Raises:
            Unavailable: none can be had in time, the work took too long, or the server
                refused or broke off.
        """
        async with self._turn():
            connection = await self._taken(waits)
            late = _Late(connection)
            timer = asyncio.get_running_loop().call_later(self._patience, late)
            try:
                yield connection
            except (psycopg.Error, OSError) as error:
                connection.pgconn.finish()
                raise Unavailable(late.told or told(error)) from error
            except BaseException:
                connection.pgconn.finish()
                raise
            finally:
                timer.cancel()
            self._free.append(connection)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable("every connection to the database is busy") from None
        try:
            yield
        finally:
            self._turns.release()

    async def made(self) -> Connection:
        """A new connection, which the caller closes.

        Raises:
            psycopg.Error: the server does not take it.
        """
        made = await Connection.connect(
            self._conninfo,
            autocommit=True,
            prepare_threshold=0 if self._prepares else None,
            row_factory=dict_row,
            **_WATCHED,  # type: ignore[arg-type]
        )
        made.prepared_max = _MOST_PREPARED
        self._all.add(made)
        if self._prepares:  # a session of our own, where a setting stays with us
            # A server does not notice that who waits for a lock has gone: it would wait on, one
            # process for each try, and commit at last what was refused long ago.
            timer = asyncio.get_running_loop().call_later(self._patience, _Late(made))
            try:
                await made.execute(f"SET lock_timeout = {int(_SOONER * self._patience * 1000)}")
            except BaseException:
                made.pgconn.finish()  # nobody has it yet who could
                raise
            finally:
                timer.cancel()
        return made

    def close(self) -> None:
        """Close all; what is at work on one is broken off."""
        connections = list(self._all)
        self._all.clear()
        self._free.clear()
        if self._process != os.getpid():  # a parent's: a goodbye on its socket would end it there
            _left_alone.extend(connections)
            return
        for connection in connections:
            connection.pgconn.finish()

    async def _taken(self, waits: bool | None) -> Connection:  # noqa: FBT001
        if self._process != os.getpid():
            self.close()
            self._process = os.getpid()
        while self._free:
            fit = (n for n, each in enumerate(self._free) if each.waits is waits)
            connection = self._free.pop(-1 if waits is None else next(fit, -1))
            if _is_quiet(connection):
                return connection
            connection.pgconn.finish()
        try:
            return await self.made()
        except (psycopg.Error, OSError) as error:
            raise Unavailable(told(error)) from error


class _Late:
    """Breaks off a connection whose work takes too long.

    Cancelling the work instead would first ask the server to stop, and wait for one that
    does not answer.
    """

    __slots__ = ("_connection", "told")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.told = ""

    def __call__(self) -> None:
        self.told = "the database did not answer in time"
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self._connection.fileno())) as wire,
        ):
            wire.shutdown(socket.SHUT_RDWR)


_left_alone: list[Connection] = []


def _is_quiet(connection: Connection) -> bool:
    """Whether nothing has been said on it: a server that went away has said goodbye.

    Better to look than to lose a statement: after one was sent, nobody knows whether it
    was carried out.
    """
    if connection.closed:
        return False
    with suppress(OSError, ValueError):
        return not select.select((connection.fileno(),), (), (), 0)[0]
    return False


def told(error: BaseException) -> str:
    """What went wrong, in one line, without anything that was sent."""
    state = getattr(error, "sqlstate", None)
    first = str(error).strip().split("\n", 1)[0]
    return f"{first} ({state})" if state else first or type(error).__name__

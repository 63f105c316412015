"""SQLite: reads inline on the event loop, writes through one thread with group commit.

A read costs microseconds, less than handing it to a thread. Writes queue for one
connection, so that callers who arrive together share one fsync, and every write
transaction begins IMMEDIATE: upgrading a read transaction could fail at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from watchword.seams import Unavailable
from watchword.store.mark import Mark
from watchword.store.opening import connected
from watchword.store.running import Job, commit, run
from watchword.store.verbs import Verb

T = TypeVar("T")

MOST_PER_COMMIT = 64
POLL_EVERY = 0.5  # seconds between looks at SQLite's own version, for commits nobody stamped


class Sqlite:
    """One database file, or `:memory:` for tests. Opened on first use.

    Usable from several threads and event loops: `_gate` is held while the one reading
    connection is in use, because a statement that another thread has not finished
    would pin an old snapshot, and while a write is queued, so that none is queued
    behind the end of the writer.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._gate = threading.RLock()
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None
        self._opened = 0  # how often; every connection counts versions anew
        self._own_writes = 0  # data_version does not move for a connection's own commits
        self._mark: Mark | None = None
        self._polled = 0
        self._poll_at = 0.0  # monotonic seconds
        if not self.in_memory:
            _drivers.add(self)

    @property
    def in_memory(self) -> bool:
        """Whether one connection is both reader and writer."""
        return self.path == ":memory:"

    is_local = True
    committed: Callable[[], Awaitable[None]] | None = None  # whoever reads the log sees it

    async def listen(self, heard: Callable[[], None]) -> None:
        """Nothing is to be heard: the log is read at each decision."""

    def open(self) -> None:
        """Connect and start the writer. Does nothing when open.

        Raises:
            Unavailable: the file cannot be opened.
        """
        with self._gate:
            if self._reader is not None:
                return
            try:
                reader = connected(self.path)
                try:
                    self._writer = reader if self.in_memory else connected(self.path)
                    self._mark = None if self.in_memory else Mark(self.path)
                except BaseException:
                    reader.close()
                    raise
            except (sqlite3.Error, OSError) as error:
                raise Unavailable(f"cannot open {self.path}: {error}") from error
            self._reader = reader
            self._opened += 1
            self._poll_at = 0.0
            if not self.in_memory:
                self._thread = threading.Thread(
                    target=self._write_forever, name="watchword-writer", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Finish the queued writes and disconnect; a later use opens it again."""
        with self._gate:
            if self._thread is not None:
                self._jobs.put(None)
                self._thread.join()
                self._thread = None
            for connection in {self._reader, self._writer}:
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None
            self._mark = None

    def version(self) -> tuple[int, int, int]:
        """Changes whenever anyone has committed anything; a fraction of a microsecond.

        Every commit of ours stamps the mark before it is acknowledged. SQLite itself is
        asked twice a second, for a writer that died between its commit and its stamp:
        such a change was acknowledged to nobody.

        Raises:
            Unavailable: the file cannot be read.
        """
        if self.in_memory:
            return self._opened, self._own_writes, 0
        mark = self._mark
        if mark is None or time.monotonic() >= self._poll_at:
            mark = self._poll()
        return self._opened, mark.read(), self._polled

    def _poll(self) -> Mark:
        try:
            with self._gate:
                row: tuple[int] = self.connection.execute("PRAGMA data_version").fetchone()
                if self._mark is None or not self._mark.is_current():
                    self._mark = Mark(self.path)
                self._polled = row[0]
                self._poll_at = time.monotonic() + POLL_EVERY
                return self._mark
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(str(error)) from error

    def read_now(self, verb: Verb[T]) -> T:
        """Run a reading verb inline.

        Raises:
            Unavailable: the file cannot be read.
        """
        try:
            with self._gate:
                return run(self.connection, verb)
        except sqlite3.Error as error:
            raise Unavailable(str(error)) from error

    async def read(self, verb: Verb[T]) -> T:
        """As `read_now`: awaiting a thread would cost ten times the read."""
        return self.read_now(verb)

    async def read_apart(self, verb: Verb[T]) -> T:
        """As `read`, which waits behind nothing."""
        return self.read_now(verb)

    async def write(self, verb: Verb[T], *, durable: bool = True) -> T:
        """Run a verb in one transaction; returns after the commit.

        Raises:
            Unavailable: nothing was changed.
        """
        if self.in_memory:
            return self._write_inline(verb)
        loop = asyncio.get_running_loop()
        job = Job(verb, durable, loop, loop.create_future())
        with self._gate:
            self.open()
            self._jobs.put(job)
        result: T = await job.future
        return result

    def write_now(self, verb: Verb[T]) -> T:
        """Run a verb in one durable transaction from a thread without an event loop."""
        if self.in_memory:
            return self._write_inline(verb)
        return asyncio.run(self.write(verb))

    @property
    def connection(self) -> sqlite3.Connection:
        """The reading connection, opened if it is not.

        Raises:
            Unavailable: the file cannot be opened.
        """
        if self._reader is None:
            self.open()
        assert self._reader is not None  # noqa: S101 - open() raises otherwise
        return self._reader

    def _write_inline(self, verb: Verb[T]) -> T:
        with self._gate:
            connection = self.connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                result = run(connection, verb)
                connection.execute("COMMIT")
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise Unavailable(str(error)) from error
                raise
            self._own_writes += 1
            return result

    def _write_forever(self) -> None:
        connection = self._writer
        assert connection is not None  # noqa: S101
        while (first := self._jobs.get()) is not None:
            batch = [first]
            stop = False
            with contextlib.suppress(queue.Empty):
                while len(batch) < MOST_PER_COMMIT:
                    job = self._jobs.get_nowait()
                    if job is None:
                        stop = True
                        break
                    batch.append(job)
            commit(connection, batch, self._mark)
            if stop:
                return


_drivers: weakref.WeakSet[Sqlite] = weakref.WeakSet()
_held: list[Sqlite] = []
_forking = threading.RLock()


def _before_fork() -> None:
    """A connection carried across a fork believes in locks that the child does not have."""
    _forking.acquire()
    _held.extend(_drivers)
    for driver in _held:
        driver._gate.acquire()  # noqa: SLF001
        driver.close()


def _after_fork() -> None:
    while _held:
        _held.pop()._gate.release()  # noqa: SLF001
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)

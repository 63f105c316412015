"""Rate-limit counters in a SQLite file of their own.

The file is shared by the processes of one machine and worth nothing: it is written
without a single sync, may vanish at any time, and a broken one is moved aside. That
is why it is not the database, where a broken page is a disaster.

A take is one statement, so that processes cannot both see the last unit. It is quick
enough (tens of microseconds) to run inline on the event loop.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import ClauseElement

from watchword.rules.rates import UNLIMITED, Ask, Limit, Taken, in_order, ticks, told

FAULTS: tuple[type[Exception], ...] = (sqlite3.Error, OSError)
"""What taking from a file may raise."""

_PATIENCE = 0.25  # seconds to wait for another process's lock; the event loop waits too
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_DIALECT = sqlite.dialect(paramstyle="named")

# No index on tat: it would make each take half as dear again to spare the sweep a walk.
rl = Table(
    "rl",
    MetaData(),
    Column("k", Text, primary_key=True),
    Column("tat", Integer, nullable=False),  # microseconds
    sqlite_with_rowid=False,
)


def _compiled(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=_DIALECT))


_key = bindparam("key", type_=Text)
_now = bindparam("now", type_=Integer)
_step = bindparam("step", type_=Integer)
_after = bindparam("after", type_=Text)
_held = func.max(rl.c.tat, _now)

_CREATE = str(CreateTable(rl, if_not_exists=True).compile(dialect=_DIALECT))
_TAKE = _compiled(
    sqlite.insert(rl)
    .values(k=_key, tat=_now + _step)
    .on_conflict_do_update(
        index_elements=[rl.c.k],
        set_={"tat": _held + _step},
        where=_held + _step - _now <= bindparam("span", type_=Integer),
    )
    .returning(rl.c.tat)
)
_LOOK = _compiled(select(rl.c.tat).where(rl.c.k == _key))
_CLAMP = _compiled(
    update(rl).where(rl.c.k == _key, rl.c.tat > bindparam("full")).values(tat=bindparam("full"))
)
_RESET = _compiled(delete(rl).where(rl.c.k == _key))
_PAGE = _compiled(
    select(rl.c.k)
    .where(rl.c.k > _after)
    .order_by(rl.c.k)
    .limit(bindparam("most", type_=Integer))
    .offset(literal_column("0"))
)
_SWEEP = _compiled(
    delete(rl)
    .where(rl.c.k > _after, rl.c.k <= bindparam("upto"), rl.c.tat < _now)
    .returning(rl.c.tat)
)


class SqliteCounters:
    """Buckets in the file `path`, made at first use and readable by its owner only.

    Every method but `close` may raise one of `FAULTS`; the next call starts afresh.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        # Opened at first use: a connection must not be carried across a fork.
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._swept = ""  # the key at which the last sweep stopped
        self._lock = threading.Lock()

    async def take(self, asks: Sequence[Ask], now: float) -> list[Taken]:
        """Ask each bucket for one unit, in order until one refuses; never waits."""
        if len(asks) == 1:
            return [self.take_one(*asks[0], now)]
        with self._together():
            return in_order(asks, lambda key, limit: self._take(key, limit, now))

    async def reset(self, keys: Sequence[str]) -> None:
        """Fill the buckets up again; never waits."""
        with self._together():
            for key in keys:
                self._run(_RESET, {"key": key})

    def take_one(self, key: str, limit: Limit, now: float) -> Taken:
        """Ask the bucket `key` for one unit, atomically among all processes."""
        with self._lock:
            return self._take(key, limit, now)

    def _take(self, key: str, limit: Limit, now: float) -> Taken:
        if limit.off:
            return UNLIMITED
        at = ticks(now)
        asked = {"key": key, "now": at, "step": limit.step, "span": limit.span}
        rows = self._run(_TAKE, asked)
        if rows:
            return told(rows[0][0], at, limit, allowed=True)
        full = at + limit.span
        rows = self._run(_LOOK, {"key": key})
        tat = rows[0][0] if rows else full
        if tat > full:  # the clock has gone back; see rules.rates.gcra
            self._run(_CLAMP, {"key": key, "full": full})
        return told(tat, at, limit, allowed=False)

    def reset_one(self, key: str) -> None:
        """Fill the bucket `key` up again."""
        with self._lock:
            self._run(_RESET, {"key": key})

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Several statements as one transaction: beginning and ending it costs most of each."""
        with self._lock:
            self._run("begin immediate", {})
            try:
                yield
                self._run("commit", {})
            except BaseException:
                self._let_go()  # and with it of what was begun
                raise

    def sweep(self, now: float, most: int = 500) -> int:
        """Look at the next `most` buckets and delete those that are full again.

        Returns:
            How many were deleted.
        """
        with self._lock:
            after = self._swept
            page = self._run(_PAGE, {"after": after, "most": most})
            self._swept = page[-1][0] if len(page) == most else ""
            if not page:
                return 0
            return len(self._run(_SWEEP, {"after": after, "upto": page[-1][0], "now": ticks(now)}))

    def close(self) -> None:
        """Let go of the file; a later call opens it again."""
        with self._lock:
            self._let_go()

    def _run(self, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        try:
            return self._opened().execute(statement, values).fetchall()
        except sqlite3.Error as fault:
            self._let_go()
            if getattr(fault, "sqlite_errorcode", 0) & 0xFF in _BROKEN:
                self._move_aside()
            raise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self._path.exists():
                self._lay()
            self._inode = self._path.stat().st_ino
            self._connection = _connected(self._path)
        return self._connection

    def _lay(self) -> None:
        """Put a finished file in place at once.

        Processes that start together would otherwise race to switch one file to WAL,
        and SQLite answers the losers "database is locked" without waiting.
        """
        handle, laid = tempfile.mkstemp(dir=self._path.parent, prefix=f"{self._path.name}.")
        os.close(handle)  # mkstemp made it 0600, and SQLite gives -wal and -shm the same mode
        try:
            _connected(Path(laid)).close()
            with suppress(FileExistsError):
                os.link(laid, self._path)
        finally:
            Path(laid).unlink()

    def _let_go(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _move_aside(self) -> None:
        """Make way for a new file, unless another process has done so already."""
        with suppress(OSError):
            if self._path.stat().st_ino != self._inode:
                return
            for suffix in ("-wal", "-shm", ""):  # a stale WAL must not meet the new file
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").replace(f"{self._path}.broken{suffix}")


def _connected(path: Path) -> sqlite3.Connection:
    made = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        made.execute("pragma journal_mode = wal")
        made.execute("pragma synchronous = off")
        made.execute(_CREATE)
    except sqlite3.Error:
        made.close()
        raise
    return made

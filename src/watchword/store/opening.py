"""Opening a SQLite file so that no process ever loses its locks on it.

Two traps lie here. Closing *any* descriptor of a file drops all the POSIX locks the
process has on it; another process could then take itself for the last one and delete
the WAL under our feet. And of processes that switch one new file to WAL at the same
moment, SQLite answers all but one "database is locked" without waiting.
"""

from __future__ import annotations

import os
import sqlite3
import time

BUSY_SECONDS = 5.0
_RETRY = 0.05  # seconds
_TRANSIENT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def connected(path: str) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any thread.

    A new file is readable by its owner alone; the WAL files inherit its mode.

    Raises:
        sqlite3.Error, OSError: it cannot be opened.
    """
    if path != ":memory:":
        _make(path)
    made = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        made.row_factory = sqlite3.Row
        _switch_to_wal(made)
        made.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        made.close()
        raise
    return made


def _make(path: str) -> None:
    try:
        # Only a file that nobody can have locked yet is ever closed here.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    tries = max(1, int(BUSY_SECONDS / _RETRY))
    for left in reversed(range(tries)):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _TRANSIENT or not left:
                raise
            time.sleep(_RETRY)
        else:
            return

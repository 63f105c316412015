"""A word of memory that all processes on one machine share, and every commit changes.

Asking SQLite whether anything was committed takes system calls; on the hot path of
every guarded request that was half of what a guard cost. Reading a mapped word takes
none. The writer stamps it after its commit and before anybody is told of it, so a
change that was acknowledged is seen by every decision that begins afterwards.

Stamps are random, not counted: two writers may stamp in another order than they
committed in, and any difference from what was seen last is reason enough to look.
"""

from __future__ import annotations

import mmap
import os
import secrets
from pathlib import Path

_SIZE = 8


class Mark:
    """The shared word beside a database file.

    Raises:
        OSError: the file cannot be made or mapped.
    """

    def __init__(self, database: str) -> None:
        # SQLite follows links to name its WAL; two names of one file must share one mark.
        self.path = f"{Path(database).resolve()}-mark"
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(handle).st_size <= _SIZE:
                # Written, not a hole: on a full disk the first stamp would end the process.
                # Behind the word, which another process may have stamped already.
                os.pwrite(handle, b"\n", _SIZE)
            self._inode = os.fstat(handle).st_ino
            # Unmapped when nobody looks at it any more; another thread still may.
            self._word = memoryview(mmap.mmap(handle, _SIZE)).cast("q")
        finally:
            os.close(handle)

    def read(self) -> int:
        """What the last commit stamped."""
        return self._word[0]

    def stamp(self) -> None:
        """Say that something was committed; an aligned word is stored in one piece."""
        self._word[0] = secrets.randbits(63)

    def is_current(self) -> bool:
        """Whether the file is still the one that was mapped, not a new one of its name."""
        try:
            return Path(self.path).stat().st_ino == self._inode
        except OSError:
            return False

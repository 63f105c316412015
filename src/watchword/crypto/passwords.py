"""Password hashing, off the event loop and bounded by time.

New hashes are Argon2id in one lane (RFC 9106); those in other forms are verified and
replaced at the next login. Hashing is nearly all a login costs, so it has threads of
its own, niced below the rest of the process, and a queue that refuses (503) instead of
growing. An unknown user costs the same hash in the same queue as a known one; what
remains visible is that a user whose imported hash has not been replaced yet takes the
time of that scheme.

A password is normalised to NFC and encoded as UTF-8. A hash that was brought along was
made from whatever bytes arrived, so where normalising changes the text, the text as
typed is tried as well until the hash has been replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from argon2.low_level import Type, hash_secret

from watchword.crypto.hashes import PasswordHash, argon2_fits, read
from watchword.errors import Busy, ConfigError, InvalidRequest

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LONGEST = 1024  # characters
_SURROGATE = re.compile("[\ud800-\udfff]")
_NICENESS = 10  # below what serves requests, and above being starved by any neighbour
_SECONDS_PER_KIB_PASS = 1e-6  # on the slow side: until measured, sooner refuse than stall
_NEWEST = 0.1  # the weight of the latest measurement in the moving average


@dataclass(frozen=True, slots=True)
class Cost:
    """What one Argon2id hash takes; lanes are always 1, as each thread serves one login.

    Attributes:
        memory_kib: in KiB; the default is OWASP's least.
        passes: over that memory.

    Raises:
        ConfigError: below what RFC 9106 allows, or above what `Passwords` would verify.
    """

    memory_kib: int = 19_456
    passes: int = 2

    def __post_init__(self) -> None:
        try:
            argon2_fits(self.memory_kib, self.passes)
        except ValueError as broken:
            raise ConfigError(
                f"password hashing cannot work with {self}", why=str(broken)
            ) from None

    @property
    def prefix(self) -> str:
        """How every hash of this cost begins."""
        return f"$argon2id$v=19$m={self.memory_kib},t={self.passes},p=1$"

    def hash(self, password: bytes) -> str:
        """Hash `password` under a fresh salt."""
        salt = secrets.token_bytes(16)
        return hash_secret(password, salt, self.passes, self.memory_kib, 1, 32, Type.ID).decode()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of comparing a password with a stored hash.

    Attributes:
        matches: whether it is the password.
        upgrade: a fresh hash when the stored one has another scheme or cost; store it by
            compare-and-swap on the old one, so that a password changed meanwhile wins.
    """

    matches: bool
    upgrade: str | None = None


def normalised(password: str) -> bytes:
    """Give the bytes of `password` that are hashed: NFC, then UTF-8; NUL and blanks count.

    Raises:
        InvalidRequest: empty, over 1024 characters, or not text (a lone surrogate).
    """
    if not password:
        raise InvalidRequest("the password is empty")
    if len(password) > _LONGEST:
        raise InvalidRequest(f"the password is longer than {_LONGEST} characters")
    # Searched for, not left to the codec: its error would carry the password along.
    if _SURROGATE.search(password):
        raise InvalidRequest("the password is not valid Unicode")
    return unicodedata.normalize("NFC", password).encode()


def recognised(stored: str) -> str:
    """Name the scheme of a hash that is fit for import.

    Raises:
        ValueError: says what is wrong: an unknown form, or a cost over the ceilings.
    """
    return read(stored).scheme


class Passwords:
    """Hashes and verifies passwords on threads of its own, as many as can be done in time.

    Attributes:
        waiting: how many are admitted and not begun.
        seconds_per_hash: a moving average of CPU seconds; estimated from the cost until the
            first is done.

    Args:
        cost: of new hashes; others are replaced at login.
        threads: how many to hash on; by default one for each core.
        patience: seconds that a login may wait before its hash begins.
    """

    def __init__(
        self, cost: Cost = Cost(), *, threads: int | None = None, patience: float = 1.0
    ) -> None:
        self.waiting = 0
        self.seconds_per_hash = cost.memory_kib * cost.passes * _SECONDS_PER_KIB_PASS
        self._cost = cost
        self._threads = max(1, threads or _cores())
        self._patience = patience
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()  # both facts above change on the loop and on threads

    async def hash(self, password: str) -> str:
        """Hash a new password.

        Raises:
            InvalidRequest: see `normalised`.
            Busy: the queue is longer than the patience.
        """
        return await self._queued(self._timed, self._cost.hash, normalised(password))

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Compare a password with a stored hash; `None` stands for an unknown user.

        Text that is no hash, or one over the ceilings, is treated as an unknown user is:
        the work of one hash of the current cost, and no match.

        Raises:
            InvalidRequest: see `normalised`.
            Busy: the queue is longer than the patience.
        """
        secret = normalised(password)
        return await self._queued(self._judge, stored, secret, password.encode())

    def must_have_room(self) -> None:
        """Refuse now what would be refused at its hash, before anything is looked up for it.

        Raises:
            Busy: the queue is longer than the patience.
        """
        drain = self._drain()
        if drain > self._patience:
            raise _busy(drain)

    def close(self) -> None:
        """Let the threads end once the admitted work is done; a later call starts new ones."""
        pool, self._pool = self._pool, None
        if pool:
            pool.shutdown(wait=False)

    def _judge(self, stored: str | None, secret: bytes, typed: bytes) -> Verdict:
        known = _understood(stored)
        if stored is None or known is None:
            self._timed(self._cost.hash, secret)
            return Verdict(matches=False)
        current = stored.startswith(self._cost.prefix)
        matches = self._timed(known.matches, secret)
        if not matches and not current and typed != secret:
            matches = self._timed(known.matches, typed)
        # Replacing can wait for a quieter login; whoever is in the queue cannot.
        if not matches or current or self.waiting:
            return Verdict(matches)
        return Verdict(matches, upgrade=self._timed(self._cost.hash, secret))

    async def _queued(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        self._admit()
        if self._pool is None:
            # Not before the first use: threads would not survive a server's fork.
            self._pool = ThreadPoolExecutor(self._threads, "watchword-hash", _step_back)
        begun = self._pool.submit(self._begin, partial(work, *args, **kwargs))
        begun.add_done_callback(self._forget)
        # Cancelling the caller cancels this future, and with it work that has not begun.
        return await asyncio.wrap_future(begun)

    def _admit(self) -> None:
        with self._lock:
            drain = self._drain()
            if drain <= self._patience:
                self.waiting += 1
                return
        raise _busy(drain)

    def _drain(self) -> float:
        """Seconds until what is admitted now has begun."""
        return self.waiting * self.seconds_per_hash / self._threads

    def _begin(self, work: Callable[[], _T]) -> _T:
        self._leave()
        return work()

    def _forget(self, work: Future[_T]) -> None:
        if work.cancelled():  # so it never began
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self.waiting -= 1

    def _timed(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        # CPU seconds, not the clock's: a nice thread that waits for its core would count the
        # waiting as work, shed more, be asked again at once, and wait all the longer.
        began = time.thread_time()
        result = work(*args, **kwargs)
        took = time.thread_time() - began
        with self._lock:
            self.seconds_per_hash += _NEWEST * (took - self.seconds_per_hash)
        return result


def _busy(drain: float) -> Busy:
    # Spread over at least a second: that is how finely Retry-After can tell them apart.
    jitter = max(1.0, drain) * secrets.randbelow(1000) / 1000
    return Busy("too many logins at this moment", retry_after=drain + jitter)


def _understood(stored: str | None) -> PasswordHash | None:
    with contextlib.suppress(ValueError):
        return read(stored or "")
    return None


def _cores() -> int:
    """The cores this process may use; a container or `taskset` may grant fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover - not Linux


def _step_back() -> None:
    """Lower the priority of the calling thread; Linux keeps one for each."""
    if sys.platform == "linux":  # pragma: no branch
        # Never raised, and never insisted on: a sandbox may forbid the call.
        with contextlib.suppress(OSError):
            nice = max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0))
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)

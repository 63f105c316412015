"""The connection to Redis: asked within a deadline, dropped at the first fault, left to rest.

A fault says nothing good about the other connections of the same client, so all of them
go: a half-dead server, a demoted primary or a changed address is met at most once. For
a second after that nobody waits for it, and then one goes and looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from watchword.errors import WatchwordError
from watchword.shared.address import Address
from watchword.shared.clients import Clients, Made

_log = logging.getLogger("watchword.shared")
T = TypeVar("T")

_REST = 1.0  # seconds nobody asks after a fault: each try costs a caller the deadline
_SILENCE = 60.0  # seconds between two complaints
_OPENING = 2.0  # seconds for opening a client, in which nobody waits longer than the deadline
_GREETING = 1.0  # seconds that a start waits for it
_CLOSING = 1.0  # seconds for closing one
_SEATS = 32  # connections of a process


class Fault(WatchwordError):
    """Redis could not be asked, or did not answer as it should."""


class Shared:
    """Redis as one process reaches it; nothing is opened before the first use.

    Args:
        url: where it is; see `Address`.
        timeout: seconds after which an answer is no longer waited for.
        quiet: whether faults are for the caller to tell, and not for the log.

    Raises:
        ConfigError: the URL is of no known form, or the package is not installed.
    """

    def __init__(self, url: str, *, timeout: float = 0.1, quiet: bool = False) -> None:
        self.address = Address.parse(url)
        self._clients = Clients(self.address)
        self._timeout = timeout
        self._quiet = quiet
        self._client: _Client | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._rests_until = 0.0
        self._failing = False
        self._told_at: float | None = None
        self._told = False

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over several servers, so that a command has one key."""
        return self.address.kind == "cluster"

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Let `work` speak to the client, within the deadline.

        Raises:
            Fault: it failed, or failed a moment ago. What was asked may have been done.
        """
        now = asyncio.get_running_loop().time()
        if now < self._rests_until:
            raise Fault("it failed a moment ago")
        if self._failing:
            self._rests_until = now + _REST  # one goes and looks; the others need not wait
        client = self._opened()
        try:
            async with asyncio.timeout(self._timeout), client.seat():
                answer = await work(client.redis)
        except Exception as fault:  # noqa: BLE001 - whatever it is, logins go on without it
            raise self._failed(client, fault) from None
        if self._failing:
            self._works_again()
        return answer

    async def greet(self) -> None:
        """Open it before anybody waits for it; what fails is told, and stops nothing."""
        await self._opened().opened(_GREETING)
        with suppress(Fault):
            await self.run(_nothing)

    def plain(self) -> Made:
        """A client of one server, for whoever listens or looks; the caller closes it."""
        return self._clients.plain()

    async def aclose(self) -> None:
        """Close every connection; a later use opens new ones."""
        self._drop(self._client)
        loop = asyncio.get_running_loop()
        while ours := [task for task in self._closing if task.get_loop() is loop]:
            await asyncio.wait(ours)

    def close(self) -> None:
        """Close every connection soon; a later use opens new ones."""
        if self._client is not None:
            with suppress(RuntimeError):  # its event loop is closed, and they with it
                self._client.loop.call_soon_threadsafe(self._client.retire)
            self._client = None

    def fault(self, error: Exception) -> Fault:
        """What went wrong, in words fit for a log."""
        return Fault(self.address.without_secrets(f"{type(error).__name__}: {error}"))

    def tell(self, fault: Fault, meanwhile: str) -> None:
        """Say in the log what failed, once a minute, and what happens until it works again."""
        now = asyncio.get_running_loop().time()
        if self._quiet or (self._told_at is not None and now - self._told_at < _SILENCE):
            return
        self._told_at, self._told = now, True
        _log.warning(
            "Redis at %s fails (%s); until it works again, %s", self.address, fault, meanwhile
        )

    def _opened(self) -> _Client:
        loop = asyncio.get_running_loop()
        if self._client is None or self._client.loop is not loop:
            # Connections belong to their loop: one that lives closes its own, one that ended
            # has closed them.
            self.close()
            self._client = _Client(loop, self._clients.make(), self._closing)
        return self._client

    def _failed(self, client: _Client, error: Exception) -> Fault:
        self._failing = True
        self._rests_until = asyncio.get_running_loop().time() + _REST
        if isinstance(error, TimeoutError) and not str(error):
            error = TimeoutError(f"no answer within {self._timeout * 1000:.0f} ms")
        if client.has_opened:  # else it goes on opening, for whoever looks next
            self._drop(client)
        fault = self.fault(error)
        self.tell(fault, "each process counts for itself at half the budget")
        return fault

    def _works_again(self) -> None:
        self._failing, self._rests_until = False, 0.0
        if self._told:
            self._told = False
            _log.warning("Redis at %s works again", self.address)

    def _drop(self, client: _Client | None) -> None:
        if client is not None and client.loop is asyncio.get_running_loop():
            client.retire()
        if self._client is client:
            self._client = None


class _Client:
    """One client of redis-py with all its connections, closed when its last user has left."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        made: Made,
        closing: set[asyncio.Task[None]],
    ) -> None:
        self.loop = loop
        self.redis = made.redis
        self._close = made.close
        self._closing = closing
        self._seats = asyncio.Semaphore(_SEATS)
        self._users = 0
        self._retired = self._is_closed = False
        self._ending: asyncio.Task[None] | None = None
        self._kept = self._until_the_loop_ends()
        self._opening = loop.create_task(self._open(made.open))

    @property
    def has_opened(self) -> bool:
        """Whether opening has come to an end, good or bad."""
        return self._opening.done()

    async def opened(self, within: float) -> None:
        """Wait until opening has come to an end, but not for long."""
        await asyncio.wait([self._opening], timeout=within)

    @asynccontextmanager
    async def seat(self) -> AsyncIterator[None]:
        """A turn at one of its connections."""
        self._users += 1
        try:
            # Opening goes on when this caller's time is up.
            if (fault := await asyncio.shield(self._opening)) is not None:
                raise fault
            async with self._seats:
                yield
        finally:
            self._users -= 1
            self._close_if_left()

    def retire(self) -> None:
        """Nobody new comes."""
        self._retired = True
        self._close_if_left()

    def _close_if_left(self) -> None:
        if self._retired and not self._users:
            self._ended()

    def _ended(self) -> asyncio.Task[None]:
        if self._ending is None:
            self._ending = self.loop.create_task(self._end())
            self._closing.add(self._ending)
            self._ending.add_done_callback(self._closing.discard)
        return self._ending

    async def _open(self, open_: Callable[[], Awaitable[object]]) -> Exception | None:
        await anext(self._kept)
        return await _outcome(open_)

    async def _end(self) -> None:
        self._opening.cancel()
        with suppress(asyncio.CancelledError):
            await self._opening
        with suppress(Exception):
            async with asyncio.timeout(_CLOSING):
                await self._close()
        self._is_closed = True

    async def _until_the_loop_ends(self) -> AsyncGenerator[None]:
        """An event loop that ends closes its generators first, and by this its connections."""
        try:
            yield
        finally:
            with suppress(asyncio.CancelledError):  # it cancels its tasks before that
                await self._ended()
            if not self._is_closed:
                await self._end()


async def _outcome(open_: Callable[[], Awaitable[object]]) -> Exception | None:
    try:
        async with asyncio.timeout(_OPENING):
            await open_()
    except Exception as fault:  # noqa: BLE001 - raised to whoever waits for it
        return fault
    return None


async def _nothing(client: object) -> None:
    """All that is asked is whether there is a client."""
    del client

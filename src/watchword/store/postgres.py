"""PostgreSQL: the same verbs, awaited, with as few round trips as the network allows.

Revocations that come together share a transaction, because each must hold the head of
the log until it has been committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from watchword.errors import ConfigError
from watchword.seams import Unavailable
from watchword.store.connections import Connection, Connections, told
from watchword.store.server_running import Rows, run, together, transacted
from watchword.store.verbs import HEAD_LOCKED, Take, Verb

T = TypeVar("T")

log = logging.getLogger("watchword.store")

MOST_PER_COMMIT = 64
CHANNEL = "watchword"  # where a revocation is announced; a hint, nothing depends on it
_PAUSE = 1.0  # seconds between two tries to listen again
_WAITS = {True: "SET synchronous_commit TO DEFAULT", False: "SET synchronous_commit TO off"}
_THIS_ONE_DOES_NOT = "SELECT set_config('synchronous_commit', 'off', true)"
_ANNOUNCE = f"SELECT pg_notify('{CHANNEL}', '')"


class Postgres:
    """One database on a server.

    Args:
        url: `postgresql://...`; `?pgbouncer=true` behind a PgBouncer in transaction mode,
            where nothing may be prepared and nobody can listen.
        most: connections per event loop.
        patience: seconds for one piece of work.
    """

    in_memory = False
    is_local = False

    def __init__(self, url: str, *, most: int = 4, patience: float = 5.0) -> None:
        self.conninfo, self.pooled = _without_ours(url)
        # Awaited after each commit to the log and before anybody is told: then the guards of
        # this process obey what it acknowledges.
        self.committed: Callable[[], Awaitable[None]] | None = None
        self.most = most
        self._patience = patience
        self._by_loop: dict[asyncio.AbstractEventLoop, _Loop] = {}

    async def read(self, verb: Verb[T]) -> T:
        """Run a verb that changes nothing.

        Raises:
            Unavailable: the server cannot be reached, or is too slow.
        """
        async with self._here.connections.one() as connection:
            return await run(connection, verb)

    async def read_apart(self, verb: Verb[T]) -> T:
        """As `read`, on a connection kept for this: it waits behind no other work."""
        async with self._here.apart.one() as connection:
            return await run(connection, verb)

    async def write(self, verb: Verb[T], *, durable: bool = True) -> T:
        """Run a verb in one transaction; returns after the commit.

        Raises:
            Unavailable: nothing was acknowledged. Where the connection broke during the
                commit nobody knows whether it took place; every verb may be tried again.
        """
        here = self._here
        try:
            step = next(verb)
            while isinstance(step, Take):
                step = verb.send(await here.taken(step, durable=durable))
            async with here.connections.one(waits=durable) as connection:
                first = here.switched(connection, durable=durable)
                return await transacted(connection, verb, step, first)
        except StopIteration as end:
            result: T = end.value
            return result

    def connections(self, most: int) -> Connections:
        """Up to so many connections for the running event loop."""
        return Connections(
            self.conninfo, most=most, patience=self._patience, prepares=not self.pooled
        )

    def write_now(self, verb: Verb[T]) -> T:
        """Run a verb in one durable transaction from a thread without an event loop."""
        return asyncio.run(self._alone(verb))

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` at every announcement, for ever; does nothing behind PgBouncer."""
        while not self.pooled:
            try:
                connection = await self._here.connections.made()
                async with connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    heard()  # whatever was announced meanwhile
                    async for _ in connection.notifies():
                        heard()
            except (psycopg.Error, OSError) as error:
                log.warning("nobody tells of revocations now: %s", told(error))
            await asyncio.sleep(_PAUSE)

    def close(self) -> None:
        """Disconnect; a later use connects again."""
        for here in list(self._by_loop.values()):
            here.close()
        self._by_loop.clear()

    async def _alone(self, verb: Verb[T]) -> T:
        try:
            return await self.write(verb)
        finally:
            self._by_loop.pop(asyncio.get_running_loop()).close()

    @property
    def _here(self) -> _Loop:
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        if found is None:
            self._forget_ended()
            found = self._by_loop[loop] = _Loop(self)
        return found

    def _forget_ended(self) -> None:
        """Test clients and commands come and go with event loops of their own."""
        for loop in [loop for loop in self._by_loop.copy() if loop.is_closed()]:
            self._by_loop.pop(loop).close()


class _Loop:
    """What one event loop has: its connections, and the revocations that wait for theirs."""

    def __init__(self, driver: Postgres) -> None:
        self.connections = driver.connections(driver.most)
        # Guards must hear of revocations however many logins are waiting.
        self.apart = driver.connections(1)
        self._driver = driver
        self._waiting: list[tuple[Take, asyncio.Future[list[Rows]]]] = []
        self._committing: asyncio.Task[None] | None = None

    def close(self) -> None:
        for some in (self.connections, self.apart):
            some.close()

    async def taken(self, take: Take, *, durable: bool) -> list[Rows]:
        if take[0][0] is not HEAD_LOCKED:
            async with self.connections.one(waits=durable) as connection:
                first = self.switched(connection, durable=durable)
                return await together(connection, take, before=first)
        future: asyncio.Future[list[Rows]] = asyncio.get_running_loop().create_future()
        self._waiting.append((take, future))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit())
        return await future

    def switched(self, connection: Connection, *, durable: bool) -> tuple[str, ...]:
        """What to say first, so that the commit waits for the disk or does not."""
        if self._driver.pooled:  # a setting that stayed would be met by whoever comes next
            return () if durable else (_THIS_ONE_DOES_NOT,)
        if connection.waits is durable:
            return ()
        connection.waits = durable  # if saying so fails, the connection is thrown away
        return (_WAITS[durable],)

    async def _commit(self) -> None:
        """One transaction after the other, each of all that have come meanwhile."""
        try:
            while self._waiting:
                batch, self._waiting = (
                    self._waiting[:MOST_PER_COMMIT],
                    self._waiting[MOST_PER_COMMIT:],
                )
                await self._committogether(batch)
        finally:
            self._committing = None

    async def _committogether(
        self, batch: Sequence[tuple[Take, asyncio.Future[list[Rows]]]]
    ) -> None:
        asks = [ask for take, _ in batch for ask in take]
        try:
            async with self.connections.one(waits=True) as connection:
                first = self.switched(connection, durable=True)
                answers = await together(connection, asks, before=first, after=(_ANNOUNCE,))
        except BaseException as error:  # noqa: BLE001 - every caller must hear of it
            if len(batch) > 1 and _is_of_one(error):
                for one in batch:  # what is wrong with one must not refuse the others
                    await self._committogether((one,))
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        try:
            await self._told_here()
        finally:  # what is committed is acknowledged, whatever else goes wrong
            for take, future in batch:
                mine, answers = answers[: len(take)], answers[len(take) :]
                if not future.done():  # otherwise the caller has gone
                    future.set_result(mine)

    async def _told_here(self) -> None:
        if self._driver.committed is None:
            return
        try:
            await self._driver.committed()
        except Unavailable:
            pass  # who cannot hear of it lets nobody in
        except Exception:
            log.exception("guards of this process hear of revocations at their next poll")


def _is_of_one(error: BaseException) -> bool:
    """Whether one of several was refused for what it says, so that the others may succeed.

    A server that is gone, busy or told to end refuses all: trying each alone would only
    have the last wait as often as there are others.
    """
    cause = error.__cause__ if isinstance(error, Unavailable) else error
    if isinstance(cause, psycopg.OperationalError):
        return (cause.sqlstate or "").startswith("40")  # a deadlock: another has got its way
    return isinstance(cause, Exception)


def _without_ours(url: str) -> tuple[str, bool]:
    """The URL as libpq knows it, and whether PgBouncer stands in front.

    The rest stays as it was written: libpq reads a query otherwise than forms are read, and
    takes a URL without a host for one of the socket's.

    Raises:
        ConfigError: libpq cannot read it.
    """
    before, _, query = url.partition("?")
    words = [word for word in query.split("&") if word]
    ours = [word for word in words if word.partition("=")[0] == "pgbouncer"]
    kept = "&".join(word for word in words if word not in ours)
    conninfo = f"{before}?{kept}" if kept else before
    try:
        wanted = conninfo_to_dict(conninfo).get("target_session_attrs")
    except psycopg.Error:
        raise ConfigError(  # without libpq's own words: they quote the password
            "DATABASE_URL cannot be read.",
            why="libpq does not know it as postgresql://user:password@host:port/name",
            fix="write what is special in a password in percent, as %40 for @ and %25 for %",
        ) from None
    return _to_primary(conninfo, wanted), any(word.partition("=")[2] != "false" for word in ours)


def _to_primary(conninfo: str, wanted: object) -> str:
    """No connection is made with a standby: guards would let in whom it does not know revoked.

    Raises:
        ConfigError: the URL asks for one.
    """
    if wanted in ("primary", "read-write"):
        return conninfo
    if wanted is not None:
        raise ConfigError(
            "DATABASE_URL may lead to a standby.",
            why="it lags behind: guards would let in whoever was revoked a moment ago",
            fix="leave target_session_attrs out; of several hosts the primary is found",
        )
    return f"{conninfo}{'&' if '?' in conninfo else '?'}target_session_attrs=primary"

"""PostgreSQL: the same verbs, awaited, with as few round trips as the network allows.

Revocations that come together share a transaction, because each must hold the head of
the log until it has been committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg

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
            if len(batch) > 1 and isinstance(error.__cause__, psycopg.Error):
                for one in batch:  # what is wrong with one must not refuse the others
                    await self._committogether((one,))
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        if self._driver.committed is not None:
            with contextlib.suppress(Unavailable):  # who cannot hear of it lets nobody in
                await self._driver.committed()
        for take, future in batch:
            mine, answers = answers[: len(take)], answers[len(take) :]
            if not future.done():  # otherwise the caller has gone
                future.set_result(mine)


def _without_ours(url: str) -> tuple[str, bool]:
    """The URL as libpq knows it, and whether PgBouncer stands in front."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    pooled = any(name == "pgbouncer" and value != "false" for name, value in query)
    kept = urlencode([(name, value) for name, value in query if name != "pgbouncer"])
    return urlunsplit(parts._replace(query=kept)), pooled

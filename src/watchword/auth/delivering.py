"""Functions under `after`: told of what was kept in the outbox, each until it has heard.

Every process of the app delivers; a lease decides which one an event falls to. Own
commits are delivered at once. Now and then each looks for what is due again, and
for what another left behind.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from watchword.auth.listening import AT_ONCE, Hooks, called, pause
from watchword.events import Event, Events, HookAbandoned
from watchword.seams import Unavailable
from watchword.store import outbox, telling
from watchword.store.databases import Driver
from watchword.store.outbox import Kept
from watchword.store.verbs import Ask

log = logging.getLogger("watchword.hooks")

LOOK_EVERY = 2.0  # seconds between looks for what is due again, or was left by others
LEASE = 60.0  # seconds after which a process that has not finished is taken for dead
MOST_TRIES = 36  # with the pauses between them, most of a day
OVERDUE = 30 * 86_400.0  # seconds after which what nobody takes is given up
FAREWELL = 5.0  # seconds that functions have to finish when the app stops
MOST_PENDING = 10_000  # events that wait for a database which takes none


class Deliveries:
    """Delivers what is in the outbox of one database to the functions of one app.

    With a database in memory nothing outlives the process, and whoever asked waits until
    the functions have run: in tests they have when the answer is there.

    Args:
        driver: the database.
        hooks: whom to tell.
        events: the sink, told of what is given up.
        now: the clock, Unix seconds.
        fresh: the source of random bytes.
    """

    def __init__(
        self,
        driver: Driver,
        hooks: Hooks,
        events: Events,
        *,
        now: Callable[[], float],
        fresh: Callable[[int], bytes],
    ) -> None:
        self._driver = driver
        self._hooks = hooks
        self._events = events
        self._now = now
        self._fresh = fresh
        self._held = False
        self._begun = False
        self._pending: deque[Ask] = deque()
        self._running: dict[asyncio.Task[None], Kept] = {}
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._ending = False

    # --- keeping ---

    def keep(self, event: Event) -> None:
        """Keep an event that belongs to no change of state; nobody waits for that."""
        if event.kind not in self._hooks.kinds:
            return
        if len(self._pending) >= MOST_PENDING:
            log.error("%s is lost: the database takes nothing", event.kind)
            return
        self._pending.append(outbox.kept(event))
        self._wake()

    async def settle(self) -> None:
        """Called when something was kept: deliver it now, or see to it that it is."""
        if not self._hooks.kinds or not self._begun:
            return
        if not self._driver.in_memory:
            self._wake()
            return
        try:
            await self.deliver()
        except Unavailable as fault:
            log.warning("nothing can be delivered now: %s", fault)

    # --- a life ---

    def hold(self) -> None:
        """Begin only when `release` says that the app is up."""
        self._held = True

    async def release(self) -> None:
        """The app is up: begin."""
        self._held = False
        await self.begin()

    async def begin(self) -> None:
        """Deliver from now on, beginning with what was left."""
        if self._held:
            return
        self._begun = True
        if not self._hooks.kinds:
            return
        try:
            await self.tidy()
        except Unavailable as fault:  # whoever can only be read from can be served from
            log.warning("nobody knows yet what this app is to be told of: %s", fault)
        await self.settle()
        self._wake()

    async def end(self) -> None:
        """Begin nothing new, wait a little for what is at work, and leave the rest to others."""
        task, left = self._task, {}
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            self._ending = True
            self._woken.set()
            await asyncio.wait({task, *self._running}, timeout=FAREWELL)
            left = dict(self._running)
            for late in (task, *left):
                late.cancel()
            await asyncio.wait({task, *left})
        self._task, self._ending = None, False
        with suppress(Unavailable):
            await self._flush()
            if left:
                await self._driver.write(outbox.put_back(left.values(), self._now()), durable=False)

    def stop(self) -> None:
        """As `end`, without waiting: what is at work is left until its lease runs out."""
        for task in (self._task, *self._running):
            if task is not None and not task.done() and not task.get_loop().is_closed():
                task.get_loop().call_soon_threadsafe(task.cancel)
        self._task, self._begun = None, False

    async def tidy(self) -> None:
        """Say what this app wants to be told of, and give up what nobody does."""
        now = self._now()
        if self._hooks.kinds:
            new = self._hooks.kinds - await self._driver.read(telling.lately_noted(now))
            if new:
                await self._driver.write(telling.note(new, now), durable=False)
        since, wanted_since = now - OVERDUE, now - telling.FORGOTTEN
        if await self._driver.read(outbox.is_overdue(since, wanted_since=wanted_since)):
            verb = outbox.abandon_overdue(since, now, wanted_since=wanted_since)
            for event in await self._driver.write(verb):
                self._events(event)

    def _wake(self) -> None:
        """Look at the outbox now: on the loop that does already, else on this one from now on."""
        task, here = self._task, _running_loop()
        if task is not None and not task.done() and not task.get_loop().is_closed():
            if task.get_loop() is here:
                self._woken.set()
            else:
                task.get_loop().call_soon_threadsafe(self._woken.set)
        elif here is not None and self._begun and not self._ending:
            self._woken, self._running = asyncio.Event(), {}
            self._task = here.create_task(self._live())

    async def _live(self) -> None:
        while not self._ending:
            self._woken.clear()
            try:
                await self._start_what_is_due()
            except Unavailable as fault:
                log.warning("nothing can be delivered now: %s", fault)
            except Exception:
                log.exception("delivering failed; it is tried again")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._woken.wait()

    async def _start_what_is_due(self) -> None:
        while not self._ending and (free := AT_ONCE - len(self._running)):
            kept = await self._leased(free)
            for one in kept:
                task = asyncio.get_running_loop().create_task(self._hand(one))
                self._running[task] = one
                task.add_done_callback(self._handed)
            if len(kept) < free:
                return

    def _handed(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._woken.set()  # a hand is free

    # --- delivering ---

    async def deliver(self) -> None:
        """Deliver all that is due, and wait for it."""
        while kept := await self._leased(AT_ONCE):
            await asyncio.gather(*(self._hand(one) for one in kept))

    async def _leased(self, most: int) -> list[Kept]:
        await self._flush()
        now, wanted = self._now(), sorted(self._hooks.kinds)
        if not wanted or not await self._driver.read(outbox.is_due(wanted, now)):
            return []
        verb = outbox.lease(wanted, now, until=now + LEASE, by=secrets.token_hex(8), most=most)
        return await self._driver.write(verb, durable=False)

    async def _flush(self) -> None:
        while self._pending:
            some = [self._pending.popleft() for _ in range(min(len(self._pending), AT_ONCE))]
            try:
                await self._driver.write(outbox.keep(some), durable=False)
            except BaseException:
                self._pending.extendleft(reversed(some))
                raise

    async def _hand(self, kept: Kept) -> None:
        """Call every function that has not heard of an event, and write down how it went."""
        try:
            event = kept.event
        except ValueError as fault:
            await self._abandon(kept, "", str(fault))
            return
        left = {
            name: told for name, told in self._hooks.of(kept.kind).items() if name not in kept.heard
        }
        outcomes = await asyncio.gather(
            *(called(told, event, self._hooks.threads) for told in left.values())
        )
        failed = {name: fault for name, fault in zip(left, outcomes, strict=True) if fault}
        try:
            if not failed:
                await self._driver.write(outbox.done(kept), durable=False)
            elif kept.tries >= MOST_TRIES:
                reason = ", ".join(sorted({type(fault).__name__ for fault in failed.values()}))
                await self._abandon(kept, " ".join(failed), reason)
            else:
                await self._postpone(kept, failed, left.keys() - failed.keys())
        except Unavailable as fault:
            log.warning("%s %s may be told again: %s", kept.kind, event.id, fault)

    async def _postpone(
        self, kept: Kept, failed: dict[str, BaseException], heard: set[str]
    ) -> None:
        after = pause(kept.tries, int.from_bytes(self._fresh(2)) / 65_535)
        for name, fault in failed.items():
            log.warning(
                "%s failed on %s %s at try %d and is called again in %.0f s: %s",
                name,
                kept.kind,
                kept.event_id,
                kept.tries,
                after,
                type(fault).__name__,
                exc_info=fault if kept.tries == 1 else None,  # once is enough
            )
        await self._driver.write(outbox.postpone(kept, self._now() + after, heard), durable=False)

    async def _abandon(self, kept: Kept, functions: str, reason: str) -> None:
        event = HookAbandoned(
            self._now(),
            event_kind=kept.kind,
            event_id=kept.event_id,
            functions=functions,
            tries=kept.tries,
            reason=reason,
        )
        # That a function did not hear of this very kind is told to the log only, or it had no end.
        told = event.kind in self._hooks.kinds and kept.kind != event.kind
        if await self._driver.write(outbox.abandon(kept, *([outbox.kept(event)] if told else []))):
            self._events.tell(event)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # a thread of the app's
        return None

"""Following the revocation log across a network, with a proof of how fresh one's knowledge is.

A poll that succeeds shows everything that was committed before it was *sent*. So when it
was sent at f, a decision at u knows of every revocation before f; it is made only while
u - f is at most `max_stale`, and refused otherwise. No clock is compared with another,
and nothing depends on a message that arrives: hints only make a poll come sooner.

It follows that after a revocation and `max_stale` seconds nobody anywhere accepts what
was revoked, whoever follows: those who could not hear of it have stopped deciding.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence

from watchword.guard.beside import Beside
from watchword.guard.freshness import AS_USUAL, Asked, Stale, sleepless
from watchword.guard.revocations import Revocations
from watchword.seams import RevocationFeed, Tail, Unavailable

log = logging.getLogger("watchword.guard")

_GAP = 0.002  # seconds between two polls, however many hints come
_FIRST_PAUSE = 0.05  # seconds until a poll that failed is tried again; then twice as many
_TURN = 0.05  # seconds between two polls that callers can bring about by naming a position
_TELL_EVERY = 60.0
DRIFT = 1.01  # two machines' seconds differ by far less

Hints = Callable[[Callable[[], None]], Awaitable[None]]


class Follower(Revocations):
    """The live part of a log elsewhere.

    Args:
        feed: the log.
        max_stale: seconds after which a revocation is noticed or nobody is let in.
        hints: endless coroutines that call their argument when there may be news.
        now: the clock, Unix seconds: entries are forgotten by it.
        monotonic: a clock that never goes back: freshness is measured by it.
        most: entries that are kept; what has more of them is not followed.
    """

    __slots__ = (
        "_awaited", "_beside", "_clock", "_due", "_failing", "_feed", "_hints", "_most", "_next",
        "_now", "_patience", "_sent", "_stale_at", "_told", "_turned", "_turning", "_woken",
        "fresh_at", "urgent",
    )  # fmt: skip

    def __init__(
        self,
        feed: RevocationFeed,
        *,
        max_stale: float = 2.0,
        hints: Sequence[Hints] = (),
        now: Callable[[], float] = time.time,  # noqa: TID251 - a guard alone is its own root
        monotonic: Callable[[], float] = sleepless,
        most: float = math.inf,
    ) -> None:
        super().__init__(None)
        self._feed = feed
        self._most = most
        self._hints = tuple(hints)
        self._now = now
        self._clock = monotonic
        self.bound = max_stale
        self._patience = max_stale / 2  # an answer that takes longer is hardly worth having
        self.fresh_at = self._stale_at = -math.inf  # what is known was all there was then
        self._failing = False
        self._sent = self._told = self._turned = -math.inf
        self._turning = self._woken = False
        self._awaited = False  # whether somebody waits for the next poll
        self.urgent = False  # whether somebody waits for the one that is being sent
        # The poll that has not been sent yet; its result is what was wrong with it, or None.
        self._next: concurrent.futures.Future[str | None] = concurrent.futures.Future()
        self._beside = Beside()
        self._due = asyncio.Event()

    # --- deciding ---

    def catch_up(self, now: float, asked: Asked = AS_USUAL) -> None:  # noqa: ARG002
        """One comparison, as long as knowledge is fresh: what is new was taken in by itself.

        Raises:
            Stale: it is not; nobody may be let in.
        """
        if self._clock() > self._stale_at:
            self._must_tolerate(asked)

    def _must_tolerate(self, asked: Asked) -> None:
        late = self._clock() - self._stale_at
        if late > asked.tolerated:
            known = "never" if math.isinf(late) else f"{late + self.bound:.1f} s ago"
            raise Stale(f"what was revoked was last known {known}")

    async def meet(self, asked: Asked = AS_USUAL) -> None:
        """Poll where knowledge is older than asked, together with all who ask meanwhile.

        Raises:
            Stale: it cannot be renewed now.
        """
        began = self._clock()
        age = began - self.fresh_at
        if age > self.bound + asked.tolerated or (asked.within is not None and age >= asked.within):
            # After a pause one poll is waited for; while polls fail nobody waits for the next.
            await self._poll_sent_later()
        if asked.within is not None and self.fresh_at < began - asked.within:
            raise Stale("the log was not known well enough by whoever was asked")
        if asked.position is not None and asked.position > (self.epoch, self.position):
            await self._poll_sent_later(in_turn=True)

    async def _poll_sent_later(self, *, in_turn: bool = False) -> None:
        self._be_running()
        if self._failing:
            raise Stale("the revocation log cannot be read")
        if not self._beside.is_here:
            await self._poll_here(in_turn=in_turn)
            return
        awaited, self._awaited = self._next, True  # before it is asked for: it may be sent at once
        if in_turn:
            self._take_turn()
        else:
            self.wake()
        try:
            async with asyncio.timeout(self.bound):
                wrong = await asyncio.shield(asyncio.wrap_future(awaited))
        except TimeoutError:
            wrong = "no poll was answered in time"
        if wrong is not None:
            raise Stale(wrong)

    async def _poll_here(self, *, in_turn: bool) -> None:
        """Poll on an event loop that does not follow: the one that does may stand still."""
        asked = self._clock()
        async with self._beside.turn():
            if in_turn and (wait := self._turned + _TURN - self._clock()) > 0:
                await asyncio.sleep(wait)
            if self.fresh_at > asked:  # others have waited as well, and one of them has polled
                return
            self.urgent = True
            try:
                await self.poll()
            except Exception as error:
                raise Stale(str(error) or "no poll was answered in time") from error

    def _take_turn(self) -> None:
        """Have a poll sent, but not as often as whoever names positions would like."""
        if not self._turning:
            self._turning = True
            wait = max(0.0, self._turned + _TURN - self._clock())
            asyncio.get_running_loop().call_later(wait, self._due.set)

    # --- knowing ---

    def age(self) -> float:
        """Seconds since all that was committed was known here."""
        return self._clock() - self.fresh_at

    async def start(self, now: float) -> None:
        """Begin to follow; returns when decisions can be made.

        Raises:
            Unavailable: the log cannot be read.
        """
        if self._clock() > self._stale_at:
            await self._poll_sent_later()
        self.catch_up(now)

    def lasts(self) -> float:
        """Seconds for which decisions can be made at least, if nothing more is heard."""
        return max(0.0, self._stale_at - self._clock())

    async def settled(self) -> None:
        """Return when no guard accepts what was revoked before this call.

        There is no list of guards: those that have not heard of it by then have stopped.
        """
        await asyncio.sleep(self.bound * DRIFT)

    def wake(self) -> None:
        """There may be news: poll now. From any thread; many calls are as one."""
        if not self._woken:
            self._woken = True
            self._beside.tell(self._due.set)

    def close(self) -> None:
        """Stop following. Whoever begins again knows nothing until it has polled."""
        self._beside.end()
        self.fresh_at = self._stale_at = -math.inf
        self._failing = False

    async def stop(self) -> None:
        """Stop following; what did on this event loop has ended then."""
        await self._beside.ended()
        self.close()

    def _be_running(self) -> None:
        listening = (functools.partial(self._listen, hints) for hints in self._hints)
        self._beside.begin((self._follow, *listening), self._begin_anew)

    def _begin_anew(self) -> None:
        self._due = asyncio.Event()
        self._failing = self._woken = self._turning = False

    async def _follow(self) -> None:
        pause = 0.0
        while self._beside.goes_on():
            await self._until_due(pause)
            self._due.clear()
            self._woken = self._turning = False  # who asks from here on asks for the next one
            self.urgent, self._awaited = self._awaited, False
            awaited, self._next = self._next, concurrent.futures.Future()
            try:
                await self.poll()
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing was learnt
                if not self._beside.goes_on():
                    return
                pause = min(max(_FIRST_PAUSE, 2 * pause), self.bound / 4)
                awaited.set_result(self._has_failed(error))
            else:
                pause, self._failing = 0.0, False
                awaited.set_result(None)

    async def _until_due(self, pause: float) -> None:
        if pause:
            await asyncio.sleep(pause)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._sent + self.bound / 4 - self._clock())):
                await self._due.wait()
        if (early := self._sent + _GAP - self._clock()) > 0:
            await asyncio.sleep(early)

    async def poll(self) -> None:
        """Ask for what is new, and take it in.

        Raises:
            Unavailable: nothing was learnt; nor from any other exception.
        """
        while True:  # what comes in pages is taken in by pages, and known after the last
            self._sent = self._turned = sent = self._clock()
            asked = self.epoch, self.position
            async with asyncio.timeout(self._patience):
                tail = await self._feed.tail(self.position, self.epoch)
            end = tail.epoch, tail.seq
            self._must_lead_on(tail, asked)
            with self._taking:
                known = self.epoch, self.position
                # Another event loop may have taken in as much meanwhile, or more.
                if end > known or (end != known and known == asked):
                    self._take_in(tail)
            if not tail.more:
                break
        fresh_at = sent - max(0.0, tail.age)
        if fresh_at > self.fresh_at:  # what was known does not become less
            self.fresh_at, self._stale_at = fresh_at, fresh_at + self.bound
        self.forget(self._now())

    def _must_lead_on(self, tail: Tail, asked: tuple[int, int]) -> None:
        if tail.epoch < self.epoch:
            # A primary that was replaced and does not know it, or a backup of older times.
            raise Unavailable(
                f"the revocation log is of epoch {tail.epoch}, and {self.epoch} has begun; if "
                "the database was restored, run: watchword restored"
            )
        if tail.more and (tail.epoch, tail.seq) == asked:
            raise Unavailable("the revocation log's pages lead nowhere")
        if len(self) + len(tail.entries) > self._most:
            self.forget(self._now())
            if len(self) + len(tail.entries) > self._most:  # rather that than forget one
                raise Unavailable(f"there are more revocations than {self._most}, all that fit")

    def _has_failed(self, error: Exception) -> str:
        self._failing = True
        said = str(error) or type(error).__name__
        if self._sent - self._told >= _TELL_EVERY:
            self._told = self._sent
            log.warning(
                "the revocation log cannot be read: %s; nobody is let in by knowledge older "
                "than %g s",
                said,
                self.bound,
            )
        return said

    async def _listen(self, hints: Hints) -> None:
        while self._beside.goes_on():
            try:
                await hints(self.wake)
            except Exception:
                log.debug("no hints of revocations; polls come in their own time", exc_info=True)
            await asyncio.sleep(self.bound / 4)

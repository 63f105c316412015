"""An issuer's revocation log over HTTP, for guards that are not where its database is.

Two requests are under way. One polls: what it brings was known to the issuer after it had
been asked, so freshness counts from the moment of sending, and no clock is compared with
another. The other waits at the issuer until there is news, and only rings: a poll follows
at once. So a revocation is here within milliseconds, and nothing depends on the bell.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Annotated

import msgspec

from watchword.fetch import Answer, FetchError, Line
from watchword.guard.freshness import MIN_SEQ
from watchword.seams import Revocation, Tail, Unavailable

log = logging.getLogger("watchword.guard")

WAIT = 5.0  # seconds at the issuer; short, because a server that ends waits for its requests
LARGEST = 2 * 1024 * 1024  # bytes of one answer, unpacked; a full page is a quarter of it
_LATE = 5.0  # seconds beyond the wait, after which nothing will come
_PAUSE = 0.5  # seconds between two tries to wait
_SOON = 0.05  # seconds between two looks whether anything is known that there can be news of
_KINDS = frozenset({"grant", "user", "client", "jti", "all", "config"})
_KEY = re.compile(r"[0-9a-f]{16}")
# What does not change by being asked again: who asks, or what for.
_REFUSALS = {
    400: "does not let this client follow its revocations",
    401: "does not know this client, or not by this secret",
    403: "does not let this client follow its revocations",
    404: "has no revocation log where it says",
}


_Number = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class _Page(msgspec.Struct):
    epoch: Annotated[int, msgspec.Meta(ge=1, lt=2**62)]
    seq: _Number
    age_ms: Annotated[float, msgspec.Meta(ge=0)]
    more: bool
    entries: list[tuple[_Number, str, str, float]]


_decode = msgspec.json.Decoder(_Page).decode


def _not_urgent() -> bool:
    return False


class HttpFeed:
    """`seams.RevocationFeed` over HTTP.

    Args:
        line: to the issuer, as a client that may follow.
        url: its endpoint for revocations.
        within: seconds that the issuer's own knowledge should be old at most; where its
            database is across a network it may be older than a guard can do with.
    """

    def __init__(self, line: Line, url: str, *, within: float = 0.5) -> None:
        self._line = line
        self._url = url
        self._within = within
        self.urgent: Callable[[], bool] = _not_urgent  # whether somebody waits for this poll
        self.refused = ""  # why it is of no use to ask again as long as nobody changes something
        self._rung = (0, 0)  # epoch and number that were heard of, by whatever request

    async def tail(self, after: int, epoch: int) -> Tail:
        """What is behind that position, in pages if it is much.

        Raises:
            Unavailable: the issuer did not tell.
        """
        within = 0 if self.urgent() else self._within
        query: dict[str, object] = {"after": after, "epoch": epoch, "within": within}
        tail = await self._asked(query, behind=self._rung > (epoch, after))
        self._rung = max(self._rung, (tail.epoch, tail.seq))
        return tail

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` when there is news; for ever."""
        try:
            while True:
                epoch, after = self._rung
                if not epoch:  # nothing is known yet, so everything would be news
                    await asyncio.sleep(_SOON)
                    continue
                try:
                    async with asyncio.timeout(WAIT + _LATE):
                        tail = await self._asked({"after": after, "epoch": epoch, "wait": WAIT})
                except (Unavailable, TimeoutError) as error:
                    log.debug("nobody rings when something is revoked: %s", error)
                    await asyncio.sleep(_PAUSE)
                    continue
                if (tail.epoch, tail.seq) != (epoch, after):
                    self._rung = tail.epoch, tail.seq
                    heard()
        finally:
            await self._line.aclose()

    async def _asked(self, query: dict[str, object], *, behind: bool = False) -> Tail:
        headers = {}
        if behind:  # the server that answers may be another than the one that was heard
            headers[MIN_SEQ.decode()] = "{}.{}".format(*self._rung)
        try:
            answer = await self._line.get(
                self._url, query, headers=headers, largest=LARGEST, gzip=True
            )
        except FetchError as error:
            raise Unavailable(str(error)) from error
        if answer.status != 200:  # noqa: PLR2004
            self.refused = _REFUSALS.get(answer.status, "")
            said = self.refused or "cannot tell of revocations now"
            raise Unavailable(f"the issuer {said} ({self._url} answered {answer.status})")
        self.refused = ""
        return _tail(answer)


def _tail(answer: Answer) -> Tail:
    """An answer as a value; what is not of its form is as good as no answer."""
    try:
        page = _decode(answer.body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unavailable(f"the issuer's revocation log cannot be read: {error}") from error
    entries = tuple(
        Revocation(seq, kind, _key(key), expires_at) for seq, kind, key, expires_at in page.entries
    )
    unknown = {entry.kind for entry in entries} - _KINDS
    if unknown:  # it may end tokens that this version would let in
        raise Unavailable(f"the issuer revokes by {min(unknown)[:32]!r}: this guard is too old")
    return Tail(page.epoch, page.seq, entries, page.age_ms / 1000, page.more)


def _key(text: str) -> int:
    if _KEY.fullmatch(text) is None:
        raise Unavailable("the issuer's revocation log cannot be read: a key is none")
    return int.from_bytes(bytes.fromhex(text), "big", signed=True)

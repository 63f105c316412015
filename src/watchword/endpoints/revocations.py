"""The revocation log for guards elsewhere: `GET {prefix}/revocations?after=&epoch=&wait=`.

What is answered was known after the request had come, or `age_ms` before it came; so who
counts from the moment of asking knows everything that was acknowledged until then. Nobody
is told more than first bytes of digests; still only resource servers may ask, clients that
were registered to look into tokens (attack rows V-07, V-08).
"""

from __future__ import annotations

import asyncio
import gzip
import math
import re
import time
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from watchword.endpoints import client_auth, forms, waiting
from watchword.endpoints.answers import NEVER_KEPT
from watchword.endpoints.token import caller_of
from watchword.errors import InvalidClient, UnauthorizedClient
from watchword.exchanges.bench import Bench
from watchword.guard.freshness import Asked, Stale, position_in
from watchword.limits import Limit, Limits, ProcessCounters
from watchword.rules import params
from watchword.rules.clients import Client
from watchword.rules.forwarded import address_key
from watchword.rules.params import LogAsk
from watchword.seams import Unavailable

MOST = 10_000  # entries of one answer
# Of one address, counted by each process for itself: a guard asks twice a second, and behind
# one address there may be hundreds.
_LIMIT = Limit(1000, 1 / 500)
_WORTHWHILE = 1024  # bytes, below which packing saves nothing
_LONG = 32 * 1024  # bytes, above which packing would hold everybody else up
_NOT_GZIP = re.compile(r"q=0(\.0{0,3})?")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class _Page:
    epoch: int
    seq: int
    more: bool
    entries: bytes = b"[]"

    def body(self, age: float) -> bytes:
        said = b'{"epoch":%d,"seq":%d,"age_ms":%d,"more":%s,"entries":' % (
            self.epoch,
            self.seq,
            math.ceil(age * 1000),
            b"true" if self.more else b"false",
        )
        return said + self.entries + b"}"


class Log:
    """The endpoint, and what it keeps from one request to the next."""

    def __init__(self) -> None:
        self.room = waiting.Room()
        self._limits = Limits(ProcessCounters(), {"revocations": _LIMIT})
        self._watch = waiting.Watch()
        self._at: Bench | None = None
        # The newest page that was read: everybody who follows asks for the same one.
        self._read: dict[tuple[object, ...], asyncio.Task[_Page]] = {}

    async def __call__(self, request: Request, at: Bench) -> Response:
        """Tell what was revoked behind a position; at once, or when there is something."""
        come_at = time.monotonic()
        place = address_key(caller_of(request, at).ip)
        await self._limits.spend(at.now(), ("revocations", place))
        forms.no_secret_in_url(request)
        client = await _follower(request, at)
        ask = params.log_ask(params.form(request.scope["query_string"]))
        await _known(at, Asked(ask.within, position_in(request.scope)))
        if ask.wait and not _is_news(at, ask):
            with self.room.place(client.id):
                await self._wait(request, at, ask)
            await _known(at, Asked())
        # Its age is told before the page is read: so the page has what it speaks of, or more.
        age = max(0.0, at.log.age() - (time.monotonic() - come_at))
        page = await self._page(at, ask)
        return await _answer(request, ask, page, age)

    async def _wait(self, request: Request, at: Bench, ask: LogAsk) -> None:
        def changes() -> int:
            with suppress(Unavailable):  # whoever waits asks again when it is over
                at.log.catch_up(at.now())
            return at.log.changes

        news = asyncio.create_task(self._watch.until(lambda: _is_news(at, ask), changes))
        await waiting.until_first(request, news, ask.wait)

    async def _page(self, at: Bench, ask: LogAsk) -> _Page:
        if not _is_news(at, ask):
            return _Page(ask.epoch, ask.after, more=False)
        if at is not self._at:
            self._at, self._read = at, {}
        log, loop = at.log, asyncio.get_running_loop()
        minute = at.now() // 60  # after which there may be less to tell
        name = (loop, minute, ask.after, ask.epoch, log.epoch, log.position)
        reading = self._read.get(name)
        if reading is None or (reading.done() and reading.exception() is not None):
            reading = asyncio.create_task(_read(at, ask))
            self._read = {name: reading}
        return await asyncio.shield(reading)


async def _follower(request: Request, at: Bench) -> Client:
    """Who asks: a client with a secret, that may look into tokens of some resource.

    Raises:
        InvalidClient: it did not authenticate, or has nothing to do it with.
        UnauthorizedClient: it may not look into anything.
    """
    client = await client_auth.identify(request, {}, at)
    if client.is_public:
        raise InvalidClient(
            "Client authentication failed.", detail="a public client", challenge=True
        )
    if not client.introspects:
        raise UnauthorizedClient("This client may not follow revocations.")
    return client


async def _known(at: Bench, asked: Asked) -> None:
    """Know the log here: as well as asked if that can be done, and how well is told.

    Raises:
        Unavailable: this very server cannot tell; who asks it must not believe it could.
    """
    with suppress(Stale):
        await at.log.meet(asked)
    at.log.catch_up(at.now())


def _is_news(at: Bench, ask: LogAsk) -> bool:
    return (at.log.epoch, at.log.position) != (ask.epoch, ask.after)


async def _read(at: Bench, ask: LogAsk) -> _Page:
    known = at.log.epoch
    found = await at.page(ask.after, ask.epoch, MOST)
    if found.epoch < known:
        raise Unavailable(f"the log is of epoch {found.epoch}, and {known} has begun")
    entries = [
        (one.seq, one.kind, f"{one.key % 2**64:016x}", math.ceil(one.expires_at))
        for one in found.entries
    ]
    return _Page(found.epoch, found.seq, found.more, _encode(entries))


async def _answer(request: Request, ask: LogAsk, page: _Page, age: float) -> Response:
    headers = {**NEVER_KEPT, "Watchword-Age-Ms": str(math.ceil(age * 1000))}
    if ask.after == 0 and not page.more:
        # Of two answers with the same end the older one has at least as much.
        etag = f'W/"{page.epoch}.{page.seq}"'
        headers |= {"ETag": etag, "Cache-Control": "private, no-cache"}
        if etag.removeprefix("W/") in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
    body = page.body(age)
    headers["Vary"] = "Accept-Encoding"
    if len(body) >= _WORTHWHILE and _takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        if len(body) >= _LONG:
            body = await asyncio.to_thread(gzip.compress, body, 1)
        else:
            body = gzip.compress(body, 1)
    return Response(body, headers=headers, media_type="application/json")


def _takes_gzip(request: Request) -> bool:
    for one in request.headers.get("accept-encoding", "").split(","):
        name, _, quality = one.partition(";")
        if name.strip().lower() == "gzip":
            return _NOT_GZIP.fullmatch(quality.strip()) is None
    return False

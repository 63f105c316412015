"""The one outbound HTTP client: no redirects, bounded in time and size."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from watchword.crypto.secrets import Secret
from watchword.errors import WatchwordError

if TYPE_CHECKING:
    import httpx2

TIMEOUT = 5.0  # seconds in all
LARGEST = 256 * 1024  # bytes; a key set of many keys is a tenth of it


# Not compressed, and not unpacked if it comes compressed: a few bytes can unpack to many.
# Not a copy either that something on the way has kept: whoever asks keeps one already.
_ASKED = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Cache-Control": "no-cache",
}
_KEPT_OPEN = 3.0  # seconds that a connection may be idle: less than servers wait for the next


class FetchError(WatchwordError):
    """The document could not be had; the text is for the log."""


async def document(url: str, *, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """GET a JSON object.

    Args:
        url: from configuration, never from a token.
        headers: sent besides `Accept`.

    Raises:
        FetchError: no answer in time, not 200, too large, or not a JSON object.
    """
    import httpx2  # noqa: PLC0415 - a guard that never fetches never loads it

    body = bytearray()
    try:
        async with (
            asyncio.timeout(TIMEOUT),  # httpx's own limit is one per read: a drip would outlast it
            httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client,
            client.stream("GET", url, headers={**_ASKED, **(headers or {})}) as response,
        ):
            if response.status_code != 200:  # noqa: PLR2004
                raise FetchError(f"{url} answered {response.status_code}")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > LARGEST:
                    raise FetchError(f"{url} answered more than {LARGEST} bytes")
        found = json.loads(bytes(body))
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RecursionError) as error:
        raise FetchError(f"{url}: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict):
        raise FetchError(f"{url} did not answer with a JSON object")
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; `headers` by their lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Line:
    """A server that is asked often, by a client that it knows: connections stay open.

    It has no time limit of its own: whoever asks says how long an answer is worth having.
    Unlike `httpx` it writes no line into the log for each request.

    Args:
        client_id: who asks.
        secret: sent by the Basic scheme with every request (RFC 6749 section 2.3.1).
        most: connections at once, for each event loop.
    """

    def __init__(self, client_id: str, secret: Secret, *, most: int = 4) -> None:
        self.client_id = client_id
        self._secret = secret
        self._most = most
        self._transports: dict[asyncio.AbstractEventLoop, httpx2.AsyncHTTPTransport] = {}

    async def get(
        self,
        url: str,
        query: Mapping[str, object],
        *,
        headers: Mapping[str, str] | None = None,
        largest: int = LARGEST,
        gzip: bool = False,
    ) -> Answer:
        """GET, whatever the status. `largest` is for what is sent and for what it unpacks to.

        Raises:
            FetchError: no answer, or one that is too large.
        """
        more = {**(headers or {}), **({"Accept-Encoding": "gzip"} if gzip else {})}
        found = await self._asked("GET", f"{url}?{urlencode(query)}", b"", more, largest)
        return _unpacked(found, largest) if gzip else found

    async def post(self, url: str, form: Mapping[str, str], *, largest: int = LARGEST) -> Answer:
        """POST a form, whatever the status.

        Raises:
            FetchError: no answer, or one that is too large.
        """
        more = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._asked("POST", url, urlencode(form).encode(), more, largest)

    async def aclose(self) -> None:
        """Hang up; a later use connects again. Connections of other event loops end with those."""
        transport = self._transports.pop(asyncio.get_running_loop(), None)
        if transport is not None:
            await transport.aclose()

    async def _asked(
        self, method: str, url: str, body: bytes, more: Mapping[str, str], largest: int
    ) -> Answer:
        import httpx2  # noqa: PLC0415 - a guard that never fetches never loads it

        headers = {**_ASKED, **more, "Authorization": self._basic()}
        received = bytearray()
        try:
            request = httpx2.Request(method, url, headers=headers, content=body)
            response = await self._here(url).handle_async_request(request)
            try:
                async for chunk in response.aiter_raw():
                    received += chunk
                    if len(received) > largest:
                        raise FetchError(f"{_bare(url)} answered more than {largest} bytes")
            finally:
                await response.aclose()
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise FetchError(f"{_bare(url)}: {type(error).__name__}: {error}") from error
        found = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, found, bytes(received))

    def _basic(self) -> str:
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self._secret.clear)}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def _here(self, url: str) -> httpx2.AsyncHTTPTransport:
        import httpx2  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        found = self._transports.get(loop)
        if found is None:
            for gone in [other for other in self._transports if other.is_closed()]:
                del self._transports[gone]
            limits = httpx2.Limits(max_connections=self._most, keepalive_expiry=_KEPT_OPEN)
            found = httpx2.AsyncHTTPTransport(limits=limits, proxy=_proxy_for(url))
            self._transports[loop] = found
        return found


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names, as for `document`."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _bare(url: str) -> str:
    """A URL for the log, without what was asked."""
    return url.partition("?")[0]


def _unpacked(answer: Answer, largest: int) -> Answer:
    """The answer with its body unpacked, and no further than to `largest` bytes."""
    if answer.headers.get("content-encoding") != "gzip":
        return answer
    unpacking = zlib.decompressobj(wbits=31)
    try:
        body = unpacking.decompress(answer.body, largest)
    except zlib.error as error:
        raise FetchError(f"the answer cannot be unpacked: {error}") from error
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise FetchError(f"the answer is cut off, or unpacks to more than {largest} bytes")
    return Answer(answer.status, answer.headers, body)

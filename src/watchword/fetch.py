"""The one outbound HTTP client: no redirects, bounded in time and size."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from watchword.errors import WatchwordError

TIMEOUT = 5.0  # seconds in all
LARGEST = 256 * 1024  # bytes; a key set of many keys is a tenth of it


# Not compressed, and not unpacked if it comes compressed: a few bytes can unpack to many.
_ASKED = {"Accept": "application/json", "Accept-Encoding": "identity"}


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

"""Tokens that say nothing themselves, and the issuer that tells what they mean (RFC 7662)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from watchword.errors import InvalidToken
from watchword.fetch import FetchError, Line
from watchword.guard.freshness import AS_USUAL, Asked
from watchword.guard.introspection import Introspection
from watchword.rules.access import AccessToken, Expectation, judged
from watchword.seams import Unavailable

LARGEST = 64 * 1024  # bytes of one answer
_LONGEST = 4096  # characters of an opaque token

Claims = Mapping[str, Any]


class Endpoint:
    """An issuer's introspection endpoint.

    Args:
        line: to the issuer, as a client that may look into tokens.
        url: where it is; asked for each time, because it may not be known yet.
    """

    def __init__(self, line: Line, url: Callable[[], str | None]) -> None:
        self._line = line
        self._url = url

    async def __call__(self, text: str, token: AccessToken | None = None) -> Claims | None:
        """What the issuer says of a token; None when it is not good (any more).

        Raises:
            Unavailable: the issuer did not tell.
        """
        del token  # it is the issuer's word that is asked for, whatever the token says itself
        url = self._url()
        if url is None:
            raise Unavailable("the issuer publishes no introspection endpoint")
        form = {"token": text, "token_type_hint": "access_token"}  # RFC 7662 section 2.1
        try:
            answer = await self._line.post(url, form, largest=LARGEST)
        except FetchError as error:
            raise Unavailable(str(error)) from error
        if answer.status != 200:  # noqa: PLR2004
            raise Unavailable(f"{url} answered {answer.status}")
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"{url} did not answer with JSON") from error
        active = found.get("active") if isinstance(found, dict) else None
        if not isinstance(active, bool):  # RFC 7662 section 2.2: it is required
            raise Unavailable(f"{url} does not say whether the token is active")
        return found if active else None


class Opaque:
    """Verifies tokens that are not signed values: what they mean is asked of their issuer.

    Args:
        ask: the issuer, a few times at once and not for long.
        expected: issuer, audience, claims.
    """

    def __init__(self, ask: Introspection[Claims | None], expected: Expectation) -> None:
        self._ask = ask
        self._expected = expected

    async def __call__(self, text: str, now: float, asked: Asked = AS_USUAL) -> AccessToken:
        """Verify a token.

        Raises:
            InvalidToken: it is not good, or not an access token for this resource.
            Stale: the issuer cannot tell now.
        """
        if len(text) > _LONGEST:
            raise _refused("too long")
        claims = await self._ask(text, None, 0.0 if asked.position else asked.within)
        if claims is None:
            raise _refused("not active")
        kind = str(claims.get("token_type", "Bearer")).lower()
        use = str(claims.get("token_use", "access")).removesuffix("_token")
        if kind != "bearer" or use != "access":  # a refresh token is active too, elsewhere
            raise _refused("not a bearer access token")
        # RFC 7662 section 2.2 leaves most members out at will. Whose token it is is known, and
        # a client that speaks for itself is its own subject; nothing else is filled in.
        said = {"iss": self._expected.issuer, "sub": claims.get("client_id"), **claims}
        return replace(judged(said, self._expected, now), kind="opaque")


def says_nothing(text: str) -> bool:
    """Whether a token is no JSON Web Signature: three parts, of which the first is an object."""
    if text.count(".") != 2:  # noqa: PLR2004
        return True
    head = text.partition(".")[0]
    try:
        return not base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).lstrip().startswith(b"{")
    except ValueError:
        return True


def _refused(detail: str) -> InvalidToken:
    return InvalidToken("The access token is not valid.", detail=detail)

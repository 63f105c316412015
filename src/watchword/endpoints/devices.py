"""The cookie of a known device, in and out.

It is set by every login that succeeds, whatever the program: telling browsers from others
by their headers is guesswork, and who keeps no cookies loses nothing. Only a page of
another origin gets none: it would replace what the browser knows by an account of its own
choice. Attack row L-05.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from watchword.crypto.secrets import Secret
from watchword.exchanges.bench import Bench

_NAME = "watchword_device"
_LONGEST = 256
# How a browser says that a page of our own, or the person itself, asked.
_OURS = (None, "same-origin", "none")


def name(at: Bench) -> str:
    """The cookie's name; a browser takes this prefix from nobody but this very host."""
    return _NAME if at.settings.is_development else f"__Host-{_NAME}"


def carried(request: Request, at: Bench) -> str | None:
    """What the device carries; None where it is nothing, or more than one thing.

    A page of a neighbouring host may have put a second cookie of this name beside ours;
    which of the two is ours cannot be told.
    """
    if not at.settings.known_devices:
        return None
    wanted = name(at)
    found = [
        value.strip()
        for header in request.headers.getlist("cookie")
        for key, _, value in (pair.partition("=") for pair in header.split(";"))
        if key.strip() == wanted
    ]
    return found[0] if len(found) == 1 and len(found[0]) <= _LONGEST else None


def keep(device: Secret, request: Request, response: Response, at: Bench) -> None:
    """Let the device carry this from now on."""
    if request.headers.get("sec-fetch-site") not in _OURS:
        return
    # By hand: what it holds needs no quoting, and Starlette's way costs more than the MAC did.
    cookie = (
        f"{name(at)}={device.clear}; Max-Age={int(at.settings.device_ttl)}; Path=/; HttpOnly; "
        f"SameSite=Lax{'' if at.settings.is_development else '; Secure'}"
    )
    response.headers.append("Set-Cookie", cookie)

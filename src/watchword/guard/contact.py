"""How a guard may ask its issuer: what was said in code, checked once."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from watchword.crypto.secrets import Secret
from watchword.errors import ConfigError
from watchword.fetch import Line
from watchword.guard.introspection import MOST_AT_ONCE, Introspect
from watchword.seams import RevocationFeed

Log = RevocationFeed | Literal["auto", "required", "off"]
Inquiry = bool | str | Introspect

_SHORTEST, _LONGEST = 0.1, 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Contact:
    """What a guard may do to learn of revocations.

    Attributes:
        line: to the issuer's log, if this guard is a client of the issuer.
        inquiry: to its introspection endpoint, if that may be asked.
        feed: the log, if it was given.
        ask: the function to ask about a token, if that was given.
        introspection_url: where introspection is, if that was given.
        wants_log: whether the log is looked for.
        requires_log: whether nobody is let in without it.
    """

    line: Line | None = None
    inquiry: Line | None = None
    feed: RevocationFeed | None = None
    ask: Any = None
    introspection_url: str | None = None
    wants_log: bool = False
    requires_log: bool = False

    @property
    def looks_for_introspection(self) -> bool:
        """Whether the issuer's metadata has to tell where introspection is."""
        return self.inquiry is not None and self.introspection_url is None

    @property
    def needs_metadata(self) -> bool:
        """Whether the issuer's metadata has to be read before anything is decided."""
        return self.wants_log or self.looks_for_introspection

    @property
    def tells_claims(self) -> bool:
        """Whether answers about a token say what it allows, and not only that it is good."""
        return self.inquiry is not None

    @property
    def lines(self) -> tuple[Line, ...]:
        """All that may have to be hung up."""
        return tuple(line for line in (self.line, self.inquiry) if line is not None)


def contact_with(
    issuer: str,
    *,
    revocations: Log,
    introspection: Inquiry,
    client_id: str,
    client_secret: str,
    has_metadata: bool,
    max_stale: float,
) -> Contact:
    """What was said in code, as a value.

    Raises:
        ConfigError: it cannot be done like that.
    """
    if not _SHORTEST <= max_stale <= _LONGEST:
        raise ConfigError(
            f"max_stale={max_stale} is out of range.",
            fix=f"between {_SHORTEST:g} and {_LONGEST:g} seconds",
        )
    known = _credentials(issuer, client_id, client_secret)
    word = revocations if isinstance(revocations, str) else "off"
    if word not in ("auto", "required", "off"):
        raise ConfigError(f"There is no revocations={word!r}.", fix='"auto", "required" or "off"')
    over_http = introspection is True or isinstance(introspection, str)
    if known is None and (word == "required" or over_http):
        asked = 'revocations="required"' if word == "required" else "introspection"
        raise ConfigError(
            f"{asked} needs a client of the issuer.",
            why="an issuer tells resource servers only, and has to know them",
            fix="client_id=..., client_secret=...; a Watchword makes them by "
            "watchword client create NAME --introspect RESOURCE",
        )
    if isinstance(introspection, str):
        _must_be_private(introspection)
    return Contact(
        line=None if known is None else Line(*known),
        inquiry=Line(*known, most=MOST_AT_ONCE) if known is not None and over_http else None,
        feed=None if isinstance(revocations, str) else revocations,
        ask=introspection if callable(introspection) else None,
        introspection_url=introspection if isinstance(introspection, str) else None,
        wants_log=known is not None and (word == "required" or (word == "auto" and has_metadata)),
        requires_log=word == "required",
    )


def _credentials(issuer: str, client_id: str, secret: str) -> tuple[str, Secret] | None:
    if not client_id and not secret:
        return None
    if not client_id or not secret:
        raise ConfigError(
            "client_id and client_secret belong together.",
            fix="both are shown once by: watchword client create",
        )
    _must_be_private(issuer)
    return client_id, Secret(secret)


def _must_be_private(url: str) -> None:
    """RFC 6749 section 2.3.1: a client's secret is sent over TLS only."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and loopback(url)):
        return
    raise ConfigError(
        f"{url} is asked without TLS.",
        why="everybody on the way could read the client's secret (RFC 6749 section 2.3.1)",
        fix="an https:// address; http:// is for this machine only",
    )


def loopback(url: str) -> bool:
    """Whether an address is on this very machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

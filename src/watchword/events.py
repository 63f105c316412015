"""What happened, as values: log, metrics and audit are listeners of one sink.

No event carries a secret or a password; a login that failed is named by a digest,
because people type passwords into the user-name field.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import ClassVar

log = logging.getLogger("watchword.events")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, at a time in Unix seconds; already true when it is told."""

    kind: ClassVar[str] = "event"
    level: ClassVar[int] = logging.INFO
    at: float


@dataclass(frozen=True, slots=True)
class SignedIn(Event):
    """A password login succeeded and opened a grant."""

    kind: ClassVar[str] = "login.succeeded"
    sub: str
    client_id: str
    grant_id: str
    ip: str


@dataclass(frozen=True, slots=True)
class SignInFailed(Event):
    """A password login was refused; `reason` is for the operator only."""

    kind: ClassVar[str] = "login.failed"
    level: ClassVar[int] = logging.WARNING
    reason: str
    login_digest: str
    client_id: str
    ip: str


@dataclass(frozen=True, slots=True)
class TokenIssued(Event):
    """A client got a token for itself."""

    kind: ClassVar[str] = "token.issued"
    level: ClassVar[int] = logging.DEBUG
    client_id: str
    jti: str


@dataclass(frozen=True, slots=True)
class Refreshed(Event):
    """A grant's refresh token was rotated."""

    kind: ClassVar[str] = "token.refreshed"
    level: ClassVar[int] = logging.DEBUG
    sub: str
    client_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class RefreshReused(Event):
    """A spent refresh token came back, so its grant was ended. Told once per grant."""

    kind: ClassVar[str] = "refresh.reused"
    level: ClassVar[int] = logging.ERROR
    sub: str
    client_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class RefreshHealed(Event):
    """A refresh token newer than the database was honoured: the database lost its tail."""

    kind: ClassVar[str] = "refresh.healed"
    level: ClassVar[int] = logging.ERROR
    sub: str
    client_id: str
    grant_id: str
    generations: int


@dataclass(frozen=True, slots=True)
class Revoked(Event):
    """A grant, user, client or single token was revoked; `target` names it."""

    kind: ClassVar[str] = "token.revoked"
    what: str
    target: str


@dataclass(frozen=True, slots=True)
class LimitReached(Event):
    """A limit refused a request."""

    kind: ClassVar[str] = "limit.reached"
    level: ClassVar[int] = logging.WARNING
    policy: str
    ip: str


@dataclass(frozen=True, slots=True)
class KeysRotated(Event):
    """A new signing key was published; it signs from `signs_from` on."""

    kind: ClassVar[str] = "keys.rotated"
    alg: str
    kid: str
    signs_from: float


Listener = Callable[[Event], None]


class Events:
    """The one sink. A listener that fails is logged and never stops a request."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: list[Listener] = [write_to_log]

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every later event."""
        self._listeners.append(listener)

    def __call__(self, event: Event) -> None:
        """Tell every listener."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %s", event.kind)


def scheduled(function: Callable[[Event], Awaitable[None]]) -> Listener:
    """An async function as a listener: it starts when the event has been told, and what
    it raises is logged. Without a running loop it is run to its end."""  # noqa: D205, D209
    running: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly

    async def told(event: Event) -> None:
        try:
            await function(event)
        except Exception:
            log.exception("a listener failed on %s", event.kind)

    def listener(event: Event) -> None:
        try:
            task = asyncio.get_running_loop().create_task(told(event))
        except RuntimeError:
            asyncio.run(told(event))
            return
        running.add(task)
        task.add_done_callback(running.discard)

    return listener


def write_to_log(event: Event) -> None:
    """One structured line per event: the facts travel as `extra`, never in the message."""
    if log.isEnabledFor(event.level):
        log.log(event.level, event.kind, extra={"event": event.kind, **asdict(event)})

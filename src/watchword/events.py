"""What happened, as values: log, metrics and audit are listeners of one sink.

No event carries a secret or a password; a login that failed is named by a digest,
because people type passwords into the user-name field.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import ClassVar

log = logging.getLogger("watchword.events")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, at a time in Unix seconds; already true when it is told.

    `id` is its own: whoever is told twice knows it by that.
    """

    kind: ClassVar[str] = "event"
    level: ClassVar[int] = logging.INFO
    at: float
    id: str = field(default_factory=lambda: secrets.token_hex(16), kw_only=True, compare=False)


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


@dataclass(frozen=True, slots=True)
class HookAbandoned(Event):
    """Functions under `after` were not told of an event: each try failed, or nobody took it."""

    kind: ClassVar[str] = "hook.abandoned"
    level: ClassVar[int] = logging.ERROR
    event_kind: str
    event_id: str
    functions: str
    tries: int
    reason: str


def kinds() -> dict[str, type[Event]]:
    """Every kind of event there is, an app's own among them."""
    found: dict[str, type[Event]] = {}
    below = [Event]
    while below:
        kind = below.pop(0)
        below += kind.__subclasses__()
        if "kind" in vars(kind) and kind is not Event:
            found[kind.kind] = kind  # a class with slots replaces the one it was made from
    return found


Listener = Callable[[Event], None]


class Events:
    """The one sink. A listener that fails is logged and never stops a request.

    Attributes:
        keep: takes what is told here for those who are told later, from the outbox.
    """

    __slots__ = ("_listeners", "keep")

    def __init__(self) -> None:
        self._listeners: list[Listener] = [write_to_log]
        self.keep: Listener | None = None

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every later event."""
        self._listeners.append(listener)

    def __call__(self, event: Event) -> None:
        """Tell every listener, and keep the event for those who are told later."""
        self._tell(event, (*self._listeners, *([self.keep] if self.keep else ())))

    def tell(self, event: Event) -> None:
        """Tell the listeners only: the store has kept the event with the change it is about."""
        self._tell(event, self._listeners)

    def _tell(self, event: Event, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %s", event.kind)


def write_to_log(event: Event) -> None:
    """One structured line per event: the facts travel as `extra`, never in the message."""
    if log.isEnabledFor(event.level):
        log.log(event.level, event.kind, extra={"event": event.kind, **asdict(event)})

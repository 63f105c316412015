"""HTTP/1.1 with an end to everything: heads of some size, and senders that keep sending.

uvicorn's parser takes a head of any length and waits for it for ever; so a few
thousand open sockets, or one endless header, would cost the server its memory.
"""

from __future__ import annotations

import asyncio
from asyncio.events import TimerHandle
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD = 32 * 1024  # bytes: a token of 16 KiB, and cookies
MOST_HEADERS = 100


class TooLong(Exception):
    """Raised inside the parser, which then stops."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol, with limits on what a client may make it hold.

    A head must be complete `head_seconds` after its first byte (the first one: after the
    connection). Of a body at least `least_bytes` must come in every `body_seconds`, as
    long as the app reads it.
    """

    head_seconds: ClassVar[float] = 10.0
    body_seconds: ClassVar[float] = 20.0
    least_bytes: ClassVar[int] = 1024

    _timer: TimerHandle | None = None
    _in_head = True
    _head_bytes = 0  # as they came
    _counted = 0  # as they were parsed
    _body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock with the connection: one that never speaks is closed too."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; close when a head grows too long without ending."""
        super().data_received(data)
        if self._in_head and self.parser is not None:
            # The parser keeps an unfinished header to itself, so bytes are counted too.
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD and not self.transport.is_closing():
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins, perhaps right behind another."""
        super().on_message_begin()
        self._begin_head()

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count headers as they are finished, for those that come all at once."""
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        """The head is here; now the body has its own clock."""
        self._in_head = False
        self._body_bytes = 0
        self._after(self.body_seconds, self._judge_body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count what arrives."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Everything is here; from now on the app's time is its own."""
        self._stop()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Another protocol takes over the connection."""
        self._stop()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Say that a head was too long rather than wrong, where that is the reason."""
        if self._is_too_long:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            super().send_400_response(msg)

    @property
    def _is_too_long(self) -> bool:
        return self._counted > LARGEST_HEAD or len(self.headers or ()) > MOST_HEADERS

    def _count(self, size: int) -> None:
        self._counted += size
        if self._is_too_long:
            raise TooLong

    def _begin_head(self) -> None:
        self._in_head, self._head_bytes, self._counted = True, 0, 0
        self._after(self.head_seconds, self._give_up)

    def _judge_body(self) -> None:
        if self._body_bytes < self.least_bytes and not self.flow.read_paused:
            self._give_up()
            return
        self._body_bytes = 0
        self._after(self.body_seconds, self._judge_body)

    def _give_up(self) -> None:
        self._stop()
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        self._stop()
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "content-length: 0\r\nconnection: close\r\n\r\n".encode("ascii")
        )
        self.transport.close()

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, then)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

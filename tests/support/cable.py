"""A cable between a client and a server: it can be slow, cut, or go dead without a word."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self


class Cable:
    """Forwards TCP to a port of this machine.

    `trips` counts how often a client spoke after it had been answered: round trips.
    `delay` is in seconds each way.
    """

    def __init__(self, port: int, *, delay: float = 0.0) -> None:
        self._to = port
        self.delay = delay
        self.trips = 0
        self._speaks: set[int] = set()  # connections whose client spoke last
        self._passing = threading.Event()
        self._passing.set()
        self._open: set[socket.socket] = set()
        self._refuses = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self, *, for_good: bool = False) -> None:
        """End every connection; new ones are refused as well if `for_good`."""
        self._refuses = for_good
        self._passing.set()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def mend(self) -> None:
        """Let everything through again."""
        self._refuses = False
        self._passing.set()

    def go_dead(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._passing.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(end)
            name = id(client)
            for source, sink, asks in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._carry, args=(source, sink, name, asks), daemon=True
                ).start()

    def _carry(self, source: socket.socket, sink: socket.socket, name: int, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while some := source.recv(65_536):
                if asks and name not in self._speaks:
                    self._speaks.add(name)
                    self.trips += 1
                elif not asks:
                    self._speaks.discard(name)
                self._passing.wait()
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(some)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._open.discard(end)

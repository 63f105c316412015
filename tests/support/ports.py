"""Ports for servers that stop and start again."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that the kernel lends to clients: one of these stays free while nobody listens.
# Each worker has its own, and one that runs alone has the last.
_FIRST, _EACH, _ALONE = 10_100, 2_000, 10
_worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
_begin = _FIRST + _EACH * (int(_worker) % _ALONE if _worker else _ALONE)
_next = itertools.count(os.getpid())  # runs side by side begin at different ones


def free_port() -> int:
    while True:
        port = _begin + next(_next) % _EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

"""Draining, and a rolling restart of two real nodes under load."""

from __future__ import annotations

import itertools
import signal
import threading
import time

import httpx2
import pytest
from node import Node

# One connection for each request: one that is kept may be closed just as it is used again.
_CLIENT = httpx2.Client(headers={"Connection": "close"})


def _balanced(nodes: list[Node], stop: threading.Event, failures: list[str]) -> int:
    """Ask the ready ones in turn, as a balancer does; returns how many answers were good."""
    ready = set(nodes)
    checked, good = 0.0, 0
    for turn in itertools.count():
        if stop.is_set():
            return good
        if time.monotonic() - checked > 0.1:
            ready = {node for node in nodes if _is_ready(node)}
            checked = time.monotonic()
        if not ready:
            failures.append("nobody was ready")
            continue
        node = sorted(ready, key=lambda node: node.port)[turn % len(ready)]
        try:
            answer = _CLIENT.get(f"{node.url}/open", timeout=5)
        except httpx2.HTTPError as error:
            failures.append(repr(error))
            continue
        if answer.status_code == 200:
            good += 1
        else:
            failures.append(answer.text)
    raise AssertionError


def _is_ready(node: Node) -> bool:
    try:
        return _CLIENT.get(f"{node.url}/auth/health/ready", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.mark.attack("Z-21")
def test_a_rolling_restart_fails_no_request(tmp_path):
    url = f"sqlite:///{tmp_path}/w.db"
    with Node(url, drain="1s") as one, Node(url, drain="1s") as two:
        stop, failures, good = threading.Event(), [], []
        asking = threading.Thread(target=lambda: good.append(_balanced([one, two], stop, failures)))
        asking.start()
        for node in (one, two):
            node.process.send_signal(signal.SIGTERM)
            assert node.process.wait(30) in (0, -signal.SIGTERM)
            node.start()
        time.sleep(0.5)
        stop.set()
        asking.join()
    assert not failures
    assert good[0] > 100


def test_who_is_told_twice_ends_at_once(tmp_path):
    with Node(f"sqlite:///{tmp_path}/w.db", drain="300s") as node:
        node.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while _is_ready(node):
            assert time.monotonic() < deadline
        assert httpx2.get(f"{node.url}/open").status_code == 200
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(30) in (0, -signal.SIGTERM)


def test_without_a_drain_the_signal_is_as_it_was(tmp_path):
    with Node(f"sqlite:///{tmp_path}/w.db") as node:
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(30) in (0, -signal.SIGTERM)

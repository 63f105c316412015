"""Server processes of several workers on one database, and the time until all of them refuse."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlencode

from bench.harness import HOST, ask
from bench.peers.common import PASSWORD, USERNAME
from bench.subjects import watchword_cli
from bench.support import DEFAULTS, Node


@contextmanager
def nodes(count: int, workers: int, database_url: str, **settings: str) -> Iterator[list[Node]]:
    """Run some nodes of some workers, with one user; nobody is pinned to a core."""
    env = {**DEFAULTS, "WATCHWORD_DATABASE_URL": database_url}
    user = ("user", "create", USERNAME, "--password-stdin", "--scope", "me")
    watchword_cli(env, *user, given=f"{PASSWORD}\n")
    with ExitStack() as stack:
        yield [
            stack.enter_context(Node(database_url, workers=workers, **settings))
            for _ in range(count)
        ]


def login(node: Node) -> str:
    """Log in and return the access token."""
    form = {"username": USERNAME, "password": PASSWORD, "scope": "me"}
    reply = ask(f"{node.url}/token", form)
    if reply.status != 200:
        raise RuntimeError(f"the login was refused: {reply.body!r}")
    return str(json.loads(reply.body)["access_token"])


async def until_refused(run: list[Node], token: str) -> float:
    """Milliseconds from the acknowledged revocation to the start of the last accepted request."""
    accepted, stop = 0.0, False

    async def asking(turn: int) -> None:
        nonlocal accepted
        for number in itertools.count(turn):
            if stop:
                return
            began = time.perf_counter()
            if await _status(run[number % len(run)].port, "GET", "/guarded", token) == 200:
                accepted = max(accepted, began)

    askers = [asyncio.create_task(asking(turn)) for turn in range(8)]
    await asyncio.sleep(0.4)
    status = await _status(run[0].port, "POST", "/revoke-token", token)
    acknowledged = time.perf_counter()
    if status != 200:
        raise RuntimeError(f"the revocation was answered {status}")
    await asyncio.sleep(1.2)
    stop = True
    await asyncio.gather(*askers)
    if not accepted:
        raise RuntimeError("nothing was accepted before")
    return max(0.0, accepted - acknowledged) * 1000


async def _status(port: int, method: str, path: str, token: str) -> int:
    """One request on a connection of its own, so that it may meet any worker."""
    reader, writer = await asyncio.open_connection(HOST, port)
    body = urlencode({}) if method == "POST" else ""
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: localhost:8000\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
    )
    line = await reader.readline()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return int(line.split()[1])

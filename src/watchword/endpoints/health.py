"""Health: is the process alive, and should a balancer send it requests?

Alive asks nothing, so that a database that is away restarts no process. Ready says
which part is not, by name and no more: strangers read it too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from watchword.endpoints import answers

Look = Callable[[], Awaitable[Mapping[str, bool]]]
Answer = Callable[[Request], Awaitable[Response]]


async def live(request: Request) -> Response:
    """`GET {prefix}/health/live`: 200, as long as anything answers at all."""
    del request
    return answers.json({"status": "live"})


def ready(look: Look) -> Answer:
    """`GET {prefix}/health/ready`: 200 when everything holds, otherwise 503.

    Args:
        look: what must hold, by name.
    """

    async def answer(request: Request) -> Response:
        del request
        checks = dict(await look())
        if all(checks.values()):
            return answers.json({"status": "ready", "checks": checks})
        return answers.json({"status": "not ready", "checks": checks}, 503, {"Retry-After": "1"})

    return answer

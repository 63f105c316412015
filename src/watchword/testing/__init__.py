"""The pytest plugin: a server in memory, a clock to move, a signed-in client.

Every run of pytest loads it where Watchword is installed, so it imports nothing until a
fixture is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from watchword.testing.stage import Stage

__all__ = ["Clock"]


class Clock:
    """A clock that stands still until it is told to move.

    Args:
        start: Unix seconds.
    """

    def __init__(self, start: float) -> None:
        self._time = start

    def now(self) -> float:
        """Unix seconds."""
        return self._time

    __call__ = now

    def tick(self, by: str | float) -> float:
        """Move on, and say what time it is then.

        Args:
            by: `20m`, `12h`, `90d`, or seconds.

        Raises:
            ValueError: it is not a duration.
        """
        if isinstance(by, str):
            from watchword.settings import seconds  # noqa: PLC0415 - see the module's head

            self._time += float(str(seconds(by)))
        else:
            self._time += by
        return self._time


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the setting that names the app, in the configuration and on the command line."""
    what = "the app that auth_client and its siblings test, such as main:app"
    parser.addini("watchword_app", what, default="")
    parser.getgroup("watchword").addoption(
        "--watchword-app", default="", metavar="MODULE:NAME", help=what
    )


@pytest.fixture
def auth_clock() -> Clock:
    """The clock of the app's guards and server: starts now, moves only when told."""
    return Clock(time.time())  # noqa: TID251 - a test begins at the real time


@pytest.fixture
def auth_app(pytestconfig: pytest.Config) -> Any:
    """The app under test: the one that `watchword_app` names; override it to give another."""
    from watchword.testing.finding import app_at  # noqa: PLC0415

    named = pytestconfig.getoption("--watchword-app") or pytestconfig.getini("watchword_app")
    return app_at(str(named), pytestconfig.rootpath)


@pytest.fixture
def auth_stage(auth_app: Any, auth_clock: Clock) -> Iterator[Stage]:
    """The app on an empty store in memory, by `auth_clock`, without a network."""
    from watchword.testing.stage import Stage  # noqa: PLC0415

    with Stage(auth_app, auth_clock) as stage:
        yield stage


@pytest.fixture
def auth_client(auth_stage: Stage) -> Callable[..., Any]:
    """Makes signed-in clients: `auth_client("ada@example.com", scopes=["items:read"])`.

    See `Stage.client` for the arguments.
    """
    return auth_stage.client


@pytest.fixture
def auth_aclient(auth_stage: Stage) -> Callable[..., Any]:
    """Makes clients for async tests; each call is awaited. Else as `auth_client`."""
    return auth_stage.aclient


@pytest.fixture
def auth_headers(auth_stage: Stage) -> Callable[..., dict[str, str]]:
    """As `auth_client`, but only the headers, for a client of your own."""
    return auth_stage.headers

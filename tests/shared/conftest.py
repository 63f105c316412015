"""Connections to a real Valkey, closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from watchword.shared import Shared


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Shared]]:
    """Connects, with a deadline that a busy machine does not miss."""
    made: list[Shared] = []

    def connected(url: str, timeout: float = 5.0) -> Shared:
        made.append(Shared(url, timeout=timeout))
        return made[-1]

    yield connected
    for one in made:
        await one.aclose()

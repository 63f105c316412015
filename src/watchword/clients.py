"""Which clients there are: each is read once, and again when the log tells of a change.

Every request to the token endpoint names a client, and clients hardly ever change. The
log is asked at each look-up, so a secret that was rotated and a client that was disabled
or deleted are refused by every process from the moment that was acknowledged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from watchword.rules.clients import Client

_MOST = 4096
# Seconds that one is kept at most: the log forgets its entries after a day, so a process
# that slept for longer would not hear of them.
_LONGEST = 3600.0


class Clients:
    """The clients, by their id.

    Args:
        read: looks one up in the store.
        changes: how often clients have changed by now; None when nobody can tell, and
            then nothing that was kept is believed.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[Client | None]],
        changes: Callable[[], int | None],
    ) -> None:
        self._read = read
        self._changes = changes
        self._kept: dict[str, tuple[int, float, Client]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, client_id: str, now: float) -> Client | None:
        """The client of that id.

        Raises:
            Unavailable: it is not known here, and the store cannot be read.
        """
        changes = self._changes()
        if changes is None:
            return await self._read(client_id)
        kept = self._kept.get(client_id)
        if kept is not None and kept[0] == changes and 0 <= now - kept[1] < _LONGEST:
            return kept[2]
        # `changes` was told before the row is read: a change in between is read twice.
        found = await self._read(client_id)
        if found is None:
            self._kept.pop(client_id, None)  # and never kept: anybody can think of ids
            return None
        if len(self._kept) >= _MOST:
            self._kept = {}  # cheaper than books about who was asked for least
        self._kept[client_id] = changes, now, found
        return found

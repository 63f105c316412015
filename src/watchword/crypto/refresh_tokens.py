"""Refresh tokens on the wire: grant id, generation, secret part, MAC.

The secret part is random and the same for the whole chain; the store keeps half of
its SHA-256 only. The MAC binds id, generation, secret part and client, and is
checked before anything is looked up: garbage costs no statement, and knowing a
grant's id (it is in every access token) lets nobody advance or end the grant. So a
copy of the database yields no token, and neither does the server's secret alone;
yet whoever presents one generation can be answered with exactly its successor.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from watchword.crypto.secrets import Secret, derive

PREFIX = "wwr_"  # greppable, for scanners of leaked secrets
_ID, _GENERATION, _SECRET, _MAC = 16, 4, 16, 16
_LENGTH = _ID + _GENERATION + _SECRET + _MAC
LAST_GENERATION = 2**32 - 2


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token whose MAC is good: what it claims, the proof that the store compares,
    and the secret part that its successors share."""  # noqa: D205, D209

    grant_id: bytes
    generation: int
    proof: bytes
    client_id: str
    secret: bytes = field(repr=False)


class RefreshTokens:
    """Writes and reads them.

    Args:
        secrets: the server's secret, then the one before it; new tokens use the first.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [derive(secret, "refresh tokens") for secret in secrets]

    def first(self, grant_id: bytes, secret: bytes, client_id: str) -> tuple[Secret, bytes]:
        """Generation 0 of a new grant, and the proof to store; both arguments are 16 random
        bytes."""  # noqa: D205, D209
        return self._written(grant_id, 0, secret, client_id), _proof(secret)

    def successor(self, presented: Presented, generation: int) -> Secret:
        """The token of another generation of the same chain; equal input, equal token."""
        return self._written(presented.grant_id, generation, presented.secret, presented.client_id)

    def read(self, text: str, client_id: str) -> Presented | None:
        """What a presented token claims, or None when this server never wrote it for this
        client."""  # noqa: D205, D209
        raw = _decoded(text)
        if raw is None:
            return None
        body, mac = raw[:-_MAC], raw[-_MAC:]
        if not any(hmac.compare_digest(mac, _mac(key, body, client_id)) for key in self._keys):
            return None
        secret = body[-_SECRET:]
        generation = int.from_bytes(body[_ID : _ID + _GENERATION], "big")
        if generation > LAST_GENERATION:
            return None
        return Presented(body[:_ID], generation, _proof(secret), client_id, secret)

    def _written(self, grant_id: bytes, generation: int, secret: bytes, client_id: str) -> Secret:
        body = grant_id + generation.to_bytes(_GENERATION, "big") + secret
        raw = body + _mac(self._keys[0], body, client_id)
        return Secret(PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("="))


def _decoded(text: str) -> bytes | None:
    if not text.startswith(PREFIX):
        return None
    body = text.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    canonical = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return raw if len(raw) == _LENGTH and canonical == body else None


def _proof(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()[:16]


def _mac(key: bytes, body: bytes, client_id: str) -> bytes:
    return hmac.digest(key, body + client_id.encode(), "sha256")[:_MAC]

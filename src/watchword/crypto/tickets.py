"""Tickets on the wire: an end, a secret part, a MAC; and the token that one stands for, sealed.

A ticket is written into a URL, so it is worth little: it lives for seconds and is spent by
its first use. The end and the MAC are judged before anything is looked up, so what
strangers make up costs no statement. The store keeps a digest of the ticket, and the token
under a key that only the ticket gives: neither a copy of the database nor the server's
secret beside it opens anything.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from watchword.crypto.secrets import Secret, derive
from watchword.crypto.strict import Malformed, decode64, encode64

PREFIX = "wwt_"  # greppable; and what tells a ticket from an app's own parameter of that name
SECRET_LENGTH = 24  # bytes
_END, _MAC = 5, 16  # bytes; all together a multiple of three, so no bit of the text is spare
_LENGTH = _END + SECRET_LENGTH + _MAC
_NONCE = 12  # bytes; what AES-GCM is made for


class Tickets:
    """Writes and reads them.

    Args:
        secrets: the server's secret, then the one before it; new tickets use the first.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [derive(secret, "tickets") for secret in secrets]

    def new(self, secret: bytes, ends_at: float) -> Secret:
        """A ticket of that many random bytes, until then (Unix seconds)."""
        body = math.ceil(ends_at).to_bytes(_END, "big") + secret
        return Secret(PREFIX + encode64(body + _mac(self._keys[0], body)).decode())

    def may_open(self, text: str, now: float) -> bool:
        """Whether this server wrote it and its time is not over; whether it was used is not
        known here."""  # noqa: D205, D209
        try:
            raw = decode64(text.removeprefix(PREFIX).encode())
        except Malformed:
            return False
        if not text.startswith(PREFIX) or len(raw) != _LENGTH:
            return False
        body, mac = raw[:-_MAC], raw[-_MAC:]
        written = any(hmac.compare_digest(mac, _mac(key, body)) for key in self._keys)
        return written and now < int.from_bytes(body[:_END], "big")


def name(ticket: Secret) -> bytes:
    """What a store knows a ticket by."""
    return hashlib.sha256(ticket.clear.encode()).digest()


def sealed(token: str, ticket: Secret) -> str:
    """A token as a store may keep it: only who has the ticket can read it."""
    nonce = os.urandom(_NONCE)
    return encode64(nonce + _seal(ticket).encrypt(nonce, token.encode(), None)).decode()


def unsealed(text: str, ticket: Secret) -> Secret | None:
    """The token again; None when it was not sealed by this ticket."""
    try:
        raw = decode64(text.encode())
        return Secret(_seal(ticket).decrypt(raw[:_NONCE], raw[_NONCE:], None).decode())
    except (Malformed, InvalidTag, ValueError):
        return None


def _seal(ticket: Secret) -> AESGCM:
    return AESGCM(derive(ticket.clear, "what a ticket opens"))


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:_MAC]

"""Known devices on the wire: id, log position, end, MAC.

Somebody who knew the account's password has sat at a known device. That proves nothing
else and opens nothing: it only chooses the bucket in which the next attempts are counted.
The account is under the MAC and not in the text, so who reads it learns no name.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.crypto.secrets import Secret, derive
from watchword.crypto.strict import Malformed, decode64, encode64

_ID, _REV, _END, _MAC = 16, 8, 8, 16
_BODY = _ID + _REV + _END
_LENGTH = len(encode64(bytes(_BODY + _MAC)))


@dataclass(frozen=True, slots=True)
class Device:
    """A device that an account has signed in on.

    Attributes:
        id: 16 random bytes, the same for as long as the device is known.
        rev: the revocation log's position when it signed in last.
        until: Unix seconds at which it is forgotten, whole ones.
    """

    id: bytes
    rev: int
    until: int


class Devices:
    """Writes and reads them.

    Args:
        secrets: the server's secret, then the one before it; new ones use the first.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [derive(secret, "known devices") for secret in secrets]

    def written(self, device: Device, subject: str) -> Secret:
        """What a device carries from now on."""
        body = device.id + device.rev.to_bytes(_REV, "big") + device.until.to_bytes(_END, "big")
        return Secret(encode64(body + _mac(self._keys[0], body, subject)).decode())

    def read(self, text: str, subject: str, now: float) -> Device | None:
        """The device, or None when this server never wrote it for this account, or it is over."""
        if len(text) != _LENGTH or not text.isascii():
            return None
        try:
            raw = decode64(text.encode())
        except Malformed:
            return None
        body, mac = raw[:_BODY], raw[_BODY:]
        if not any(hmac.compare_digest(mac, _mac(key, body, subject)) for key in self._keys):
            return None
        rev, until = body[_ID : _ID + _REV], body[_ID + _REV :]
        device = Device(body[:_ID], int.from_bytes(rev, "big"), int.from_bytes(until, "big"))
        return device if now < device.until else None


def _mac(key: bytes, body: bytes, subject: str) -> bytes:
    return hmac.digest(key, body + subject.encode(), "sha256")[:_MAC]

"""How attempts to sign in are counted: by the place they come from, then by the person.

A person is counted by their subject, not by what was typed: an app's own users may take
many spellings for one person, and each would be a bucket of its own. A name that nobody
has is counted under the name, by the same limits, so that a refusal tells nothing.

On a device that the person has signed in on before, attempts are counted by the device
instead: strangers who use up a person's tries do not lock that person out (attack row L-05).
"""

from __future__ import annotations

from watchword.crypto.devices import Device
from watchword.crypto.secrets import Secret
from watchword.exchanges.bench import Bench, Caller
from watchword.rules.forwarded import address_key, wide_key
from watchword.rules.logins import folded
from watchword.seams import Account

Bucket = tuple[str, str]  # a policy and whom it counts


def from_place(ip: str) -> tuple[Bucket, ...]:
    """The buckets of where an attempt comes from, widest first; they are nobody's own."""
    address, site = address_key(ip), wide_key(ip)
    near = ("login_ip", address)
    return (near,) if site == address else (("login_wide", site), near)


def for_person(
    account: Account | None, typed: str, ip: str, device: Device | None = None
) -> tuple[Bucket, ...]:
    """The buckets of whom an attempt is for, which a login that succeeds fills up again."""
    if device is not None:
        return (("login_device", device.id.hex()),)
    # Two spaces of names: nobody can type what a subject is counted under.
    person = f"sub {account.sub}" if account is not None else f"name {folded(typed)}"
    return ("login_account", person), ("login_account_ip", f"{person}|{address_key(ip)}")


async def device_of(
    account: Account | None, caller: Caller, now: float, at: Bench
) -> Device | None:
    """The device that an attempt comes from, if this account has signed in on it.

    It is forgotten with every grant of the account: by a new password, by being disabled,
    by a logout everywhere.
    """
    if account is None or caller.device is None:
        return None
    device = at.devices.read(caller.device, account.sub, now)
    if device is None:
        return None
    stored = await at.store.user(account.sub)
    return device if stored is not None and stored.rev_seq <= device.rev else None


def known_from_now_on(
    account: Account, before: Device | None, rev: int, now: float, at: Bench
) -> Secret | None:
    """What the device of a login that succeeded shall carry; None where that is switched off.

    Args:
        account: who signed in.
        before: the device it was known as, and stays.
        rev: the log's position in the transaction that recorded the login.
        now: Unix seconds.
        at: the bench.
    """
    if not at.settings.known_devices:
        return None
    found = before.id if before is not None else at.fresh(16)
    device = Device(found, rev, int(now + at.settings.device_ttl))
    return at.devices.written(device, account.sub)

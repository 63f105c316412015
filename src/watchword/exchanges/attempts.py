"""How the attempts to sign in are counted: first by the place they come from, then by the person.

A person is counted by their subject, not by what was typed: an app's own users may take
many spellings for one person, and each would be a bucket of its own. A name that nobody
has is counted under the name, by the same limits, so that a refusal tells nothing.
"""

from __future__ import annotations

from watchword.rules.forwarded import address_key, wide_key
from watchword.rules.logins import folded
from watchword.seams import Account

Bucket = tuple[str, str]  # a policy and whom it counts


def from_place(ip: str) -> tuple[Bucket, ...]:
    """The buckets of where an attempt comes from, widest first; they are nobody's own."""
    address, site = address_key(ip), wide_key(ip)
    near = ("login_ip", address)
    return (near,) if site == address else (("login_wide", site), near)


def for_person(account: Account | None, typed: str, ip: str) -> tuple[Bucket, ...]:
    """The buckets of whom an attempt is for, which a login that succeeds fills up again."""
    # Two spaces of names: nobody can type what a subject is counted under.
    person = f"sub {account.sub}" if account is not None else f"name {folded(typed)}"
    return ("login_account", person), ("login_account_ip", f"{person}|{address_key(ip)}")

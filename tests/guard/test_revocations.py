"""What has been revoked, as a guard remembers it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from watchword.guard.revocations import GRACE, Revocations
from watchword.rules.access import AccessToken
from watchword.rules.revoking import key8
from watchword.rules.scopes import NONE
from watchword.seams import Revocation, Tail, Unavailable

TOKEN = AccessToken("u1", "app", NONE, "i", ("r",), 1e9, {}, jti="j1", fid="f1", rev=5)


class Log:
    def __init__(self) -> None:
        self.entries: list[Revocation] = []
        self.away = False

    def add(self, kind: str, name: str, *, expires_at: float = 1000.0) -> None:
        seq = 6 + len(self.entries)
        self.entries.append(Revocation(seq, kind, key8(kind, name), expires_at))

    def news(self, after: int, epoch: int) -> Tail | None:
        if self.away:
            raise Unavailable("away")
        new = tuple(entry for entry in self.entries if entry.seq > after)
        return Tail(1, new[-1].seq, new) if new else None


@pytest.mark.parametrize(
    ("kind", "name"), [("user", "u1"), ("client", "app"), ("grant", "f1"), ("jti", "j1")]
)
def test_each_level_ends_the_token(kind, name) -> None:
    log = Log()
    known = Revocations(log)
    known.catch_up(0)
    assert not known.refuse(TOKEN)
    log.add(kind, name)
    known.catch_up(0)
    assert known.refuse(TOKEN)
    assert not known.refuse(replace(TOKEN, sub="u2", client_id="b", fid="f2", jti="j2"))


def test_a_user_who_signs_in_again_is_let_in_and_a_dead_grant_never_is() -> None:
    log = Log()
    for kind, name in (("user", "u1"), ("grant", "f1")):
        log.add(kind, name)
    known = Revocations(log)
    known.catch_up(0)
    later = replace(TOKEN, rev=7, fid="f2")
    assert not known.refuse(later)
    assert known.refuse(replace(later, fid="f1"))
    assert known.refuse(replace(later, rev=None)), "a token that cannot say when is refused"
    assert known.refuse(replace(later, rev=5))


def test_a_newer_entry_of_the_same_user_outlives_the_older_one() -> None:
    log = Log()
    log.add("user", "u1", expires_at=10)
    log.add("user", "u1", expires_at=1000)
    known = Revocations(log)
    known.catch_up(0)
    log.add("config", "")
    known.catch_up(500 + GRACE)
    assert known.refuse(TOKEN) and known.config_changes == 1
    log.add("config", "")
    known.catch_up(1001 + GRACE)
    assert len(known) == 0 and not known.refuse(TOKEN)


def test_the_log_being_away_is_not_silence() -> None:
    log = Log()
    known = Revocations(log)
    log.away = True
    with pytest.raises(Unavailable):
        known.catch_up(0)

"""`watchword restored`: a backup does not know what was revoked after it was made."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest

from watchword import Auth
from watchword.guard.revocations import Revocations
from watchword.rules.access import AccessToken
from watchword.rules.scopes import NONE

OPTIONS = {
    "env": "production",
    "issuer": "https://id.example.com",
    "secret": "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A",
    "audit_routes": "off",
}


def test_it_says_what_will_happen_and_asks(run) -> None:
    run("migrate", "up")
    refused = run("restored", code=2)
    assert "signed out" in refused.stderr and "--yes" in refused.stderr
    assert "revoked anew" in run("restored", "--keep-sessions", code=2).stderr
    told = run.json("restored", "--yes")
    assert told["sessions_ended"] is True and told["epoch"] > 1 and told["seq"] > 2**20
    again = run.json("restored", "--yes", "--keep-sessions")
    assert again["sessions_ended"] is False
    assert (again["epoch"], again["seq"]) > (told["epoch"], told["seq"])


@pytest.mark.attack("Z-31")
@pytest.mark.parametrize("keep", [False, True])
def test_what_was_revoked_after_a_backup_is_refused_after_its_restore(run, keep) -> None:
    """One guard runs through all of it; another one begins when everything is over."""
    run("migrate", "up")
    run.user("ada", "--scope", "me")
    path = run.directory / "watchword.db"

    async def story() -> None:
        auth = Auth(database_url=f"sqlite:///{path}", **OPTIONS)
        await auth.start()
        rev = await auth.store.head()
        ada = (await auth.store.user_by_login("ada")).account
        with closing(sqlite3.connect(path)) as running:
            running.execute("VACUUM INTO 'backup.db'")
        await auth.revoke(user=ada)
        old = token(ada.sub, rev)
        assert auth.revocations.refuse(old)
        source, target = sqlite3.connect("backup.db"), sqlite3.connect(path)
        source.backup(target)  # as `.restore` does, under a server that runs
        source.close()
        target.close()
        auth.driver._poll_at = 0.0  # half a second later
        auth.revocations.catch_up(auth.now())
        assert auth.revocations.refuse(old), "whoever has heard of it forgets nothing"
        await asyncio.to_thread(run, "restored", "--yes", *(["--keep-sessions"] * keep))
        auth.revocations.catch_up(auth.now())
        assert auth.revocations.refuse(old)
        begun = Revocations(auth.store)
        begun.catch_up(auth.now())
        assert begun.refuse(old) is not keep, "only when it is said is a session kept"
        rev = await auth.store.head()
        assert not begun.refuse(token(ada.sub, rev)), "who signs in again is let in"
        assert not auth.revocations.refuse(token(ada.sub, rev))
        auth.close()

    asyncio.run(story())


def token(sub: str, rev: int) -> AccessToken:
    return AccessToken(sub, "watchword", NONE, "i", ("r",), 2e9, {}, rev=rev)

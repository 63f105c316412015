"""Two versions serve one database while processes are replaced, until the newer says no more."""

from __future__ import annotations

import asyncio
import time

import future
import httpx2
import pytest
from node import APP, SECRET, Node

from watchword import Auth
from watchword.seams import Account, StoredUser

STALE = 1.0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    else:
        url = f"sqlite:///{tmp_path}/w.db"
    asyncio.run(_with_a_user(url))
    return url


async def _with_a_user(url: str) -> None:
    auth = Auth(
        env="development", database_url=url, secret=SECRET, hash_memory_kib=64, hash_passes=1
    )
    await auth.start()
    account = Account("u_ada", "ada", scopes=("me", "items"))
    await auth.store.add_user(StoredUser(account, await auth.passwords.hash("secret")))
    await auth.stop()


@pytest.fixture
def node(url):
    return lambda app=APP: Node(url, app=app, max_stale=f"{STALE}s")


def login(at: Node) -> dict[str, str]:
    answer = httpx2.post(f"{at.url}/token", data={"username": "ada", "password": "secret"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refreshed(at: Node, tokens: dict[str, str]) -> dict[str, str]:
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = httpx2.post(f"{at.url}/token", data=form)
    assert answer.status_code == 200, answer.text
    return answer.json()


def bearer(tokens: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def guarded(at: Node, tokens: dict[str, str]) -> int:
    return httpx2.get(f"{at.url}/guarded", headers=bearer(tokens)).status_code


def revoke(at: Node, tokens: dict[str, str]) -> None:
    assert httpx2.post(f"{at.url}/revoke-token", headers=bearer(tokens)).status_code == 200


def both_serve(one: Node, other: Node, tokens: dict[str, str]) -> None:
    """Every flow, begun at either and gone on with at the other."""
    assert guarded(one, tokens) == guarded(other, tokens) == 200
    tokens = refreshed(one, refreshed(other, tokens))
    for here, there in ((one, other), (other, one)):
        fresh = login(here)
        assert guarded(there, fresh) == guarded(here, fresh) == 200
        revoke(there, fresh)
        until(lambda: guarded(here, fresh) == 401, STALE + 1)  # noqa: B023
    assert guarded(one, tokens) == guarded(other, tokens) == 200


def until(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.mark.attack("Z-22")
def test_two_versions_serve_together_until_the_older_may_not(url, node, tmp_path):
    newer = future.speaks(tmp_path, "9001") + APP
    with node() as old:
        tokens = login(old)
        future.watchword(tmp_path, url, "migrate up", "9001")
        assert guarded(old, tokens) == 200
        with node(newer) as new:
            both_serve(old, new, tokens)
            old.stop()
            old.start()  # a process that dies meanwhile comes up again
            assert "newer than this version's" in old.said()
            both_serve(new, old, login(new))

            tokens = login(old)
            future.watchword(tmp_path, url, "migrate up", "9001", "9002")
            until(lambda: guarded(old, tokens) == 503, STALE + 1)
            form = {"username": "ada", "password": "secret"}
            for refused in (
                httpx2.post(f"{old.url}/token", data=form),
                httpx2.post(f"{old.url}/revoke-token", headers=bearer(tokens)),
                httpx2.get(f"{old.url}/auth/health/ready"),
            ):
                assert refused.status_code == 503, refused.text
                assert int(refused.headers["Retry-After"]) > 0
            assert "replace this process" in old.said()
            assert httpx2.get(f"{old.url}/auth/health/live").status_code == 200

            assert guarded(new, tokens) == 200, "it speaks what the floor is"
            assert guarded(new, refreshed(new, tokens)) == 200
            old.kill()
            old.start(wait=False)
            until(lambda: old.process.poll() is not None, 40)
            assert "at revision 9002, which this version may not serve" in old.said()


@pytest.mark.attack("Z-22")
def test_an_upgrade_that_is_finished_ends_the_older_version(url, node, tmp_path):
    with node() as old:
        tokens = login(old)
        future.watchword(tmp_path, url, "migrate up", "9001")
        with node(future.speaks(tmp_path, "9001") + APP) as new:
            assert guarded(old, tokens) == guarded(new, tokens) == 200
            future.watchword(tmp_path, url, "migrate finish --yes", "9001")
            until(lambda: guarded(old, tokens) == 503, STALE + 1)
            assert guarded(new, tokens) == 200
            both_serve(new, new, login(new))

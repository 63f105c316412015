"""The built-in users: the right password, the same work for nobody, an upgrade on the way."""

from __future__ import annotations

from contextvars import copy_context
from dataclasses import asdict

import pytest

from watchword.crypto.passwords import Cost, Passwords
from watchword.errors import InvalidRequest
from watchword.seams import Account
from watchword.store.contract import NOW, a_user
from watchword.store.users import BuiltinUsers

CHEAP, DEARER = Cost(64, 1), Cost(128, 1)


@pytest.fixture
def passwords():
    made = [Passwords(cost, threads=1, patience=60.0) for cost in (CHEAP, DEARER)]
    yield made
    for each in made:
        each.close()


@pytest.fixture
def users(store, passwords) -> BuiltinUsers:
    return BuiltinUsers(store, passwords[0], lambda: NOW)


async def added(store, passwords, password="secret") -> Account:
    user = a_user(password=await passwords[0].hash(password))
    assert await store.add_user(user)
    return user.account


async def test_an_account_is_found_by_both_its_names(store, users, passwords):
    account = await added(store, passwords)
    assert await users.by_login(account.username.upper()) == account
    assert await users.by_subject(account.sub) == account
    assert await users.by_login("nobody") is None
    assert await users.by_subject("u_nobody") is None


class Counted:
    """A store whose look-ups of users are counted."""

    def __init__(self, store) -> None:
        self._store = store
        self.looks = 0

    def __getattr__(self, name: str):
        self.looks += name in ("user", "user_by_login")
        return getattr(self._store, name)


async def test_a_login_reads_its_user_once_and_what_it_read_is_used_once(store, passwords):
    known = await added(store, passwords)
    counted = Counted(store)
    users = BuiltinUsers(counted, passwords[0], lambda: NOW)
    for name, password, right in (
        (known.username, "secret", True),
        (known.username, "wrong", False),
        ("nobody", "secret", False),
    ):
        counted.looks = 0
        account = await users.by_login(name)
        assert await users.password_is(account, password) == right
        assert counted.looks == 1
    counted.looks = 0
    account = await users.by_login(known.username)
    assert await users.password_is(account, "secret")
    await store.set_password(account.sub, await passwords[0].hash("changed"), NOW)
    assert not await users.password_is(account, "secret"), "read anew"
    assert counted.looks == 2


async def test_what_was_read_of_one_user_is_never_used_for_another(store, users, passwords):
    mine = await added(store, passwords, "mine")
    theirs = await added(store, passwords, "theirs")
    found = await users.by_login(theirs.username)
    assert not await users.password_is(mine, "theirs")
    await users.by_login(theirs.username)
    assert await users.password_is(mine, "mine")
    await users.by_login(theirs.username)
    assert not await users.password_is(None, "theirs")
    await users.by_login("nobody")
    assert not await users.password_is(found, "mine")
    assert await users.password_is(found, "theirs")


@pytest.mark.attack("S-06")
async def test_an_account_carries_no_hash(store, users, passwords):
    await added(store, passwords)
    account = await users.by_login((await store.users())[0].username)
    assert "argon2" not in repr((account, asdict(account), copy_context().items()))


async def test_only_the_right_password_is(store, users, passwords):
    account = await added(store, passwords)
    assert await users.password_is(account, "secret")
    assert not await users.password_is(account, "Secret")
    assert not await users.password_is(None, "secret")
    assert not await users.password_is(Account("u_nobody", "nobody"), "secret")
    with pytest.raises(InvalidRequest):
        await users.password_is(account, "x" * 5000)


async def test_a_user_without_a_password_has_none_that_is_right(store, users):
    user = a_user(password=None)
    await store.add_user(user)
    assert not await users.password_is(user.account, "None")


async def test_a_hash_of_another_cost_is_replaced_by_the_right_password_only(store, passwords):
    account = await added(store, passwords)
    old = (await store.user(account.sub)).password
    users = BuiltinUsers(store, passwords[1], lambda: NOW)
    assert not await users.password_is(account, "wrong")
    assert (await store.user(account.sub)).password == old
    head = await store.head()
    assert await users.password_is(account, "secret")
    new = (await store.user(account.sub)).password
    assert "m=128" in new
    assert await store.head() == head  # nobody is signed out
    assert await users.password_is(account, "secret")
    assert (await store.user(account.sub)).password == new


async def test_a_password_changed_meanwhile_wins_over_the_upgrade(store, passwords):
    account = await added(store, passwords)

    class ChangesMeanwhile(Passwords):
        async def verify(self, stored, password):
            verdict = await super().verify(stored, password)
            await store.set_password(account.sub, "changed", NOW)
            return verdict

    slow = ChangesMeanwhile(DEARER, threads=1, patience=60.0)
    assert await BuiltinUsers(store, slow, lambda: NOW).password_is(account, "secret")
    assert (await store.user(account.sub)).password == "changed"
    slow.close()

"""What every Store must pass: one suite, run on ours and on any embedder's.

Inherit from `StoreContract`, provide an async fixture `store`, and pytest tells you
whether yours is safe. The races come first to mind, but most of the suite is the
plain meaning of each verb of `seams.Store`.
"""

# ruff: noqa: S101, S105, S106 - a test suite: its names say what it checks

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

from watchword.crypto.keys import StoredKey
from watchword.rules.clients import Client
from watchword.rules.refresh import FURTHEST_HEAL, RefreshToken
from watchword.rules.revoking import GRACE, key8
from watchword.rules.scopes import Scopes
from watchword.seams import (
    Account,
    NewGrant,
    Opened,
    Refused,
    Repeated,
    Reused,
    Revocation,
    Rotated,
    Store,
    StoredUser,
)

NOW = 1_800_000_000.0
WINDOW, IDLE, MOST = 30.0, 3600.0, 86_400.0
RACERS = 16
_numbers = itertools.count(1)


def a_user(name: str = "", **more: Any) -> StoredUser:
    """A user whose login nobody else has."""
    name = name or f"user{next(_numbers)}"
    password = more.pop("password", "a hash")
    return StoredUser(Account(f"u_{name}", name, created_at=NOW, **more), password)


def a_client(client_id: str = "", **more: Any) -> Client:
    """A public client whose id nobody else has."""
    client_id = client_id or f"client{next(_numbers)}"
    fields: dict[str, Any] = {
        "id": client_id,
        "name": "A client",
        "auth_method": "none",
        "grants": frozenset({"password", "refresh_token"}),
        "scopes": Scopes(("me",)),
        "created_at": NOW,
    }
    return Client(**(fields | more))


def a_key(alg: str, signs_from: float) -> StoredKey:
    """A row that looks like a signing key."""
    return StoredKey(f"{alg}{next(_numbers)}", alg, signs_from, None, b"sealed", "{}")


def token_of(new: NewGrant, generation: int = 0, **more: Any) -> RefreshToken:
    """One generation of a grant's refresh tokens, as read from the wire."""
    return replace(RefreshToken(new.id, generation, new.proof, new.client_id), **more)


async def a_grant(store: Store, **more: Any) -> NewGrant:
    """A living grant of a new user and a new client."""
    user, client = a_user(), a_client()
    assert await store.add_user(user)
    assert await store.add_client(client, NOW)
    return await another_grant(store, user.account.sub, client.id, **more)


async def another_grant(store: Store, user_id: str, client_id: str, **more: Any) -> NewGrant:
    """A living grant of those two."""
    new = NewGrant(
        id=next(_numbers).to_bytes(16),
        user_id=user_id,
        client_id=client_id,
        scopes=Scopes(("me", "items")),
        audience="https://api.example.com",
        proof=next(_numbers).to_bytes(16),
        auth_time=NOW,
        idle_until=NOW + IDLE,
        expires_at=NOW + MOST,
        looked_at=await store.head(),
        ip="192.0.2.1",
    )
    new = replace(new, **more)
    assert isinstance(await store.open_grant(new, NOW), Opened)
    return new


async def spend(
    store: Store, token: RefreshToken, now: float = NOW
) -> Rotated | Repeated | Reused | Refused:
    """Rotate with the suite's window and idle time."""
    return await store.rotate(token, now, window=WINDOW, idle=IDLE)


class _UsersAndClients:
    """Who is who."""

    async def test_a_user_is_found_by_login_and_by_subject(self, store: Store) -> None:
        user = a_user(email="a@example.com", name="A", scopes=Scopes(("me",)), roles=("r", "s"))
        user = replace(user, account=replace(user.account, claims={"tenant": "ü"}))
        assert await store.add_user(user)
        assert await store.user(user.account.sub) == user
        assert await store.user_by_login(user.account.username.upper()) == user
        assert await store.user("u_nobody") is None
        assert await store.user_by_login("nobody") is None
        assert user.account in await store.users(most=1000)

    async def test_users_come_in_pages_in_the_order_of_their_logins(self, store: Store) -> None:
        for name in ("page-c", "page-a", "page-b"):
            assert await store.add_user(a_user(name))
        first = await store.users(after="page-", most=2)
        assert [account.username for account in first] == ["page-a", "page-b"]
        rest = await store.users(after="page-b", most=1)
        assert [account.username for account in rest] == ["page-c"]

    async def test_a_login_is_given_once_however_many_ask(self, store: Store) -> None:
        name = f"wanted{next(_numbers)}"
        rivals = [
            StoredUser(replace(a_user(name).account, sub=f"u_{name}_{n}"), f"hash {n}")
            for n in range(RACERS)
        ]
        added = await asyncio.gather(*(store.add_user(user) for user in rivals))
        assert sum(added) == 1
        found = await store.user_by_login(name)
        assert found == rivals[added.index(True)]

    async def test_a_subject_is_noted_and_never_overwritten(self, store: Store) -> None:
        user = a_user()
        assert await store.add_user(user)
        await store.ensure_user(user.account.sub, NOW)
        assert await store.user(user.account.sub) == user
        await store.ensure_user("elsewhere|1", NOW)
        await store.ensure_user("elsewhere|1", NOW + 1)
        found = await store.user("elsewhere|1")
        assert found is not None
        assert found.password is None
        assert await store.revoke_user("elsewhere|1", NOW)

    async def test_a_user_says_when_everything_ended_last(self, store: Store) -> None:
        user = a_user()
        sub = user.account.sub
        assert await store.add_user(user)
        for end in (
            store.revoke_user(sub, NOW),
            store.set_password(sub, "changed", NOW),
            store.set_disabled(sub, NOW, disabled=True),
        ):
            assert await end
            for found in (await store.user(sub), await store.user_by_login(user.account.username)):
                assert found is not None
                assert found.rev_seq == await store.head()

    async def test_an_upgraded_hash_never_undoes_a_changed_password(self, store: Store) -> None:
        user = a_user(password="old")
        sub = user.account.sub
        assert await store.add_user(user)
        upgrades = [
            store.set_password(sub, f"upgraded {n}", NOW, instead_of="old") for n in range(RACERS)
        ]
        assert sum(await asyncio.gather(*upgrades)) == 1
        assert await store.set_password(sub, "changed", NOW)
        assert not await store.set_password(sub, "late", NOW, instead_of="old")
        found = await store.user(sub)
        assert found is not None
        assert found.password == "changed"
        assert not await store.set_password("u_nobody", "new", NOW)

    async def test_a_client_is_kept_as_it_was_given(self, store: Store) -> None:
        client = a_client(
            auth_method="client_secret",
            secrets=("one", "two"),
            scopes=Scopes(("a", "b")),
            resources=("https://a.example.com",),
            introspects=("https://b.example.com",),
        )
        assert await store.add_client(client, NOW)
        found = await store.client(client.id)
        assert found is not None
        assert replace(found, seen_rev=client.seen_rev) == client
        assert found.seen_rev == await store.head()
        assert client.id in [each.id for each in await store.clients()]
        assert await store.client("nobody") is None
        added = [store.add_client(client, NOW) for _ in range(RACERS)]
        assert not any(await asyncio.gather(*added))

    async def test_client_secrets_change_only_from_what_was_looked_at(self, store: Store) -> None:
        client = a_client(auth_method="client_secret", secrets=("old",))
        assert await store.add_client(client, NOW)
        changes = [
            store.set_client_secrets(client.id, (f"new{n}", "old"), NOW, instead_of=("old",))
            for n in range(RACERS)
        ]
        won = await asyncio.gather(*changes)
        assert sum(won) == 1
        found = await store.client(client.id)
        assert found is not None
        assert found.secrets == (f"new{won.index(True)}", "old")

    async def test_a_client_that_was_disabled_has_lost_its_grants(self, store: Store) -> None:
        new = await a_grant(store)
        for disabled in (True, False):
            racers = [
                store.set_client_disabled(new.client_id, NOW, disabled=disabled)
                for _ in range(RACERS)
            ]
            assert sum(await asyncio.gather(*racers)) == 1
            found = await store.client(new.client_id)
            assert found is not None
            assert found.disabled == disabled
            assert isinstance(await spend(store, token_of(new)), Refused)
        assert not await store.set_client_disabled("nobody", NOW, disabled=True)


class _Refreshing:
    """At most one refresh token of a grant works."""

    async def test_a_grant_is_kept_as_it_was_opened(self, store: Store) -> None:
        new = await a_grant(store)
        found = await store.grant(new.id)
        assert found is not None
        assert (found.user_id, found.client_id, found.proof) == (
            new.user_id, new.client_id, new.proof,
        )  # fmt: skip
        assert (found.scopes, found.audience) == (new.scopes, new.audience)
        assert (found.generation, found.rotated_at, found.created_at) == (0, NOW, NOW)
        assert (found.idle_until, found.expires_at) == (NOW + IDLE, NOW + MOST)
        assert found.lives(NOW)
        assert await store.grants_of(new.user_id) == [found]
        assert await store.grant(bytes(16)) is None

    async def test_the_newest_token_gives_way_to_the_next(self, store: Store) -> None:
        new = await a_grant(store)
        for generation in range(3):
            now = NOW + 100 * generation
            outcome = await spend(store, token_of(new, generation), now)
            assert isinstance(outcome, Rotated)
            assert outcome.grant.generation == generation + 1
            assert (outcome.grant.rotated_at, outcome.grant.idle_until) == (now, now + IDLE)
            assert outcome.grant.expires_at == NOW + MOST  # never moves
            assert outcome.rev == await store.head()
            assert outcome.healed == 0

    async def test_one_token_has_one_successor_however_many_ask(self, store: Store) -> None:
        new = await a_grant(store)
        asked = [spend(store, token_of(new)) for _ in range(RACERS)]
        outcomes = await asyncio.gather(*asked)
        assert sum(isinstance(outcome, Rotated) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, Repeated) for outcome in outcomes) == RACERS - 1
        found = await store.grant(new.id)
        assert found is not None
        assert found.generation == 1

    async def test_inside_the_window_the_same_successor_is_answered(self, store: Store) -> None:
        new = await a_grant(store)
        await spend(store, token_of(new))
        for late in (0, WINDOW / 2, WINDOW):  # repeating never extends the window
            outcome = await spend(store, token_of(new), NOW + late)
            assert isinstance(outcome, Repeated)
            assert (outcome.grant.generation, outcome.grant.rotated_at) == (1, NOW)
        assert isinstance(await spend(store, token_of(new), NOW + WINDOW + 1), Reused)

    async def test_a_second_use_ends_the_whole_grant(self, store: Store) -> None:
        new = await a_grant(store)
        await spend(store, token_of(new))
        head = await store.head()
        asked = [spend(store, token_of(new), NOW + WINDOW + 1) for _ in range(RACERS)]
        outcomes = await asyncio.gather(*asked)
        assert [o.first for o in outcomes if isinstance(o, Reused)].count(True) == 1
        assert all(isinstance(outcome, Reused | Refused) for outcome in outcomes)
        assert await store.head() == head + 1  # ended once
        found = await store.grant(new.id)
        assert found is not None
        assert found.revoked_seq == head + 1
        assert isinstance(await spend(store, token_of(new, 1), NOW + WINDOW + 1), Refused)

    async def test_a_grandparent_ends_the_grant_even_inside_the_window(self, store: Store) -> None:
        new = await a_grant(store)
        await spend(store, token_of(new))
        await spend(store, token_of(new, 1))
        assert isinstance(await spend(store, token_of(new)), Reused)

    async def test_a_clock_that_went_back_opens_no_window(self, store: Store) -> None:
        new = await a_grant(store)
        await spend(store, token_of(new), NOW + 600)
        assert isinstance(await spend(store, token_of(new), NOW), Reused)

    async def test_a_database_that_lost_its_tail_is_moved_forward(self, store: Store) -> None:
        new = await a_grant(store)
        outcome = await spend(store, token_of(new, 5))
        assert isinstance(outcome, Rotated)
        assert (outcome.grant.generation, outcome.healed) == (6, 5)
        assert isinstance(await spend(store, token_of(new, 5)), Repeated)
        assert isinstance(await spend(store, token_of(new, 3)), Reused)

    async def test_healing_has_an_end_and_one_winner(self, store: Store) -> None:
        new = await a_grant(store)
        assert isinstance(await spend(store, token_of(new, FURTHEST_HEAL + 1)), Refused)
        asked = [spend(store, token_of(new, FURTHEST_HEAL)) for _ in range(RACERS)]
        outcomes = await asyncio.gather(*asked)
        assert sum(isinstance(outcome, Rotated) for outcome in outcomes) == 1
        assert not any(isinstance(outcome, Reused) for outcome in outcomes)

    async def test_what_is_not_its_own_leaves_a_grant_as_it_was(self, store: Store) -> None:
        new = await a_grant(store)
        await spend(store, token_of(new))
        before = await store.grant(new.id)
        for generation in (0, 1, 7):
            for wrong in ({"proof": bytes(16)}, {"client_id": "another"}, {"grant_id": bytes(16)}):
                token = token_of(new, generation, **wrong)
                assert isinstance(await spend(store, token, NOW + 500), Refused)
        assert await store.grant(new.id) == before

    async def test_an_idle_or_expired_grant_rotates_no_more(self, store: Store) -> None:
        new = await a_grant(store)
        for late in (IDLE, MOST):
            assert isinstance(await spend(store, token_of(new), NOW + late), Refused)
        short = await a_grant(store, expires_at=NOW + 60)
        assert isinstance(await spend(store, token_of(short), NOW + 60), Refused)
        assert isinstance(await spend(store, token_of(short, 3), NOW + 60), Refused)

    async def test_a_grant_id_is_used_once(self, store: Store) -> None:
        new = await a_grant(store)
        assert isinstance(await store.open_grant(new, NOW), Refused)


class _Revoking:
    """A deliberate revocation is never undone."""

    async def _dead(self, store: Store, new: NewGrant, generation: int = 0) -> bool:
        found = await store.grant(new.id)
        assert found is not None
        refused = isinstance(await spend(store, token_of(new, generation)), Refused)
        ahead = isinstance(await spend(store, token_of(new, generation + 9)), Refused)
        assert refused == ahead == (not found.lives(NOW))
        return refused

    async def test_a_revoked_grant_stays_dead(self, store: Store) -> None:
        new = await a_grant(store)
        spared = await another_grant(store, new.user_id, new.client_id)
        ended = [store.revoke_grant(new.id, NOW) for _ in range(RACERS)]
        assert sum(await asyncio.gather(*ended)) == 1
        assert await self._dead(store, new)
        assert not await self._dead(store, spared)
        assert not await store.revoke_grant(bytes(16), NOW)

    async def test_a_revocation_beats_every_rotation_it_meets(self, store: Store) -> None:
        for _ in range(8):
            new = await a_grant(store)
            await asyncio.gather(
                spend(store, token_of(new)), store.revoke_grant(new.id, NOW),
                spend(store, token_of(new)), spend(store, token_of(new, 1)),
            )  # fmt: skip
            for generation in range(3):
                assert isinstance(await spend(store, token_of(new, generation)), Refused)

    async def test_signing_out_everywhere_ends_what_there_is_and_no_more(
        self, store: Store
    ) -> None:
        new = await a_grant(store)
        other = await a_grant(store)
        assert await store.revoke_user(new.user_id, NOW)
        assert await self._dead(store, new)
        again = await another_grant(store, new.user_id, new.client_id)  # in the same second
        assert not await self._dead(store, again)
        assert not await self._dead(store, other)
        assert not await store.revoke_user("u_nobody", NOW)

    async def test_a_login_that_began_before_the_sign_out_opens_nothing(self, store: Store) -> None:
        new = await a_grant(store)
        looked_at = await store.head()
        assert await store.revoke_user(new.user_id, NOW)
        late = replace(new, id=next(_numbers).to_bytes(16), looked_at=looked_at)
        assert isinstance(await store.open_grant(late, NOW), Refused)
        nobody = replace(late, user_id="u_nobody", looked_at=await store.head())
        assert isinstance(await store.open_grant(nobody, NOW), Refused)

    async def test_a_disabled_user_opens_and_rotates_nothing(self, store: Store) -> None:
        new = await a_grant(store)
        assert await store.set_disabled(new.user_id, NOW, disabled=True)
        assert not await store.set_disabled(new.user_id, NOW, disabled=True)
        assert await self._dead(store, new)
        next_one = replace(new, id=next(_numbers).to_bytes(16), looked_at=await store.head())
        assert isinstance(await store.open_grant(next_one, NOW), Refused)
        assert await store.set_disabled(new.user_id, NOW, disabled=False)
        assert await self._dead(store, new)  # enabling revives nothing
        again = await another_grant(store, new.user_id, new.client_id)
        assert not await self._dead(store, again)

    async def test_a_changed_password_ends_every_grant(self, store: Store) -> None:
        new = await a_grant(store)
        assert await store.set_password(new.user_id, "upgraded", NOW, instead_of="a hash")
        assert not await self._dead(store, new)
        fresh = await another_grant(store, new.user_id, new.client_id)
        assert await store.set_password(new.user_id, "changed", NOW)
        assert await self._dead(store, fresh)

    async def test_a_client_s_end_is_the_end_of_its_grants(self, store: Store) -> None:
        new = await a_grant(store)
        assert await store.revoke_client(new.client_id, NOW)
        assert await self._dead(store, new)
        again = await another_grant(store, new.user_id, new.client_id)
        assert not await self._dead(store, again)
        last = await another_grant(store, new.user_id, new.client_id)
        assert await store.remove_client(new.client_id, NOW)
        assert not await store.remove_client(new.client_id, NOW)
        assert not await store.revoke_client(new.client_id, NOW)
        assert await self._dead(store, last)
        # A namesake inherits nothing.
        assert await store.add_client(a_client(new.client_id), NOW)
        assert await self._dead(store, last)

    async def test_a_token_is_revoked_once(self, store: Store) -> None:
        jti = f"jti{next(_numbers)}"
        ended = [store.revoke_token(jti, NOW + 600, NOW) for _ in range(RACERS)]
        assert sum(await asyncio.gather(*ended)) == 1
        assert not await store.revoke_token("long dead", NOW - 10 * MOST, NOW)

    async def test_the_log_has_no_gaps_and_is_never_behind(self, store: Store) -> None:
        new = await a_grant(store)
        grants = [await another_grant(store, new.user_id, new.client_id) for _ in range(8)]
        before = await store.head()
        assert not await _news(store, before)
        verbs = [store.revoke_grant(grant.id, NOW) for grant in grants]
        verbs += [store.revoke_user(new.user_id, NOW), store.revoke_client(new.client_id, NOW)]
        assert all(await asyncio.gather(*verbs))
        entries = await _news(store, before)
        assert [entry.seq for entry in entries] == list(range(before + 1, before + 11))
        assert await store.head() == before + 10
        named = {(entry.kind, entry.key) for entry in entries}
        assert {("grant", key8("grant", grant.id.hex())) for grant in grants} <= named
        assert ("user", key8("user", new.user_id)) in named
        assert ("client", key8("client", new.client_id)) in named
        assert not await _news(store, before + 10)
        # A second reader that is further behind hears it too.
        assert [entry.seq for entry in await _news(store, before + 9)] == [before + 10]

    async def test_a_refusal_adds_nothing_to_the_log(self, store: Store) -> None:
        new = await a_grant(store)
        await store.revoke_grant(new.id, NOW)
        head = await store.head()
        await store.revoke_grant(new.id, NOW)
        await store.revoke_user("u_nobody", NOW)
        await store.revoke_client("nobody", NOW)
        await store.remove_client("nobody", NOW)
        await store.set_disabled(new.user_id, NOW, disabled=False)
        await spend(store, token_of(new), NOW + 500)
        assert await store.head() == head


class _Keeping:
    """Keys, and what is swept."""

    async def test_one_key_is_published_however_many_want_to(self, store: Store) -> None:
        head = await store.head()
        added = await asyncio.gather(*(
            store.add_key(
                a_key("ES256", NOW + n), unless_newer_than=NOW - 60, retire_at=NOW + 900, now=NOW
            )
            for n in range(RACERS)
        ))  # fmt: skip
        assert sum(added) == 1
        assert await store.head() == head + 1  # guards are told
        assert await store.add_key(
            a_key("RS256", NOW), unless_newer_than=NOW - 60, retire_at=NOW + 900, now=NOW
        )
        first = await store.keys()
        assert await store.add_key(
            a_key("ES256", NOW + 100), unless_newer_than=NOW + 99, retire_at=NOW + 900, now=NOW
        )
        ends = {key.kid: key.verifies_until for key in await store.keys()}
        assert {ends[key.kid] for key in first if key.alg == "ES256"} == {NOW + 900}
        assert {ends[key.kid] for key in first if key.alg == "RS256"} == {None}
        assert [key.signs_from for key in await store.keys()] == sorted(
            key.signs_from for key in await store.keys()
        )

    async def test_a_key_that_signs_at_once_takes_the_place_of_one_that_waits(
        self, store: Store
    ) -> None:
        always = {"unless_newer_than": float("inf"), "retire_at": NOW + 900, "now": NOW}
        active, waiting = a_key("ES256", NOW - 9), a_key("ES256", NOW + 360)
        assert await store.add_key(active, **(always | {"unless_newer_than": NOW}))
        assert await store.add_key(waiting, **(always | {"unless_newer_than": NOW}))
        assert await store.add_key(new := a_key("ES256", NOW), **always)
        ends = {key.kid: key.verifies_until for key in await store.keys()}
        assert ends == {active.kid: NOW + 900, waiting.kid: 0.0, new.kid: None}

    async def test_a_key_is_retired_only_where_another_signs(self, store: Store) -> None:
        keys = [a_key("ES256", NOW - 3), a_key("ES256", NOW - 2), a_key("RS256", NOW - 1)]
        for key in keys:
            assert await store.add_key(
                key, unless_newer_than=key.signs_from - 0.5, retire_at=NOW + 900, now=NOW
            )
        replaced, active, other = (key.kid for key in keys)
        head = await store.head()
        outright: dict[str, Any] = {"until": 0.0, "even_last": False}
        assert not await store.retire_key("nobody's", NOW, **outright)
        assert not await store.retire_key(active, NOW, **outright)  # what it replaced is no signer
        assert not await store.retire_key(other, NOW, **outright)
        assert not await store.retire_key(replaced, NOW, until=NOW + 901, even_last=False)
        assert await store.head() == head
        retired = await asyncio.gather(
            *(store.retire_key(replaced, NOW, **outright) for _ in range(RACERS))
        )
        assert sum(retired) == 1
        assert await store.head() == head + 1  # guards are told
        assert await store.retire_key(other, NOW, until=NOW + 5, even_last=True)
        ends = {key.kid: key.verifies_until for key in await store.keys()}
        assert ends == {replaced: 0.0, active: None, other: NOW + 5}

    async def test_a_key_is_sealed_anew_by_one_of_many(self, store: Store) -> None:
        key = a_key("ES256", NOW)
        assert await store.add_key(key, unless_newer_than=NOW, retire_at=NOW, now=NOW)
        head = await store.head()
        done = await asyncio.gather(*(
            store.reseal_key(key.kid, b"anew%d" % n, NOW, instead_of=key.sealed)
            for n in range(RACERS)
        ))  # fmt: skip
        assert sum(done) == 1
        winner = b"anew%d" % done.index(True)
        assert await store.keys() == [replace(key, sealed=winner)]
        assert not await store.reseal_key("nobody's", b"x", NOW, instead_of=winner)
        assert await store.head() == head  # it signs and verifies what it did

    async def test_a_sweep_takes_what_can_refuse_nothing_any_more(self, store: Store) -> None:
        new = await a_grant(store, expires_at=NOW + 60)
        kept = await a_grant(store)
        await spend(store, token_of(new))
        assert await store.revoke_token("swept", NOW + 600, NOW)
        await store.sweep(NOW + 61)  # the clock may have leapt: nothing goes at once
        assert await store.grant(new.id) is not None
        assert not await store.revoke_token("swept", NOW + 600, NOW)
        late = NOW + 61 + GRACE
        swept = await asyncio.gather(*(store.sweep(late, most=5) for _ in range(4)))
        assert sum(swept) >= 1
        assert await store.grant(new.id) is None
        assert await store.grant(kept.id) is not None
        assert await store.sweep(late) == 0


class _Once:
    """What works once: of however many ask, one gets it."""

    async def test_one_of_many_takes_it(self, store: Store) -> None:
        key = f"thing{next(_numbers)}".encode()
        await store.put_once("ticket", key, "payload", NOW + 30)
        assert await store.take_once("code", key, NOW) is None  # of another kind
        assert await store.take_once("ticket", key + b"!", NOW) is None
        asked = [store.take_once("ticket", key, NOW + 29) for _ in range(RACERS)]
        taken = [payload for payload in await asyncio.gather(*asked) if payload is not None]
        assert taken == ["payload"]

    async def test_after_its_time_nobody_takes_it(self, store: Store) -> None:
        key = f"thing{next(_numbers)}".encode()
        await store.put_once("ticket", key, "payload", NOW + 30)
        assert await store.take_once("ticket", key, NOW + 30) is None


class StoreContract(_UsersAndClients, _Refreshing, _Revoking, _Keeping, _Once):
    """Inherit, provide `store`, and pytest tells you whether yours is safe."""


async def _news(store: Any, after: int) -> list[Revocation]:
    """The log behind a number, where a store is one too; `seams.RevocationFeed`."""
    everything = await store.tail(0, 0)
    tail = await store.tail(after, everything.epoch)
    assert (tail.epoch, tail.seq) == (everything.epoch, everything.seq)
    return list(tail.entries)

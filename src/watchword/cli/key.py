"""`watchword key`: what signs, what is about to, and what still verifies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from watchword.cli.command import Group, clock, opened
from watchword.cli.output import NotFound, Output, Refused, confirm, facts, table, when
from watchword.crypto.jwk import ALGORITHMS
from watchword.crypto.keys import NEVER, Keyring, StoredKey

if TYPE_CHECKING:
    from watchword.cli.desk import Desk


@click.group(cls=Group)
def key() -> None:
    """List, rotate and retire the signing keys."""


@key.command("list")
@click.pass_obj
async def list_(out: Output) -> None:
    """List every key and its state: next, active, retiring or gone.

    Keys of the other mode (development or production) are unused.
    """
    async with opened() as at:
        keys = await at.store.keys()
    mine = at.ours(keys)
    ring = Keyring.of(mine, at.settings.secrets)
    states = {one.kid: ring.state(one, at.now) if one in mine else "unused" for one in keys}
    rows = [(one.kid, one.alg, states[one.kid], when(one.signs_from), _until(one)) for one in keys]
    out.result(
        [described(one, states[one.kid]) for one in keys],
        table(("KID", "ALG", "STATE", "SIGNS FROM", "VERIFIES UNTIL"), rows),
    )
    if not keys:
        out.note("There are none yet: the server makes them when it starts.")


@key.command()
@click.option("--alg", type=click.Choice(sorted(ALGORITHMS)), help="Default: the access token's.")
@click.option("--now", "at_once", is_flag=True, help="Sign with it at once, not in six minutes.")
@click.pass_obj
async def rotate(out: Output, *, alg: str | None, at_once: bool) -> None:
    """Publish a successor, which signs once every guard has had time to see it."""
    async with opened() as at:
        signing = at.signing
        made = await signing.rotate(
            alg or at.settings.access_token_alg, at_once=at_once, even_if_young=True
        )
        if made is None:
            raise Refused(
                "A successor is published already and has not begun to sign.",
                fix="wait for it, or replace it too: watchword key rotate --now",
            )
    state = signing.ring.state(made, clock())  # later than `at.now`: keys take time to make
    value = described(made, state)
    out.result(value, facts({**value, "signs_from": when(made.signs_from)}))
    out.note("Running servers take it up by themselves; older keys verify on for a while.")


@key.command()
@click.argument("kid")
@click.option("--now", "at_once", is_flag=True, help="What it signed is refused at once: a leak.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
async def retire(out: Output, *, kid: str, at_once: bool, yes: bool) -> None:
    """Take the key KID out of use; where no other signs, a new one does at once.

    With --now every access token that it signed dies, in all running processes of this
    machine. Refresh tokens live on: they are not signed by it.
    """
    async with opened() as at:
        found = await _found(at, kid)
        if at_once:
            confirm(f"Every access token that {kid} signed will be refused at once.", yes=yes)
        changed = await at.signing.retire(found, at_once=at_once)
        kept = at.ours(await at.store.keys())
        found = next((one for one in kept if one.kid == kid), found)
    ring, now = Keyring.of(kept, at.settings.secrets), clock()
    value = {**described(found, ring.state(found, now)), "changed": changed}
    signer = next(
        (one for one in kept if one.alg == found.alg and ring.state(one, now) == "active"), None
    )
    value["signer"] = None if signer is None else signer.kid
    shown = {**value, "signs_from": when(found.signs_from), "verifies_until": _until(found)}
    out.result(value, facts(shown))
    if at_once:
        out.note("Guards on other machines cache the key set; they refuse it within five minutes.")


async def _found(at: Desk, kid: str) -> StoredKey:
    keys = await at.store.keys()
    for one in at.ours(keys):
        if one.kid == kid:
            return one
    if any(one.kid == kid for one in keys):
        raise Refused(
            f"{kid} is a key of the other mode; {at.settings.env} does not use it.",
            fix="to retire one of development: WATCHWORD_ENV=development watchword key retire KID",
        )
    raise NotFound(f"There is no key {kid!r}.", fix="watchword key list")


def _until(key: StoredKey) -> str | None:
    """An instant as people write it; a key that was taken out at once has none."""
    return "withdrawn" if key.verifies_until == NEVER else when(key.verifies_until)


def described(key: StoredKey, state: str) -> dict[str, Any]:
    """A key as JSON, without its private half."""
    return {
        "kid": key.kid,
        "alg": key.alg,
        "state": state,
        "signs_from": key.signs_from,
        "verifies_until": key.verifies_until,
    }

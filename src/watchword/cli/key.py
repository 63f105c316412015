"""`watchword key`: what signs, what is about to, and what still verifies."""

from __future__ import annotations

from typing import Any

import click

from watchword.cli.command import Group
from watchword.cli.desk import clock, opened
from watchword.cli.output import Output, Refused, facts, table, when
from watchword.crypto.jwk import ALGORITHMS
from watchword.crypto.keys import Keyring, StoredKey
from watchword.signing import ours


@click.group(cls=Group)
def key() -> None:
    """List and rotate the signing keys."""


@key.command("list")
@click.pass_obj
async def list_(out: Output) -> None:
    """List every key and its state: next, active, retiring or gone.

    Keys of the other mode (development or production) are unused.
    """
    async with opened() as at:
        keys = await at.store.keys()
    mine = ours(keys, at.settings)
    ring = Keyring.of(mine, at.settings.secrets)
    states = {one.kid: ring.state(one, at.now) if one in mine else "unused" for one in keys}
    rows = [
        (one.kid, one.alg, states[one.kid], when(one.signs_from), when(one.verifies_until))
        for one in keys
    ]
    out.result(
        [described(one, states[one.kid]) for one in keys],
        table(("KID", "ALG", "STATE", "SIGNS FROM", "VERIFIES UNTIL"), rows),
    )
    if not keys:
        out.note("There are none yet: the server makes them when it starts.")


@key.command()
@click.option("--alg", type=click.Choice(sorted(ALGORITHMS)), help="Default: the access token's.")
@click.option("--now", "at_once", is_flag=True, help="Sign with it at once, as after a leak.")
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
                fix="watchword key list",
            )
    state = signing.ring.state(made, clock())  # later than `at.now`: keys take time to make
    value = described(made, state)
    out.result(value, facts({**value, "signs_from": when(made.signs_from)}))
    out.note("Running servers take it up by themselves; older keys verify on for a while.")


def described(key: StoredKey, state: str) -> dict[str, Any]:
    """A key as JSON, without its private half."""
    return {
        "kid": key.kid,
        "alg": key.alg,
        "state": state,
        "signs_from": key.signs_from,
        "verifies_until": key.verifies_until,
    }

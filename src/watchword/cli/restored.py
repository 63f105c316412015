"""`watchword restored`: what to say after the database went back in time."""

from __future__ import annotations

import click

from watchword.cli.command import Command, opened
from watchword.cli.output import Output, confirm, facts

_ENDS = "Everybody is signed out and every token given so far ends, at once."
_KEEPS = (
    "Whatever was revoked after the backup was made lives again, until it is revoked anew; "
    "whoever was disabled after it is enabled."
)


@click.command(cls=Command)
@click.option(
    "--keep-sessions",
    is_flag=True,
    help="End nothing: nothing was revoked since, or all of it will be revoked anew.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_obj
async def restored(out: Output, *, keep_sessions: bool, yes: bool) -> None:
    """Say that the database was restored from a backup, or lost its newest commits.

    Run it before the servers start on it. It begins a new epoch of the revocation log, so
    that guards read it from its beginning and no number of it means two things, and ends
    every session: the backup does not know what was revoked after it was made.
    """
    confirm(_KEEPS if keep_sessions else _ENDS, yes=yes)
    async with opened() as at:
        epoch, seq = await at.store.bump_epoch(at.now, end_everything=not keep_sessions)
    value = {"epoch": epoch, "seq": seq, "sessions_ended": not keep_sessions}
    out.result(value, facts(value))

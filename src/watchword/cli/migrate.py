"""`watchword migrate`: the database's schema, decided upon by a person."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import click

from watchword.cli.apps import settings_in_force
from watchword.cli.command import Command, clock
from watchword.cli.output import Exit, NotFound, Output, confirm, facts
from watchword.settings import Settings
from watchword.store import floor, schema
from watchword.store.databases import driver_of
from watchword.store.schema import HEAD, Schema
from watchword.store.sqlite import Sqlite

_TOLD = {
    Schema.EMPTY: "not made yet; `watchword migrate up` or the first start makes it",
    Schema.BEHIND: "older than this version needs; back it up, then: watchword migrate up",
    Schema.CURRENT: "what this version needs",
    Schema.AHEAD: "newer than this version, which may serve it still: finish the upgrade",
    Schema.BEYOND: "newer than this version may serve; run the newer version",
}


@click.command(cls=Command)
@click.argument(
    "what",
    type=click.Choice(["up", "finish", "status", "check"]),
    default="status",
    metavar="[WHAT]",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_context
def migrate(ctx: click.Context, *, what: str, yes: bool) -> None:
    """WHAT is status (the default), check, up or finish.

    check exits with 1 unless this version may serve. up brings the schema to what this
    version needs; processes of the version before go on serving, unless the notes on the
    release say otherwise. finish says that all of them have been replaced: from then on
    older processes refuse whatever they are asked, and there is no way back to them.
    """
    out: Output = ctx.obj
    settings = settings_in_force()
    if what == "up":
        _up(settings)
    if what == "finish":
        confirm("Older processes will refuse whatever they are asked.", yes=yes)
        _finish(settings)
    standing, revision = _standing(settings, must_exist=what == "check")
    value = {
        "database": settings.database_shown,
        "schema": standing.value,
        "revision": revision,
        "needed": HEAD,
    }
    out.result(value, facts({**value, "schema": f"{standing.value}: {_TOLD[standing]}"}))
    if what == "check" and not standing.serves:
        ctx.exit(Exit.FAILED)


def _up(settings: Settings) -> None:
    driver = driver_of(settings.database_url)
    try:
        schema.prepare(driver, upgrade=True)
    finally:
        driver.close()


def _finish(settings: Settings) -> None:
    driver = driver_of(settings.database_url)
    try:
        schema.prepare(driver, upgrade=False)
        driver.write_now(floor.raised(HEAD, clock()))
    finally:
        driver.close()


def _standing(settings: Settings, *, must_exist: bool) -> tuple[Schema, str | None]:
    """Read only: asking must not make an empty database."""
    driver = driver_of(settings.database_url)
    if isinstance(driver, Sqlite):
        return _standing_on_file(Path(driver.path), must_exist=must_exist)
    from watchword.store import server_schema  # noqa: PLC0415 - its driver may be missing

    found = server_schema.look(driver)
    if must_exist and found[0] is Schema.EMPTY:
        raise NotFound(
            f"There are no tables in {settings.database_shown}.", fix="watchword migrate up"
        )
    return found


def _standing_on_file(path: Path, *, must_exist: bool) -> tuple[Schema, str | None]:
    if not path.is_file():
        if must_exist:
            raise NotFound(f"There is no database at {path}.", fix="watchword migrate up")
        return Schema.EMPTY, None
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        return schema.standing(connection)
    finally:
        connection.close()

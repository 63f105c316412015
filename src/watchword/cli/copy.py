"""`watchword copy`: from SQLite to PostgreSQL when one machine is too small, and back."""

from __future__ import annotations

import os

import click

from watchword.cli.command import Command
from watchword.cli.output import Failure, Output, confirm, facts
from watchword.errors import ConfigError
from watchword.settings.kinds import without_passwords


@click.command(cls=Command)
@click.argument("origin", metavar="SOURCE")
@click.argument("destination", metavar="TARGET")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def copy(out: Output, origin: str, destination: str, *, yes: bool) -> None:
    """Copy everything in SOURCE into TARGET, an empty database.

    Both are URLs, sqlite:///path or postgresql://user@host/name, or env:NAME for one that
    stands in a variable. Passwords belong there, into PGPASSWORD or into ~/.pgpass.
    What is issued stays valid: serve from TARGET with the same secret and issuer.
    While it runs SOURCE takes no writes; afterwards it is as it was. A copy that was
    broken off goes on when it is run again.
    """
    source, target = _url(origin), _url(destination)
    confirm(f"This copies {without_passwords(source)} into {without_passwords(target)}.", yes=yes)
    from rich.console import Console  # noqa: PLC0415 - the drivers and rich are only for this
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from watchword.store.copying import Differs  # noqa: PLC0415
    from watchword.store.copying import copy as copied  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    quiet = out.json or out.quiet
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        bars: dict[str, int] = {}

        def tell(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name.removeprefix("watchword_"), total=total)
            progress.update(bars[name], completed=done)  # type: ignore[arg-type]

        try:
            counts = copied(source, target, tell)
        except Differs as error:
            raise Failure("The copy is not what it was made of.", why=str(error)) from error
        except SQLAlchemyError as error:
            why = str(getattr(error, "orig", error)).strip().split("\n", 1)[0]
            raise Failure("The copy broke off.", why=why, fix="run it again to go on") from error
    counts = {name.removeprefix("watchword_"): count for name, count in counts.items()}
    out.result(counts, facts(counts))
    out.note("Done; every row arrived. Now serve from the target with the same secret and issuer.")


def _url(given: str) -> str:
    if given.startswith("env:"):
        name = given.removeprefix("env:")
        if name not in os.environ:
            raise ConfigError(f"There is no variable {name}.")
        return os.environ[name]
    if without_passwords(given) != given:
        raise ConfigError(
            "The URL holds a password.",
            why="everybody on this machine can read the arguments of a command",
            fix="put it into PGPASSWORD or ~/.pgpass, or the whole URL into a variable: env:NAME",
        )
    return given

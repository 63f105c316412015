"""What every command has: its options, a desk to work at, and errors that become exit codes.

It is loaded for help and completion too, so what a desk is made of is imported when a
command sits down at it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import click

from watchword.cli.output import Failure, Misconfigured, Output, Refused
from watchword.errors import ConfigError, OAuthError, WatchwordError

if TYPE_CHECKING:
    from watchword.cli.desk import Desk

clock: Callable[[], float] = time.time  # noqa: TID251 - a command is its own composition root
_CONFIG = "WATCHWORD_CONFIG"
_SENTENCE = 200  # characters; enough for any
_APP = "watchword.app"  # in the context: the app named by `--app`


class Command(click.Command):
    """A command whose function may be async; it is given an `Output` by `click.pass_obj`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, for scripts."),
            click.Option(
                ["--config"],
                type=click.Path(exists=True, dir_okay=False),
                metavar="FILE",
                help="Read this instead of ./watchword.toml.",
            ),
            click.Option(
                ["--app", "target"],
                metavar="MODULE:NAME",
                help="The app, as main:app; by default that of `app` in watchword.toml.",
            ),
            click.Option(["--quiet", "-q"], is_flag=True, help="Print results only."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the function and end with the right code."""
        out = Output(json=ctx.params.pop("as_json"), quiet=ctx.params.pop("quiet"))
        config = ctx.params.pop("config")
        ctx.obj = out
        if config is not None:
            # Not only for this process: workers and reloaders inherit it.
            ctx.with_resource(environment(**{_CONFIG: config}))
        ctx.meta[_APP] = ctx.params.pop("target")
        try:
            result = super().invoke(ctx)
            return asyncio.run(result) if inspect.iscoroutine(result) else result
        except Failure as failure:
            failure.as_json = out.json
            raise
        except (WatchwordError, sqlite3.Error) as error:
            told = _failure(error)
            told.as_json = out.json
            raise told from error


class Group(click.Group):
    """A noun: its commands are verbs."""

    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each verb with its whole first sentence; click would cut it short."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, verb.get_short_help_str(_SENTENCE)) for name, verb in self.commands.items()]
            )


def opened() -> AbstractAsyncContextManager[Desk]:
    """The desk of this command, open until the block ends; see `cli/desk.py`."""
    from watchword.cli import desk  # noqa: PLC0415

    return desk.opened(named_app())


def named_app() -> str | None:
    """The app that this command is about: by `--app`, or by `app` in `watchword.toml`.

    Raises:
        ConfigError: the file cannot be read, or its `app` is no text.
    """
    from watchword import settings  # noqa: PLC0415

    return given_app() or settings.app()


def given_app() -> str | None:
    """The app that `--app` names."""
    given: str | None = click.get_current_context().meta[_APP]
    return given


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of this process, for its children too, and put them back."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _failure(error: Exception) -> Failure:
    match error:
        case ConfigError():
            return Misconfigured(error.what, why=error.why, fix=error.fix)
        case OAuthError():
            return Refused(error.why)
    return Failure("The database cannot be used now.", why=str(error), fix="watchword doctor")

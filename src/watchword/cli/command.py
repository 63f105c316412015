"""What every command has: `--json`, `--config`, `--quiet`, and errors that become exit codes."""

from __future__ import annotations

import asyncio
import inspect
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from watchword.cli.output import Failure, Misconfigured, Output, Refused
from watchword.errors import ConfigError, OAuthError, WatchwordError

_CONFIG = "WATCHWORD_CONFIG"


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

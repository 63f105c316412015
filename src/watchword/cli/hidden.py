"""Secrets on their way in: never as an argument, which every process list shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from watchword.cli.output import Failure, NotFound, Refused
from watchword.crypto.passwords import normalised

SHORTEST = 8  # characters; NIST SP 800-63B-4 section 3.1.1.2, beside a second factor
_SOURCES = "Give --password-stdin, --password @FILE or --password env:NAME."


def sourced(source: str, what: str) -> str:
    """The secret in `@FILE`, `env:NAME` or, for `-`, the first line of stdin.

    Raises:
        UsageError: it is written on the command line itself; it is not repeated.
        NotFound: no such file or variable.
    """
    if source == "-":
        return sys.stdin.readline().rstrip("\r\n")
    if source.startswith("@"):
        try:
            return Path(source[1:]).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise NotFound(f"{source[1:]} cannot be read.", why=str(error.strerror)) from None
        except UnicodeDecodeError:
            raise Failure(f"{source[1:]} is not UTF-8 text.") from None
    if source.startswith("env:"):
        name = source[4:]
        if name not in os.environ:
            raise NotFound(f"There is no variable {name}.", fix=f"export {name}")
        return os.environ[name]
    raise click.UsageError(
        f"The {what} must not stand on the command line: every user of this machine can "
        f"list the arguments of running programs. {_SOURCES}"
    )


def new_password(source: str | None, *, stdin: bool, development: bool) -> str:
    """A new password, from where the options say or a hidden prompt.

    Raises:
        UsageError: no source was named and there is no terminal to ask on.
        Refused: shorter than `SHORTEST`, except in development.
        InvalidRequest: nobody could sign in with it.
    """
    if stdin and source is not None:
        raise click.UsageError("--password-stdin and --password are two sources.")
    if stdin or source is not None:
        password = sourced("-" if stdin else source or "", "password")
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise click.UsageError(f"A password is needed, and there is no terminal. {_SOURCES}")
    length = len(normalised(password).decode())
    if length < SHORTEST and not development:
        raise Refused(
            f"The password is shorter than {SHORTEST} characters.",
            why="short ones are found by trying; the limits only slow that down",
            fix="a few words are easy to type and hard to guess",
        )
    return password

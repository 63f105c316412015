"""Apps by their import string, as `main:app`."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from watchword.cli.command import named_app
from watchword.cli.output import Failure, NotFound

if TYPE_CHECKING:
    from fastapi import FastAPI

    from watchword.auth import Auth
    from watchword.settings import Settings


def loaded(target: str) -> FastAPI:
    """The app that `module:attribute` names, looked for from the working directory.

    The attribute may be a function without parameters that makes the app.

    Raises:
        UsageError: it is not of that form.
        NotFound: there is no such module or attribute.
        Failure: it cannot be imported, or it is no FastAPI app.
    """
    from fastapi import FastAPI  # noqa: PLC0415 - half a second, and only some commands need it

    named = found = _named(target)
    if not isinstance(named, FastAPI) and callable(named):
        found = named()
    if not isinstance(found, FastAPI):
        raise Failure(f"{target} is no FastAPI app but a {type(found).__name__}.")
    return found


def is_factory(target: str) -> bool:
    """Whether `target` names a function that makes the app, not the app."""
    from fastapi import FastAPI  # noqa: PLC0415

    return not isinstance(_named(target), FastAPI)


def auth_of(app: FastAPI) -> Auth | None:
    """The `Auth` mounted on an app, if there is one."""
    found: Auth | None = getattr(app.state, "watchword", None)
    return found


def auth_in(target: str) -> Auth:
    """The `Auth` of the app that `target` names.

    Raises:
        Failure: it has none. And what `loaded` raises.
    """
    found = auth_of(loaded(target))
    if found is None:
        raise Failure(
            f"{target} has no Auth.",
            why="no database and no settings of Watchword's belong to it",
            fix="auth = Auth(app), or leave out --app, and `app` in watchword.toml",
        )
    return found


def settings_in_force() -> Settings:
    """The settings of the app that this command is about, keywords and all; without an app
    those of variables and files.

    Raises:
        ConfigError: they cannot be worked with.
    """  # noqa: D205
    from watchword import settings  # noqa: PLC0415

    target = named_app()
    return settings.load() if target is None else auth_in(target).settings


def _named(target: str) -> Any:
    module_name, colon, attributes = target.partition(":")
    if not colon or not module_name or not attributes:
        raise click.UsageError(f"{target!r} is not of the form main:app.")
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - sys.path holds text
        sys.path.insert(0, here)
    found: Any = _module(module_name)
    try:
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except AttributeError:
        raise _no_attribute(module_name, attributes) from None
    return found


def _no_attribute(module_name: str, attributes: str) -> NotFound:
    from fastapi import FastAPI  # noqa: PLC0415

    module = import_module(module_name)
    apps = [name for name, value in vars(module).items() if isinstance(value, FastAPI)]
    if apps:
        why = f"{module.__file__} has {' and '.join(apps)}"
        fix = f"--app {module_name}:{apps[0]}"
    else:
        why = f"{module.__file__} has no FastAPI app at its top level"
        fix = f"name the app, or a function that makes it: --app {module_name}:create_app"
    return NotFound(f"The module {module_name} has no {attributes!r}.", why=why, fix=fix)


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise NotFound(
                f"There is no module {name}.",
                why=f"it was looked for in {os.getcwd()} and where packages are",  # noqa: PTH109
                fix="run the command in the directory of the app",
            ) from None
        raise Failure(
            f"The module {name} cannot be imported.",
            why=str(error),
            fix=f"pip install {error.name}",
        ) from error

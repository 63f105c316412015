"""Where settings come from besides keywords and variables: named files, `.env`, toml."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic_settings import (
    PydanticBaseSettingsSource,
)

from watchword.errors import ConfigError

PREFIX = "WATCHWORD_"
CONFIG = "WATCHWORD_CONFIG"  # names the toml file


class NamedFiles(PydanticBaseSettingsSource):
    """`WATCHWORD_SECRET_FILE=/run/secrets/x`: how containers hand secrets over."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """One setting's file, read."""
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except OSError as error:
            raise ConfigError(
                f"{PREFIX}{field_name.upper()}_FILE names a file that cannot be read.",
                why=str(error.strerror),
                fix="give the user who runs the server read access to it",
            ) from error
        except UnicodeDecodeError:  # whose text would show the bytes
            raise ConfigError(
                f"{PREFIX}{field_name.upper()}_FILE names a file that is not text.",
                fix="write the value into it as UTF-8",
            ) from None

    def __call__(self) -> dict[str, Any]:
        """What this source says."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                found[name] = value
        return found


class DotEnv(NamedFiles):
    """The `WATCHWORD_*` lines of `.env`, which is what `watchword init` writes."""

    def __call__(self) -> dict[str, Any]:
        """What this source says."""
        from dotenv import dotenv_values  # noqa: PLC0415 - only where there is a file

        if not Path(".env").is_file():
            return {}
        return {
            name.removeprefix(PREFIX).lower(): value
            for name, value in dotenv_values(".env").items()
            if name.startswith(PREFIX) and value is not None and name != CONFIG
        }


class Toml(NamedFiles):
    """`watchword.toml`, without what is for the command line: the tables that describe a
    server without an app, and the name of the app."""  # noqa: D205, D209

    def __call__(self) -> dict[str, Any]:
        """What this source says."""
        apart = (*_TABLES, _APP)
        return {name: value for name, value in _toml().items() if name not in apart}


_TABLES = ("scopes", "roles")  # what `Auth(...)` takes as keywords of its own
_APP = "app"


def app() -> str | None:
    """The `app` of `watchword.toml`: whose `Auth` the commands are about.

    Raises:
        ConfigError: it is no text, or the file is not TOML.
    """
    named = _toml().get(_APP)
    if named is not None and (not isinstance(named, str) or ":" not in named):
        raise ConfigError(
            "app is not the name of an app.",
            why=f"{_toml_path()} gives it as {named!r}",
            fix='app = "main:app"',
        )
    return named


def tables() -> dict[str, dict[str, Any]]:
    """The `[scopes]` and `[roles]` of `watchword.toml`, for a server without an app.

    Raises:
        ConfigError: one of them is not a table, or the file is not TOML.
    """
    document = _toml()
    found = {name: document.get(name, {}) for name in _TABLES}
    for name, table in found.items():
        if not isinstance(table, dict):
            raise ConfigError(
                f"[{name}] is not a table.",
                why=f"{_toml_path()} gives {name} a single value",
                fix='[scopes]\n"items:read" = "See your items"',
            )
    return found


def _toml_path() -> Path:
    return Path(os.environ.get(CONFIG, "watchword.toml"))


def _toml() -> dict[str, Any]:
    path = _toml_path()
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if CONFIG not in os.environ:
            return {}
        raise ConfigError(
            f"{CONFIG} names a file that is not there.", why=str(path), fix="watchword init"
        ) from None
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(
            f"{path} cannot be read.", why=str(error), fix="see docs/settings.md"
        ) from None

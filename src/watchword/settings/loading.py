"""Reading the settings, refusing what is misspelt, filling in what development needs."""

from __future__ import annotations

import difflib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from watchword.errors import ConfigError
from watchword.settings.checks import checked, is_loopback
from watchword.settings.fields import Settings
from watchword.settings.sources import CONFIG, PREFIX


def load(**keywords: Any) -> Settings:
    """Read the settings and check that they can be served with.

    Raises:
        ConfigError: an unknown name, a value that is not of its form, or a production
            server that would not be safe.
    """
    _no_unknown(keywords, "keyword of Auth", str)
    _no_unknown(_variables(), "variable", lambda name: PREFIX + name.upper())
    try:
        settings = Settings(**keywords)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        if first["type"] == "extra_forbidden":
            _no_unknown({name: None}, "key", str)
        raise ConfigError(
            f"The setting {name} is not of its form.",
            why=str(first["msg"]),
            fix=f"see {name} in docs/settings.md",
        ) from None
    return checked(_completed(settings))


def _variables() -> dict[str, str]:
    found = {}
    for name, value in os.environ.items():
        if name.startswith(PREFIX) and name != CONFIG:
            found[name.removeprefix(PREFIX).lower().removesuffix("_file")] = value
    return found


def _no_unknown(given: Mapping[str, Any], what: str, spelled: Any) -> None:
    for name in given:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, n=1)
            raise ConfigError(
                f"There is no {what} {spelled(name)}.",
                why="a misspelt setting would silently leave its default in force",
                fix=f"did you mean {spelled(near[0])}?" if near else "see docs/settings.md",
            )


def _completed(settings: Settings) -> Settings:
    """Fill in what development needs no decision for."""
    issuer = settings.issuer.rstrip("/")
    env = settings.env
    if "env" not in settings.model_fields_set and os.environ.get("FASTAPI_ENV") == "development":
        env = "development" if is_loopback(issuer or _DEV_ISSUER) else env
    changes: dict[str, Any] = {"issuer": issuer, "env": env}
    if env == "development":
        changes["issuer"] = issuer or _DEV_ISSUER
        if not settings.secret:
            changes["secret"] = _kept_secret(settings)
    if "migrate" not in settings.model_fields_set and env == "development":
        changes["migrate"] = "auto"
    return settings.model_copy(update=changes)


_DEV_ISSUER = "http://localhost:8000"


def _kept_secret(settings: Settings) -> str:
    """Development's own secret, in a file only its owner can read, made at first use."""
    if settings.database_path == ":memory:":
        return secrets.token_urlsafe(32)
    path = Path(settings.database_path).parent / ".watchword" / "secret"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise ConfigError(
                f"{path} can be read by others.",
                why="it seals the signing keys",
                fix=f"delete it to get a new one, or: chmod 600 {path}",
            ) from None
        return path.read_text(encoding="ascii")
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32))
    (path.parent / ".gitignore").write_text("*\n", encoding="ascii")
    return path.read_text(encoding="ascii")

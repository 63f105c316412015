"""Finding the app under test, and the issuers whose tokens it wants."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from watchword.errors import ConfigError


def app_at(named: str, root: Path) -> Any:
    """The app that an import string names; a function that makes one is called.

    Args:
        named: `package.module:name`.
        root: where modules are looked for first, as a server started there would.

    Raises:
        ConfigError: nothing is named, or what is named is no app.
    """
    module_name, _, name = named.partition(":")
    if not module_name or not name:
        raise ConfigError(
            "The tests do not know which app to test.",
            why=f"{named!r} does not name a module and an app in it",
            fix='set watchword_app = "main:app" under [tool.pytest.ini_options], or override '
            "the fixture auth_app",
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    found: Any = importlib.import_module(module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"The module {module_name} has no {name}.", fix="see watchword_app")
        found = getattr(found, part)
    app = found if isinstance(found, Starlette) or not callable(found) else found()
    if not isinstance(app, Starlette):
        raise ConfigError(
            f"{named} is not an app but a {type(app).__name__}.",
            fix="name a FastAPI app, or a function without arguments that makes one",
        )
    return app

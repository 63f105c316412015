"""Every option, grouped, with its reason.

A setting has one name in three places: the keyword of `Auth(...)`, the variable
`WATCHWORD_<NAME>` (or a file named by `WATCHWORD_<NAME>_FILE`), and the key in
`watchword.toml`. Precedence: keyword, variable, file, `.env`, toml, default. An
unknown name is refused, with the nearest known one.
"""

from __future__ import annotations

from watchword.settings.checks import is_loopback, weakness
from watchword.settings.fields import Settings
from watchword.settings.kinds import seconds
from watchword.settings.loading import load
from watchword.settings.sources import CONFIG, PREFIX, app, tables

__all__ = [
    "CONFIG", "PREFIX", "Settings", "app", "is_loopback", "load", "seconds", "tables", "weakness",
]  # fmt: skip

"""What a server says while it runs: a line's words, and the facts that travel beside them.

Facts are `extra` of a log record and never part of its message, so that whoever
collects logs gets them as fields. On a terminal nobody would see them.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

from uvicorn.config import LOGGING_CONFIG
from uvicorn.logging import DefaultFormatter

from watchword.cli.output import shown

_USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "levelprefix", "color_message"}
_SAID = {"event", "at", "id"}  # the message says the first, its neighbours the second


class Facts(DefaultFormatter):
    """`INFO:     login.succeeded sub=u_... ip=127.0.0.1`, in the colours of uvicorn's own lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line, without a traceback; what strangers sent cannot begin another one."""
        facts = [
            f"{name}={shown(value)}"
            for name, value in vars(record).items()
            if name not in _USUAL and name not in _SAID and value not in (None, "")
        ]
        return " ".join([super().formatMessage(record), *facts])


class Alone(logging.Filter):
    """Passes lines as long as nobody else listens: an app with handlers of its own has its
    own form for them."""  # noqa: D205, D209

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the root logger leaves it to us."""
        del record
        return not logging.getLogger().handlers


def config(level: str) -> dict[str, Any]:
    """Uvicorn's logging, and ours from a level upwards."""
    made = copy.deepcopy(LOGGING_CONFIG)
    made["formatters"]["facts"] = {
        "()": f"{__name__}.{Facts.__name__}",
        "fmt": "%(levelprefix)s %(message)s",
    }
    made["filters"] = {"alone": {"()": f"{__name__}.{Alone.__name__}"}}
    made["handlers"]["watchword"] = {
        "class": "logging.StreamHandler",
        "formatter": "facts",
        "filters": ["alone"],
        "stream": "ext://sys.stderr",
    }
    made["loggers"]["watchword"] = {"handlers": ["watchword"], "level": level}
    return made

"""Lines of the log on a terminal: the words, the facts, and nothing where an app has its own."""

from __future__ import annotations

import io
import logging
import logging.config
from collections.abc import Iterator

import pytest

from watchword.cli import logs
from watchword.events import SignInFailed, write_to_log


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """What the handler of `watchword` writes."""
    ours = logging.getLogger("watchword")
    before = ours.handlers[:], ours.level
    made = logs.config("INFO")
    made |= {
        "disable_existing_loggers": False,
        "loggers": {"watchword": made["loggers"]["watchword"]},
    }
    logging.config.dictConfig(made)
    (handler,) = ours.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream := io.StringIO())
    yield stream
    ours.handlers, ours.level = before[0], before[1]


def listening(monkeypatch: pytest.MonkeyPatch, *handlers: logging.Handler) -> None:
    """Set who listens at the root; in the test itself, for pytest listens there too."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [*handlers])


def test_the_facts_stand_behind_the_words(
    said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening(monkeypatch)
    write_to_log(SignInFailed(1.0, "unknown_user", "abc", "watchword", "127.0.0.1"))
    (line,) = said.getvalue().splitlines()
    assert line.split() == [
        "WARNING:", "login.failed", "reason=unknown_user", "login_digest=abc",
        "client_id=watchword", "ip=127.0.0.1",
    ]  # fmt: skip


@pytest.mark.attack("S-03")
def test_what_strangers_sent_begins_no_line_and_moves_no_cursor(
    said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening(monkeypatch)
    evil = "x\nINFO:     login.succeeded\x1b[2J\r"
    logging.getLogger("watchword.endpoints").info("refused", extra={"detail": evil})
    assert len(said.getvalue().splitlines()) == 1
    assert "\x1b" not in said.getvalue() and "\r" not in said.getvalue()


def test_an_app_with_handlers_of_its_own_says_it_its_own_way(
    said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = io.StringIO()
    listening(monkeypatch, logging.StreamHandler(theirs))
    logging.getLogger("watchword").warning("once")
    assert (said.getvalue(), theirs.getvalue()) == ("", "once\n")


def test_what_is_below_the_level_is_not_said(
    said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening(monkeypatch)
    logging.getLogger("watchword.events").debug("token.issued")
    assert said.getvalue() == ""

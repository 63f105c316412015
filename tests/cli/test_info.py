from __future__ import annotations

import os

from watchword.cli.info import redacted
from watchword.settings import load


def test_it_tells_versions_and_no_secret(run) -> None:
    told = run.json("info")
    assert told["versions"]["fastapi"]
    assert told["settings"]["secret"] == "set"
    assert told["settings"]["secret_previous"] == "not set"
    assert os.environ["WATCHWORD_SECRET"] not in run("info").output


def test_it_works_without_settings_too(empty) -> None:
    assert empty.json("info")["settings"] == {"error": "ISSUER is missing."}


def test_credentials_in_addresses_are_masked(run) -> None:
    settings = load().model_copy(update={"database_url": "postgresql://me:pw@host/db"})
    assert redacted(settings)["database_url"] == "postgresql://***@host/db"

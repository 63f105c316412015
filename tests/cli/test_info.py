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


def test_redis_is_asked_and_its_password_is_not_told(run, valkey) -> None:
    told = run.json("info", WATCHWORD_REDIS_URL=valkey.url)
    assert told["versions"]["redis"]
    assert told["redis"]["answers"] is True
    assert told["redis"]["server"] == valkey.name
    assert told["settings"]["redis_url"] == valkey.url
    gone = "unix:///nowhere/redis.sock?password=hunter2"
    told = run.json("info", WATCHWORD_REDIS_URL=gone)
    assert told["redis"]["answers"] is False
    assert told["settings"]["redis_url"] == "unix:///nowhere/redis.sock"
    wrong = run.json("info", WATCHWORD_REDIS_URL="redis://:hunter2@h:x")
    assert wrong["settings"]["redis_url"] == "set, and of no known form"
    assert wrong["redis"] == {"answers": False, "why": "REDIS_URL cannot be used."}
    assert "hunter2" not in f"{told} {wrong}"


def test_redis_from_a_file(run, valkey) -> None:
    path = run.directory / "redis-url"
    path.write_text(f"{valkey.url}\n")
    assert run.json("info", WATCHWORD_REDIS_URL_FILE=str(path))["redis"]["answers"] is True

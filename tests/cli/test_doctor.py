from __future__ import annotations

import os
import sqlite3
import time
from typing import Any

import pytest
from ports import free_port
from vk import Valkey, closing

from watchword.cli import checkups
from watchword.settings import load


def _levels(run, code: int = 0, *more: str, **env: str) -> dict[str, Any]:
    told = run.json("doctor", *more, code=code, **env)
    return {one["code"]: one["level"] for one in told["findings"]}


def test_a_new_place_is_fine_and_stays_untouched(run) -> None:
    levels = _levels(run)
    assert levels["database"] == "ok"
    assert "FAIL" not in levels.values()
    assert not (run.directory / "watchword.db").exists()


def test_a_running_place_is_fine(run) -> None:
    run("key", "rotate")
    levels = _levels(run)
    assert {levels[code] for code in ("database", "journal", "schema", "keys")} == {"ok"}


def test_missing_settings_are_a_failure_with_the_fix(empty) -> None:
    told = empty.json("doctor", code=2)
    assert told["findings"][0]["code"] == "config"
    assert "WATCHWORD_ISSUER" in told["findings"][0]["run"]


def test_warnings_matter_when_strict(run) -> None:
    warned = {"WATCHWORD_LIMIT_BACKEND": "memory"}
    assert _levels(run, 0, **warned)["limits"] == "warn"
    assert _levels(run, 1, "--strict", **warned)["limits"] == "warn"


@pytest.mark.attack("S-07")
def test_fix_closes_files(run) -> None:
    run("key", "rotate")
    database = run.directory / "watchword.db"
    database.chmod(0o644)
    assert "chmod 600" in run("doctor", code=2).stdout
    assert _levels(run, 0, "--fix")["files"] == "ok"
    assert database.stat().st_mode & 0o777 == 0o600


def test_a_key_sealed_with_another_secret_is_found(run) -> None:
    run("key", "rotate")
    levels = _levels(run, 2, WATCHWORD_SECRET="Ab3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0Z")
    assert levels["keys"] == "FAIL"


def test_a_key_that_should_have_been_replaced_is_found(run) -> None:
    run("key", "rotate")
    connection = sqlite3.connect(run.directory / "watchword.db")
    with connection:
        connection.execute("UPDATE watchword_signing_keys SET signs_from = 1")
    connection.close()
    assert _levels(run)["keys"] == "warn"


def test_a_damaged_database_is_found(run) -> None:
    (run.directory / "watchword.db").write_bytes(b"not a database" * 1000)
    (run.directory / "watchword.db").chmod(0o600)
    assert _levels(run, 2)["database"] == "FAIL"


def test_a_newer_schema_is_found(run) -> None:
    run("migrate", "up")
    connection = sqlite3.connect(run.directory / "watchword.db")
    with connection:
        connection.execute("UPDATE watchword_alembic_version SET version_num = '9999'")
    assert _levels(run, 0)["schema"] == "warn"
    with connection:
        connection.execute("UPDATE watchword_schema SET serves_from = '9999'")
    connection.close()
    assert _levels(run, 2)["schema"] == "FAIL"


def test_a_file_from_the_future_means_a_wrong_clock(run) -> None:
    run("key", "rotate")
    os.utime(run.directory / "watchword.db", (4e9, 4e9))
    assert _levels(run, 2)["clock"] == "FAIL"


def test_a_missing_directory_is_found(run) -> None:
    levels = _levels(run, 2, WATCHWORD_DATABASE_URL="sqlite:////nowhere/at/all/w.db")
    assert levels["disk"] == "FAIL"


def test_it_says_whether_password_login_is_on(run) -> None:
    assert "is on" in run("doctor").stdout
    assert "is off" in run("doctor", WATCHWORD_PASSWORD_LOGIN="off").stdout


def test_the_cost_of_a_hash_is_measured(run) -> None:
    assert "logins a second" in run("doctor").stdout
    assert "OWASP" in run("doctor").stdout  # the tests' own cost is below it


def test_without_redis_nothing_is_said_of_it(run) -> None:
    assert "redis" not in _levels(run)


def test_redis_answers(run, valkey) -> None:
    told = run.json("doctor", WATCHWORD_REDIS_URL=valkey.url)
    found = {one["code"]: one for one in told["findings"]}
    assert found["limits"]["message"] == "counted in Redis, for all machines together"
    assert found["redis"]["level"] == "ok"
    assert found["redis"]["message"].startswith(f"{valkey.name} at {valkey.url} answers in ")
    assert "eviction" not in found


@pytest.mark.attack("Z-11")
def test_redis_does_not_answer(run) -> None:
    gone = f"redis://me:hunter2@127.0.0.1:{free_port()}/0"
    told = run("doctor", WATCHWORD_REDIS_URL=gone).output
    assert "warn  redis" in told
    assert "Connect call failed" in told
    assert "each process counts for itself at half the budget" in told
    assert "hunter2" not in told


@pytest.mark.attack("Z-13")
def test_redis_that_drops_what_it_is_told_to_keep(run, valkey) -> None:
    valkey.do("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    try:
        assert _levels(run, WATCHWORD_REDIS_URL=valkey.url)["eviction"] == "warn"
    finally:
        valkey.do("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction")


def test_redis_that_is_too_slow(run, valkey) -> None:
    slow = load(redis_url=valkey.url).model_copy(update={"redis_timeout": 1e-6})
    (found,) = checkups._redis(slow)
    assert found.level is checkups.Level.WARN
    assert "it is not waited for" in found.message


def test_an_address_that_no_server_could_start_with(run) -> None:
    found = run.json("doctor", code=2, WATCHWORD_REDIS_URL="redis://me:hunter2@h:x")["findings"]
    (redis,) = [one for one in found if one["code"] == "redis"]
    assert redis["level"] == "FAIL"
    assert "a port is a number" in redis["message"]
    assert "hunter2" not in str(found)


def test_what_may_not_be_asked_is_not_known(run) -> None:
    server = Valkey()
    with closing(server):
        rights = "~watchword:* +eval +evalsha +time +get +set +ping"
        server.do("ACL", "SETUSER", "me", "on", ">pw", *rights.split())
        url = f"redis://me:pw@127.0.0.1:{server.port}/0"
        told = run.json("doctor", WATCHWORD_REDIS_URL=url)["findings"]
    (redis,) = [one for one in told if one["code"] == "redis"]
    assert redis["message"].startswith("a server at redis://127.0.0.1:")


def test_events_that_no_function_has_heard_of_are_a_warning(run) -> None:
    run("key", "rotate")
    assert "hooks" not in _levels(run)
    connection = sqlite3.connect(run.directory / "watchword.db")
    late, lately = time.time() - 1500, time.time() - 590
    with connection:
        for kind, at, tries in (
            ("token.revoked", late, 7),
            ("token.revoked", late + 60, 0),
            ("login.failed", late, 0),
            ("keys.rotated", lately, 3),
        ):
            connection.execute(
                "INSERT INTO watchword_outbox (kind, payload, created_at, due_at, tries, heard)"
                " VALUES (?, '{}', ?, ?, ?, '')",
                (kind, at, at, tries),
            )
    connection.close()
    assert _levels(run)["hooks"] == "warn"
    found = [one for one in run.json("doctor")["findings"] if one["code"] == "hooks"]
    assert [one["message"] for one in found] == [
        "1 event of login.failed undelivered, the oldest since 25 minutes: nobody takes them",
        "2 events of token.revoked undelivered, the oldest since 25 minutes: functions fail",
    ]
    assert "watchword.hooks" in found[1]["run"]

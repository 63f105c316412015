from __future__ import annotations

import sqlite3

from watchword.store.schema import HEAD


def _pretend(run, revision: str, serves_from: str = HEAD) -> None:
    connection = sqlite3.connect(run.directory / "watchword.db")
    with connection:
        connection.execute("UPDATE watchword_alembic_version SET version_num = ?", (revision,))
        connection.execute("UPDATE watchword_schema SET serves_from = ?", (serves_from,))
    connection.close()


def test_asking_makes_no_database(run) -> None:
    assert run.json("migrate", "status")["schema"] == "empty"
    run("migrate", "check", code=4)
    assert not (run.directory / "watchword.db").exists()


def test_up_makes_it_and_check_is_content(run) -> None:
    assert run.json("migrate", "up")["schema"] == "current"
    run("migrate", "check")
    assert run.json("migrate")["revision"] == run.json("migrate")["needed"]


def test_a_newer_schema_is_left_alone(run) -> None:
    run("migrate", "up")
    _pretend(run, "9999", "9998")
    run("migrate", "check", code=1)
    assert run.json("migrate", "status")["schema"] == "beyond"
    for command in (("migrate", "up"), ("user", "list")):
        assert "backup" in run(*command, code=78).stderr


def test_a_schema_that_only_has_more_is_worked_with(run) -> None:
    run("migrate", "up")
    _pretend(run, "9999")
    run("migrate", "check")
    assert run.json("migrate", "up")["schema"] == "ahead"
    assert "may serve it still" in run("migrate").stdout
    run.user("ada")


def test_finishing_says_which_code_may_serve(run) -> None:
    run("migrate", "up")
    _pretend(run, HEAD, "0001")
    assert "Older processes will refuse" in run("migrate", "finish", code=2).stderr
    run("migrate", "finish", "--yes")
    connection = sqlite3.connect(run.directory / "watchword.db")
    assert connection.execute("SELECT * FROM watchword_schema").fetchall() == [(HEAD,)]
    kinds = [row[0] for row in connection.execute("SELECT kind FROM watchword_audit")]
    connection.close()
    assert "schema.floor_raised" in kinds
    run("migrate", "finish", "--yes")


def test_a_file_that_is_no_database_is_said_so(run) -> None:
    (run.directory / "watchword.db").write_bytes(b"not a database" * 1000)
    assert "database" in run("user", "list", code=1).stderr
    run("migrate", "status", code=1)

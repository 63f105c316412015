"""`watchword copy`, as an operator types it."""

from __future__ import annotations


def test_users_move_and_are_there(run, postgres_url):
    run.user("ada")
    told = run.json("copy", "sqlite:///./watchword.db", postgres_url, "--yes")
    assert told["users"] == 1
    there = {"WATCHWORD_DATABASE_URL": postgres_url}
    assert run.json("user", "list", **there)[0]["username"] == "ada"
    run.json("copy", postgres_url, "sqlite:///./back.db", "--yes")
    assert (run.directory / "back.db").exists()


def test_no_password_is_an_argument(run, postgres_url):
    run.user("ada")
    secret = postgres_url.replace("postgres@", "postgres:hunter2@")
    answer = run("copy", "sqlite:///./watchword.db", secret, "--yes", code=78)
    assert "hunter2" not in answer.output
    assert "PGPASSWORD" in answer.output
    answer = run("copy", "sqlite:///./watchword.db", "env:TARGET", "--yes", TARGET=secret)
    assert "hunter2" not in answer.output
    assert "every row arrived" in answer.output
    run("copy", "env:NOTHING", postgres_url, "--yes", code=78)


def test_it_asks_first_and_refuses_what_holds_data(run, postgres_url):
    run.user("ada")
    run("copy", "sqlite:///./watchword.db", postgres_url, code=2)
    run("copy", "sqlite:///./watchword.db", postgres_url, "--yes")
    answer = run("copy", "sqlite:///./watchword.db", postgres_url, "--yes", code=78)
    assert "holds data" in answer.output


def test_a_server_that_is_away_is_a_clear_refusal(run):
    run.user("ada")
    nowhere = "postgresql://postgres@127.0.0.1:9/nothing"
    answer = run("copy", "sqlite:///./watchword.db", nowhere, "--yes", code=1)
    assert "The copy broke off" in answer.output

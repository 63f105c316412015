"""The command line on a PostgreSQL server: the same commands, and what doctor sees."""

from __future__ import annotations

import contextlib
import ipaddress
import os

import psycopg
import pytest
from pg import PostgresServer
from ports import free_port


@pytest.fixture(scope="module")
def durable():
    """One that waits for its disk, as doctor wants it."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def on_server(run, monkeypatch, durable, request):
    """Settings that name a server, with a password that nobody may see."""
    url = durable.database(request.node.name).replace("postgres@", "postgres:hunter2@")
    monkeypatch.setenv("WATCHWORD_DATABASE_URL", url)
    return run


def _told(run, code: int = 0, **env: str) -> dict[str, tuple[str, str]]:
    found = run.json("doctor", code=code, **env)["findings"]
    return {one["code"]: (one["level"], one["message"]) for one in found}


def test_a_server_is_made_ready_used_and_looked_at(on_server):
    assert on_server.json("migrate", "status")["schema"] == "empty"
    on_server("migrate", "check", code=4)
    on_server("migrate", "up")
    assert on_server.json("migrate", "check", code=0)["schema"] == "current"
    ada = on_server.user("ada", "--scope", "me")
    assert on_server.json("user", "list")[0]["username"] == "ada"
    on_server("user", "disable", "ada", "--yes")
    assert on_server.json("user", "show", ada["sub"])["disabled"] is True
    made = on_server.json("client", "create", "job", "--service", "--scope", "me")
    assert made["client_secret"]
    on_server("key", "rotate")
    told = _told(on_server)
    assert "FAIL" not in {level for level, _ in told.values()}
    assert told["database"][1].startswith("PostgreSQL 16")
    assert told["keys"][0] == told["schema"][0] == "ok"
    assert "hooks" not in told


def test_events_that_no_function_has_heard_of_are_a_warning(on_server):
    on_server("migrate", "up")
    with psycopg.connect(os.environ["WATCHWORD_DATABASE_URL"]) as connection:
        connection.execute(
            "INSERT INTO watchword_outbox (kind, payload, created_at, due_at, tries, heard)"
            " VALUES ('token.revoked', '{}', 1, 1, 0, '')"
        )
    assert _told(on_server)["hooks"][0] == "warn"


@pytest.mark.parametrize("where", ["user", "query"])
def test_no_command_shows_the_password(on_server, monkeypatch, where):
    if where == "query":
        url = os.environ["WATCHWORD_DATABASE_URL"].replace(":hunter2@", "@")
        monkeypatch.setenv("WATCHWORD_DATABASE_URL", f"{url}?password=hunter2&connect_timeout=9")
    on_server("migrate", "up")
    for words in (("migrate", "status"), ("doctor",), ("info",)):
        for more in ((), ("--json",)):
            answer = on_server(*words, *more)
            assert "hunter2" not in answer.output
            assert "127.0.0.1" in answer.output


def test_connections_are_counted_by_a_role_that_may_not_look_at_them(on_server):
    on_server("migrate", "up")
    url = os.environ["WATCHWORD_DATABASE_URL"]
    modest = url.replace("postgres:", "modest:")
    with contextlib.ExitStack() as held, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE modest LOGIN IN ROLE pg_read_all_data")
        assert "connections" not in _told(on_server, WATCHWORD_DATABASE_URL=modest)
        for _ in range(190):
            held.enter_context(psycopg.connect(url))
        level, message = _told(on_server, WATCHWORD_DATABASE_URL=modest)["connections"]
    assert level == "warn"
    assert message.startswith("5 connections left of 197;")  # 200, and 3 for superusers


def test_a_way_that_others_can_listen_on_is_a_warning(on_server, monkeypatch):
    on_server("migrate", "up")
    assert "tls" not in _told(on_server)
    monkeypatch.setattr(ipaddress.IPv4Address, "is_loopback", False)
    assert "not encrypted" in _told(on_server)["tls"][1]


def test_a_server_that_is_away_is_a_finding_and_a_clear_refusal(run):
    nowhere = f"postgresql://postgres:hunter2@127.0.0.1:{free_port()}/nothing"
    told = _told(run, code=2, WATCHWORD_DATABASE_URL=nowhere)
    assert told["database"][0] == "FAIL"
    answer = run("user", "list", code=1, WATCHWORD_DATABASE_URL=nowhere)
    assert "hunter2" not in answer.output
    assert "The database cannot be used now." in answer.output

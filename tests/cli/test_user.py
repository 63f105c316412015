from __future__ import annotations

import re

import pytest

from watchword.cli.desk import opened


def test_a_user_is_created_listed_and_shown(run) -> None:
    made = run.user("Ada", "--email", "ada@example.com", "--scope", "me items", "--role", "editor")
    assert re.fullmatch(r"u_[A-Za-z0-9]{22}", made["sub"])
    assert made["scopes"] == ["me", "items"]
    assert made["roles"] == ["editor"]
    assert [one["username"] for one in run.json("user", "list")] == ["Ada"]
    for name in ("ada", made["sub"]):
        assert run.json("user", "show", name) == {**made, "grants": []}
    assert run.json("user", "sessions", "ada") == []
    assert "ada@example.com" in run("user", "show", "ada").stdout


def test_plurals_name_the_same_commands(run) -> None:
    for plural in ("users", "clients", "keys"):
        run(plural, "list")


def test_a_name_that_differs_in_case_only_is_taken(run) -> None:
    run.user("ada")
    refused = run("user", "create", "ADA", "--password-stdin", stdin="correct horse\n", code=5)
    assert "already" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("name", ["", "  ", "a\tb", "a\x1b[2Jb", "x" * 256])
def test_a_name_that_cannot_be_shown_is_wrong_usage(run, name: str) -> None:
    run("user", "create", name, "--password-stdin", stdin="correct horse\n", code=2)


def test_a_scope_that_no_token_can_carry_is_wrong_usage(run) -> None:
    run("user", "create", "ada", "--scope", 'a"b', "--password-stdin", stdin="x" * 9, code=2)


def test_a_long_list_comes_in_pages(run) -> None:
    for name in ("ada", "bob", "eve"):
        run.user(name)
    page = run("user", "list", "--limit", "2")
    assert "eve" not in page.stdout
    assert "--after bob" in page.stderr
    rest = run.json("user", "list", "--after", "bob")
    assert [one["username"] for one in rest] == ["eve"]


def test_nobody_by_that_name_is_exit_4(run) -> None:
    for verb in ("show", "sessions", "enable"):
        assert "watchword user list" in run("user", verb, "ada", code=4).stderr
    for verb in ("disable", "revoke-all"):
        run("user", verb, "ada", "--yes", code=4)


def test_what_ends_sessions_is_said_and_needs_yes(run) -> None:
    run.user("ada")
    for verb in ("disable", "revoke-all"):
        asked = run("user", verb, "ada", code=2)
        assert "--yes" in asked.stderr
        assert "0 sessions" in asked.stderr
    asked = run("user", "set-password", "ada", "--password-stdin", stdin="another one\n", code=2)
    assert "--yes" in asked.stderr
    assert run.json("user", "show", "ada")["disabled"] is False


def test_disabling_twice_changes_once(run) -> None:
    run.user("ada")
    assert run.json("user", "disable", "ada", "--yes")["changed"] is True
    assert run.json("user", "disable", "ada", "--yes")["changed"] is False
    assert run.json("user", "enable", "ada")["changed"] is True


async def _hash_of(name: str) -> str | None:
    async with opened() as at:
        found = await at.store.user_by_login(name)
        return found.password if found else None


def test_a_new_password_replaces_the_old(run) -> None:
    import asyncio

    run.user("ada")
    before = asyncio.run(_hash_of("ada"))
    run("user", "set-password", "ada", "--yes", "--password-stdin", stdin="another one\n")
    after = asyncio.run(_hash_of("ada"))
    assert before != after
    assert after is not None
    assert after.startswith("$argon2id$")


def test_an_error_is_json_for_scripts(run) -> None:
    import json

    told = json.loads(run("user", "show", "ada", "--json", code=4).stderr)
    assert told["exit"] == 4
    assert told["fix"] == "watchword user list"

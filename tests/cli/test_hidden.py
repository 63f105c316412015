from __future__ import annotations

import pytest


@pytest.mark.parametrize("given", ["correct horse", "hunter2"])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(run, given: str) -> None:
    refused = run("user", "create", "ada", "--password", given, code=2)
    assert given not in refused.output
    assert "--password-stdin" in refused.stderr
    run("user", "show", "ada", code=4)


def test_a_secret_comes_from_a_file_or_a_variable(run) -> None:
    (run.directory / "pw").write_text("correct horse\n")
    run("user", "create", "ada", "--password", "@pw")
    run("user", "create", "bob", "--password", "env:PW", PW="correct horse")
    run("user", "create", "eve", "--password", "@nowhere", code=4)
    run("user", "create", "eve", "--password", "env:NOWHERE", code=4)
    (run.directory / "pw").write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff")
    run("user", "create", "eve", "--password", "@pw", code=1)


def test_without_a_terminal_a_source_must_be_named(run) -> None:
    assert "--password-stdin" in run("user", "create", "ada", code=2).stderr
    run("user", "create", "ada", "--password-stdin", "--password", "@x", code=2)


def test_a_short_password_is_for_development_only(run) -> None:
    short = ("user", "create", "ada", "--password-stdin")
    assert "8 characters" in run(*short, stdin="seven77\n", code=5).stderr
    development = {"WATCHWORD_ENV": "development", "WATCHWORD_ISSUER": "http://localhost:8000"}
    run(*short, stdin="secret\n", **development)


def test_a_password_nobody_could_type_is_refused(run) -> None:
    run("user", "create", "ada", "--password-stdin", stdin="\n", code=5)
    run("user", "create", "ada", "--password-stdin", stdin="x" * 2000, code=5)


def test_a_password_is_counted_in_characters_as_they_are_hashed(run) -> None:
    decomposed = "e\N{COMBINING ACUTE ACCENT}" * 4  # eight code points, four characters
    run("user", "create", "ada", "--password-stdin", stdin=decomposed, code=5)

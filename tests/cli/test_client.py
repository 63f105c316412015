from __future__ import annotations

import re

import pytest


def test_a_service_gets_an_id_and_a_secret_once(run) -> None:
    made = run.json("client", "create", "nightly", "--scope", "items", "--resource", "https://api")
    assert re.fullmatch(r"c_[A-Za-z0-9]{22}", made["client_id"])
    assert re.fullmatch(r"gs_[A-Za-z0-9]{43}", made["client_secret"])
    assert made["grants"] == ["client_credentials"]
    shown = run.json("client", "show", made["client_id"])
    assert "client_secret" not in shown
    assert shown["secrets"] == 1
    assert made["client_secret"] not in run("client", "show", made["client_id"]).output
    assert made["client_secret"].encode() not in (run.directory / "watchword.db").read_bytes()


def test_a_public_client_has_no_secret(run) -> None:
    made = run.json("client", "create", "app", "--public")
    assert made["auth_method"] == "none"
    assert "client_secret" not in made
    run("client", "rotate-secret", made["client_id"], code=5)
    run("client", "create", "app", "--public", "--grant", "client_credentials", code=2)
    run("client", "create", "app", "--public", "--auth-method", "client_secret_basic", code=2)
    run("client", "create", "app", "--service", "--auth-method", "none", code=2)


@pytest.mark.attack("L-24")
def test_the_password_grant_is_for_no_registered_client(run) -> None:
    run("client", "create", "app", "--grant", "password", code=2)


def test_one_that_only_introspects_asks_for_no_tokens(run) -> None:
    made = run.json("client", "create", "api", "--introspect", "https://api.example.com")
    assert made["grants"] == []
    assert made["introspects"] == ["https://api.example.com"]


@pytest.mark.attack("A-51")
@pytest.mark.parametrize("chosen", ["u_1234", "watchword", "a b", "", "x" * 129, "a%b"])
def test_a_chosen_id_cannot_be_a_users_or_the_built_in_one(run, chosen: str) -> None:
    run("client", "create", "--id", chosen, code=2)


def test_an_id_is_given_once(run) -> None:
    assert run.json("client", "create", "--id", "nightly")["name"] == "nightly"
    run("client", "create", "--id", "nightly", code=5)
    run("client", "create", code=2)


@pytest.mark.parametrize("resource", ["no-scheme", "https://a#b", "https://a b"])
def test_a_resource_is_an_absolute_uri(run, resource: str) -> None:
    run("client", "create", "x", "--resource", resource, code=2)


def test_rotation_keeps_the_secret_before_until_the_next(run) -> None:
    made = run.json("client", "create", "--id", "nightly")
    second = run.json("client", "rotate-secret", "nightly")
    assert second["secrets"] == 2
    assert second["client_secret"] != made["client_secret"]
    asked = run("client", "rotate-secret", "nightly", code=2)
    assert "before the present one" in asked.stderr
    assert run.json("client", "rotate-secret", "nightly", "--yes")["secrets"] == 2
    run("client", "rotate-secret", "nightly", "--now", code=2)
    assert run.json("client", "rotate-secret", "nightly", "--now", "--yes")["secrets"] == 1


def test_deleting_says_so_and_needs_yes(run) -> None:
    run("client", "create", "--id", "nightly")
    assert "--yes" in run("client", "delete", "nightly", code=2).stderr
    run("client", "delete", "nightly", "--yes")
    run("client", "delete", "nightly", "--yes", code=4)
    assert run.json("client", "list") == []


def test_disabling_needs_yes_and_can_be_undone(run) -> None:
    run("client", "create", "--id", "nightly")
    assert "at once" in run("client", "disable", "nightly", code=2).stderr
    assert run.json("client", "disable", "nightly", "--yes")["changed"]
    assert run.json("client", "show", "nightly")["disabled"]
    assert run("client", "disable", "nightly").stdout == "nightly was disabled already\n"
    assert run("client", "enable", "nightly").stdout == "nightly is enabled\n"
    assert not run.json("client", "enable", "nightly")["changed"]
    assert not run.json("client", "show", "nightly")["disabled"]
    run("client", "disable", "nobody", "--yes", code=4)

from __future__ import annotations


def test_keys_are_listed_with_their_state(run) -> None:
    assert run.json("key", "list") == []
    first = run.json("key", "rotate")
    assert first["state"] == "active"  # nobody has a token of an older one
    second = run.json("key", "rotate")
    assert second["state"] == "next"
    states = {one["kid"]: one["state"] for one in run.json("key", "list")}
    assert states == {first["kid"]: "active", second["kid"]: "next"}
    assert "VERIFIES UNTIL" in run("key", "list").stdout


def test_a_second_successor_waits_for_the_first(run) -> None:
    run("key", "rotate")
    run("key", "rotate")
    run("key", "rotate", code=5)


def test_a_leaked_key_is_replaced_at_once(run) -> None:
    first = run.json("key", "rotate")
    second = run.json("key", "rotate", "--now")
    states = {one["kid"]: one["state"] for one in run.json("key", "list")}
    assert states == {first["kid"]: "retiring", second["kid"]: "active"}


def test_a_leaked_key_is_replaced_at_once_though_a_successor_waits(run) -> None:
    first, waiting = run.json("key", "rotate"), run.json("key", "rotate")
    new = run.json("key", "rotate", "--now")
    assert new["state"] == "active"
    states = {one["kid"]: one["state"] for one in run.json("key", "list")}
    assert states == {first["kid"]: "retiring", waiting["kid"]: "gone", new["kid"]: "active"}
    assert "withdrawn" in run("key", "list").stdout


def test_a_leaked_key_is_retired_and_another_signs(run) -> None:
    leaked = run.json("key", "rotate")["kid"]
    refused = run("key", "retire", leaked, "--now", code=2)  # nobody was asked
    assert "will be refused at once" in refused.stderr
    told = run.json("key", "retire", leaked, "--now", "--yes")
    assert (told["kid"], told["state"], told["changed"]) == (leaked, "gone", True)
    states = {one["kid"]: one["state"] for one in run.json("key", "list")}
    assert states == {leaked: "gone", told["signer"]: "active"}
    again = run.json("key", "retire", leaked, "--now", "--yes")
    assert (again["changed"], again["signer"]) == (False, told["signer"])


def test_a_key_may_retire_in_peace(run) -> None:
    old = run.json("key", "rotate")["kid"]
    told = run.json("key", "retire", old)
    assert (told["state"], told["changed"]) == ("retiring", True)
    assert told["signer"] not in (old, None)
    assert run.json("key", "retire", old)["changed"] is False


def test_only_a_key_of_this_mode_is_retired(run) -> None:
    local = {"WATCHWORD_ENV": "development", "WATCHWORD_ISSUER": "http://localhost:8000"}
    theirs = run.json("key", "rotate", **local)["kid"]
    assert "WATCHWORD_ENV=development" in run("key", "retire", theirs, code=5).stderr
    assert "watchword key list" in run("key", "retire", "nobody's", code=4).stderr
    assert run.json("key", "list", **local)[0]["state"] == "active"


def test_an_algorithm_may_be_chosen_from_those_known(run) -> None:
    assert run.json("key", "rotate", "--alg", "Ed25519")["alg"] == "Ed25519"
    run("key", "rotate", "--alg", "HS256", code=2)


def test_a_private_key_is_never_printed(run) -> None:
    run("key", "rotate")
    assert "sealed" not in run("key", "list", "--json").output


def test_a_database_that_began_in_development_goes_into_production(run) -> None:
    local = {"WATCHWORD_ENV": "development", "WATCHWORD_ISSUER": "http://localhost:8000"}
    theirs = run.json("key", "rotate", **local)
    assert theirs["kid"].startswith("dev-")
    ours = run.json("key", "rotate")
    assert ours["state"] == "active"
    states = {one["kid"]: one["state"] for one in run.json("key", "list")}
    assert states == {theirs["kid"]: "unused", ours["kid"]: "active"}
    states = {one["kid"]: one["state"] for one in run.json("key", "list", **local)}
    assert states == {theirs["kid"]: "active", ours["kid"]: "unused"}
    run("key", "rotate", **local)
    for one in run.json("key", "list"):
        if one["kid"] == ours["kid"]:
            assert one["verifies_until"] is None

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

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from watchword.cli import desk, standalone


async def _tokens(name: str, password: str) -> dict[str, Any]:
    app = standalone.make()
    auth = app.state.watchword
    try:
        await auth.start()
        transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 50_000))
        async with httpx2.AsyncClient(transport=transport, base_url="https://id") as http:
            answer = await http.post("/token", data={"username": name, "password": password})
            return answer.json()
    finally:
        auth.close()


@pytest.fixture
def tokens(run) -> dict[str, Any]:
    run.user("ada", "--scope", "me")
    return asyncio.run(_tokens("ada", "correct horse"))


def _no(told: dict[str, Any]) -> list[str]:
    return [one["sentence"] for one in told["checks"] if not one["good"]]


def test_a_good_token_is_good_in_every_way(run, tokens) -> None:
    for name in ("access_token", "refresh_token"):
        told = run.json("explain", "-", stdin=tokens[name] + "\n")
        assert told["good"] is True
        assert _no(told) == []


def test_inspect_shows_what_it_says_and_never_its_signature(run, tokens) -> None:
    told = run.json("token", "inspect", "-", stdin=tokens["access_token"])
    assert told["content"]["client_id"] == "watchword"
    assert told["content"]["typ"] == "at+jwt"
    for more in ((), ("--json",)):
        output = run("tokens", "inspect", "-", *more, stdin=tokens["access_token"]).output
        assert tokens["access_token"].rpartition(".")[2] not in output
    told = run.json("token", "inspect", "-", stdin=tokens["refresh_token"])
    assert told["content"]["client_id"] == "watchword"
    assert tokens["refresh_token"] not in str(told)


def test_as_an_argument_it_works_with_a_warning(run, tokens) -> None:
    assert "history" in run("explain", tokens["access_token"]).stderr
    (run.directory / "t").write_text(tokens["access_token"])
    assert run("explain", "@t").stderr == ""
    assert run("explain", "env:T", T=tokens["access_token"]).stderr == ""


def test_each_cause_is_named(run, tokens, monkeypatch) -> None:
    access = tokens["access_token"]
    altered = access[:-4] + ("AAAA" if not access.endswith("AAAA") else "BBBB")
    assert "altered" in str(_no(run.json("explain", "-", stdin=altered, code=5)))

    elsewhere = {"WATCHWORD_ISSUER": "https://other.example.com"}
    told = str(_no(run.json("explain", "-", stdin=access, code=5, **elsewhere)))
    assert "issuer" in told
    assert "audience" in told

    later = desk.clock() + 3600
    monkeypatch.setattr(desk, "clock", lambda: later)
    assert "expired" in str(_no(run.json("explain", "-", stdin=access, code=5)))
    monkeypatch.undo()


def test_several_causes_are_all_named(run, tokens) -> None:
    run("user", "disable", "ada", "--yes")
    told = _no(run.json("explain", "-", stdin=tokens["access_token"], code=5))
    assert told == ["Its user is disabled.", "It was revoked."]
    refused = run.json("explain", "-", stdin=tokens["refresh_token"], code=5)
    assert "has ended" in str(_no(refused))


def test_a_token_of_another_database_names_no_key_of_ours(run, tokens) -> None:
    there = {"WATCHWORD_DATABASE_URL": "sqlite:///./other.db"}
    told = _no(run.json("explain", "-", stdin=tokens["access_token"], code=5, **there))
    assert "no key by its kid" in str(told)
    told = _no(run.json("explain", "-", stdin=tokens["refresh_token"], code=5, **there))
    assert "no such grant" in str(told)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "wwr_", "wwr_é", "gs_123", "..", "é.é.é"])
def test_what_is_no_token_is_said_and_not_repeated(run, text: str) -> None:
    told = run.json("explain", "-", stdin=text, code=5)
    assert told["good"] is False
    assert len(told["checks"]) == 1


def test_a_ticket_is_told_apart(run) -> None:
    told = run.json("explain", "-", stdin="wwt_123", code=5)
    assert told["kind"] == "a ticket" and "opens one" in str(_no(told))


@pytest.mark.attack("J-01")
def test_an_unsigned_token_is_refused_by_name(run) -> None:
    from watchword.crypto.strict import encode64

    parts = [b'{"alg":"none"}', b'{"sub":"u_1","exp":1}', b""]
    text = b".".join(map(encode64, parts)).decode()
    told = _no(run.json("explain", "-", stdin=text, code=5))
    assert any("none" in sentence for sentence in told)


def test_developments_tokens_are_told_apart(run, tokens) -> None:
    del tokens
    development = {"WATCHWORD_ENV": "development", "WATCHWORD_ISSUER": "http://localhost:8000"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in development.items():
            patch.setenv(name, value)
        patch.setenv("WATCHWORD_DATABASE_URL", "sqlite:///./watchword.db")
        made = asyncio.run(_tokens("ada", "correct horse"))
    told = _no(run.json("explain", "-", stdin=made["access_token"], code=5))
    assert "production server accepts none" in str(told)

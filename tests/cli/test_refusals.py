"""What `serve` and `dev` refuse, before any worker is started."""

from __future__ import annotations

import socket
import sys

import pytest
import uvicorn

LOCAL = {"WATCHWORD_ENV": "development", "WATCHWORD_ISSUER": "http://localhost:8000"}


@pytest.fixture(autouse=True)
def never_served(monkeypatch) -> None:
    def run(*args, **options) -> None:
        raise AssertionError("it was served")

    monkeypatch.setattr(uvicorn, "run", run)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
@pytest.mark.parametrize("command", ["serve", "dev"])
def test_development_is_for_this_machine(run, command: str, host: str) -> None:
    assert "--host" in run(command, "--host", host, code=78, **LOCAL).stderr


def test_development_needs_a_local_issuer(run) -> None:
    refused = run("dev", code=78, WATCHWORD_ISSUER="https://id.example.com")
    assert "ISSUER names another" in refused.stderr


def test_workers_share_everything_or_are_not_started(run) -> None:
    memory = {"WATCHWORD_DATABASE_URL": "sqlite:///:memory:"}
    assert "in memory" in run("serve", "--workers", "2", code=78, **memory).stderr
    counters = {"WATCHWORD_LIMIT_BACKEND": "memory"}
    assert "limits" in run("serve", "--workers", "2", code=78, **counters).stderr


def test_wrong_usage(run) -> None:
    run("serve", "--workers", "2", "--reload", code=2)
    run("serve", "--port", "70000", code=2)
    run("serve", "--app", "nowhere_at_all:app", code=4)


def test_a_missing_secret_is_made_by_init(run) -> None:
    refused = run("serve", code=78, WATCHWORD_SECRET="")
    assert "SECRET is missing" in refused.stderr
    assert "watchword init" in refused.stderr
    weak = run("serve", code=78, WATCHWORD_SECRET_PREVIOUS="short")
    assert "set WATCHWORD_SECRET_PREVIOUS" in weak.stderr


def test_an_attribute_that_is_not_there_is_told_with_those_that_are(run, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, text in (
        ("shop_named", "from fastapi import FastAPI\nthe_shop = FastAPI()\n"),
        ("shop_made", "def create_app(): ...\n"),
    ):
        (run.directory / f"{name}.py").write_text(text)
    refused = run("routes", "--app", "shop_named:nope", code=4).stderr
    assert "has no 'nope'" in refused
    assert "shop_named.py has the_shop" in refused
    assert "fix: --app shop_named:the_shop" in refused
    refused = run("routes", "--app", "shop_made:nope", code=4).stderr
    assert "no FastAPI app" in refused
    assert "create_app" in refused


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_port_that_is_taken_is_told_before_anything_else(run, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        local = LOCAL if command == "dev" else {}
        refused = run(command, "--port", str(port), code=1, **local)
        assert f"--port {port + 1}" in refused.stderr
        assert refused.stdout == ""


def test_production_needs_https(run) -> None:
    assert "https" in run("serve", code=78, WATCHWORD_ISSUER="http://id.example.com").stderr


def test_production_is_not_seeded_with_known_passwords(run, monkeypatch) -> None:
    (run.directory / "shop_prod.py").write_text(
        "from fastapi import FastAPI\nfrom watchword import Auth\n"
        'app = FastAPI()\nauth = Auth(app, env="production", issuer="https://id.example.com")\n'
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    refused = run("dev", "--app", "shop_prod:app", code=78)
    assert "production mode" in refused.stderr
    assert run.json("user", "list") == []


def test_a_network_file_system_is_refused(run, monkeypatch) -> None:
    from watchword.cli import serve

    monkeypatch.setattr(serve, "network_file_system", lambda path: "nfs4")
    assert "nfs4" in run("serve", code=78).stderr

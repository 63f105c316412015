from __future__ import annotations

import os

import pytest

from watchword import settings


@pytest.mark.attack("S-07")
def test_it_writes_a_secret_for_its_owner_alone(empty) -> None:
    before = os.umask(0)
    try:
        empty("init", "--yes")
    finally:
        os.umask(before)
    env = empty.directory / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    loaded = settings.load()
    assert loaded.is_development
    assert settings.weakness(loaded.secret) is None
    assert settings.tables()["scopes"] == {"me": "See who you are", "items": "See your items"}


def test_what_it_writes_serves_in_production(empty) -> None:
    told = empty.json("init", "--yes", "--issuer", "https://id.example.com/", "--embedded")
    assert told["mode"] == "production"
    assert settings.load().issuer == "https://id.example.com"
    assert settings.tables()["scopes"] == {}


def test_it_never_overwrites(empty) -> None:
    empty("init", "--yes")
    before = (empty.directory / ".env").read_text()
    refused = empty("init", "--yes", code=5)
    assert "mv watchword.toml" in refused.stderr
    (empty.directory / "watchword.toml").unlink()
    assert ".env is there" in empty("init", "--yes", code=5).stderr
    assert not (empty.directory / "watchword.toml").exists()
    assert (empty.directory / ".env").read_text() == before


def test_an_address_cannot_break_out_of_its_string(empty) -> None:
    empty("init", "--yes", "--issuer", 'https://a"\nenv = "development', code=2)
    assert not (empty.directory / ".env").exists()
    empty("init", "--yes", "--db", 'sqlite:///a"b\\c.db')
    assert settings.load().database_url == 'sqlite:///a"b\\c.db'


def test_the_secret_is_not_printed(empty) -> None:
    output = empty("init", "--yes").output
    secret = (empty.directory / ".env").read_text().strip().partition("=")[2]
    assert secret not in output

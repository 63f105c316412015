"""A directory to work in, and the command line in this very process: fast, and the real one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from watchword.cli import cli

SECRET = "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A"
SETTINGS = {
    "WATCHWORD_ENV": "production",
    "WATCHWORD_ISSUER": "https://id.example.com",
    "WATCHWORD_SECRET": SECRET,
    "WATCHWORD_DATABASE_URL": "sqlite:///./watchword.db",
    "WATCHWORD_HASH_MEMORY_KIB": "64",
    "WATCHWORD_HASH_PASSES": "1",
}


@dataclass
class Terminal:
    """Runs commands; stdin is never a terminal here."""

    directory: Path

    def __call__(self, *args: str, stdin: str = "", code: int = 0, **env: str) -> Result:
        result = CliRunner().invoke(cli, list(args), input=stdin, env=env, prog_name="watchword")
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        return result

    def json(self, *args: str, stdin: str = "", code: int = 0, **env: str) -> Any:
        return json.loads(self(*args, "--json", stdin=stdin, code=code, **env).stdout)

    def user(self, name: str, *more: str, password: str = "correct horse") -> dict[str, Any]:
        return self.json("user", "create", name, "--password-stdin", *more, stdin=f"{password}\n")


def clean(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Work in an empty directory, with no setting but those of the test."""
    for name in list(os.environ):
        if name.startswith(("WATCHWORD_", "_WATCHWORD", "FASTAPI_ENV", "PORT")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(directory)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """No settings at all."""
    clean(monkeypatch, tmp_path)
    return Terminal(tmp_path)


@pytest.fixture
def run(empty: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A production server's settings, with hashing as cheap as it gets."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    return empty

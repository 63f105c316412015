"""Real processes on a real port: what an operator does while the server runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from ports import free_port

from watchword.crypto.strict import decode64

WATCHWORD = [sys.executable, "-c", "from watchword.cli import main; main()"]
LONGEST = 120  # seconds that anything may take on the slowest machine
SETTINGS = {
    "WATCHWORD_ENV": "production",
    "WATCHWORD_ISSUER": "https://id.example.com",
    "WATCHWORD_SECRET": "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A",
    "WATCHWORD_HASH_MEMORY_KIB": "64",
    "WATCHWORD_HASH_PASSES": "1",
}


def plain(settings: dict[str, str]) -> dict[str, str]:
    """This process's variables without settings of its own, and those given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WATCHWORD_", "PORT"))}
    return {**kept, **settings, "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(
    directory: Path, *args: str, at: str, settings: dict[str, str]
) -> Iterator[tuple[str, Path]]:
    """A server until the block ends: its address, and the file of what it says."""
    port, said = free_port(), directory / "said"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [*WATCHWORD, *args, "--port", str(port)],
            cwd=directory,
            env=plain(settings),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(LONGEST * 20):
            assert process.poll() is None, said.read_text()
            try:
                httpx2.get(base + at)
                break
            except httpx2.TransportError:
                time.sleep(0.05)
        yield base, said
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


class Place:
    """A directory with a server in it."""

    def __init__(self, directory: Path, base: str) -> None:
        self.directory = directory
        self.base = base

    def command(self, *args: str, stdin: str = "") -> str:
        done = subprocess.run(
            [*WATCHWORD, *args],
            cwd=self.directory,
            env=plain(SETTINGS),
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            timeout=LONGEST,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def login(self, name: str, password: str = "correct horse") -> dict[str, Any]:
        answer = httpx2.post(self.base + "/token", data={"username": name, "password": password})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def answers(self, access_token: str) -> set[int]:
        """What the workers say; each request is a connection of its own, so all are asked."""
        head = {"Authorization": f"Bearer {access_token}"}
        return {httpx2.get(self.base + "/users/me", headers=head).status_code for _ in range(12)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("served")
    (directory / "watchword.toml").write_text('[scopes]\nme = "See who you are"\n')
    with running(directory, "serve", "--workers", "2", at="/token", settings=SETTINGS) as (base, _):
        made = Place(directory, base)
        made.command(
            "user", "create", "ada", "--scope", "me", "--password-stdin", stdin="correct horse\n"
        )
        yield made


def test_disabling_reaches_every_worker_at_once(place: Place) -> None:
    token = place.login("ada")["access_token"]
    assert place.answers(token) == {200}
    place.command("user", "disable", "ada", "--yes")
    assert place.answers(token) == {401}
    place.command("user", "enable", "ada")
    assert place.answers(token) == {401}  # what was ended stays ended
    assert place.answers(place.login("ada")["access_token"]) == {200}


def test_signing_out_everywhere_reaches_every_worker_at_once(place: Place) -> None:
    tokens = place.login("ada")
    place.command("user", "revoke-all", "ada", "--yes")
    assert place.answers(tokens["access_token"]) == {401}
    again = httpx2.post(
        place.base + "/refresh-token", data={"refresh_token": tokens["refresh_token"]}
    )
    assert again.status_code == 400


def test_a_rotated_key_signs_at_once_in_every_worker(place: Place) -> None:
    old = place.login("ada")["access_token"]
    place.command("key", "rotate", "--now")
    new = place.login("ada")["access_token"]
    assert old.split(".")[0] != new.split(".")[0]
    assert place.answers(old) == place.answers(new) == {200}


@pytest.mark.parametrize("first", [(), ("key", "rotate", "--now"), ("key", "rotate")])
def test_what_a_leaked_key_signed_is_dead_at_once_in_every_worker(
    place: Place, first: tuple[str, ...]
) -> None:
    tokens = place.login("ada")
    assert place.answers(tokens["access_token"]) == {200}
    kid = json.loads(decode64(tokens["access_token"].split(".")[0].encode()))["kid"]
    if first:
        place.command(*first)
    place.command("key", "retire", kid, "--now", "--yes")
    assert place.answers(tokens["access_token"]) == {401}
    published = httpx2.get(place.base + "/.well-known/jwks.json").json()["keys"]
    assert kid not in {key["kid"] for key in published}
    again = httpx2.post(
        place.base + "/refresh-token", data={"refresh_token": tokens["refresh_token"]}
    )
    assert place.answers(again.json()["access_token"]) == {200}, "people notice nothing"


def test_a_client_works_as_soon_as_it_is_made_and_not_after(place: Place) -> None:
    made = json.loads(place.command("client", "create", "nightly", "--scope", "me", "--json"))

    def statuses() -> set[int]:
        ask = {"grant_type": "client_credentials"}
        who = (made["client_id"], made["client_secret"])
        return {
            httpx2.post(place.base + "/token", data=ask, auth=who).status_code for _ in range(8)
        }

    assert statuses() == {200}
    place.command("client", "delete", made["client_id"], "--yes")
    assert statuses() == {401}


@pytest.mark.attack("S-07")
def test_everything_it_writes_is_for_its_owner(place: Place) -> None:
    made = list(place.directory.glob("watchword.db*"))
    assert len(made) >= 3
    assert {path.stat().st_mode & 0o077 for path in made} == {0}


@pytest.mark.attack("D-05")
def test_the_served_server_has_the_limits(place: Place) -> None:
    try:
        answer = httpx2.get(place.base + "/users/me", headers={"X-Flood": "y" * 65_536})
        assert answer.status_code in (400, 431)
    except httpx2.TransportError:
        pass  # it hung up, which is as good


def test_it_does_not_say_what_it_is(place: Place) -> None:
    assert "server" not in httpx2.get(place.base + "/nothing").headers
    assert httpx2.get(place.base + "/docs").status_code == 404


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed commands use curl")
def test_what_dev_prints_can_be_pasted(tmp_path: Path) -> None:
    with running(tmp_path, "dev", at="/users/me", settings={}) as (base, said):
        port = base.rpartition(":")[2]
        told = said.read_text()
        first, last = told.index("export WATCHWORD"), told.rindex("$(field access_token)")
        script = told[first : told.index("\n", last)]
        assert "#" not in script, "an interactive zsh has no comments"
        assert f"BASE=http://localhost:{port}" in script
        done = subprocess.run(
            ["bash", "-euc", script], text=True, capture_output=True, check=True, timeout=LONGEST
        )
        assert '"username":"johndoe"' in done.stdout
        assert "Token revoked" in done.stdout
        assert done.stdout.rstrip().endswith("401: the token is dead")
        alice = httpx2.post(base + "/token", data={"username": "alice", "password": "secret2"})
        assert alice.status_code == 401
        assert "DEVELOPMENT MODE" in told


def test_an_app_is_developed_with_its_own_database(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "from fastapi import FastAPI\nfrom watchword import Auth\n"
        'app = FastAPI()\nauth = Auth(app, database_url="sqlite:///./own.db")\n'
        '@app.get("/hello", dependencies=[auth.require()])\n'
        'async def hello(): return "hello"\n'
    )
    with running(tmp_path, "dev", "--app", "main:app", at="/hello", settings={}) as (base, _):
        token = Place(tmp_path, base).login("johndoe", "secret")["access_token"]
        head = {"Authorization": f"Bearer {token}"}
        assert httpx2.get(base + "/hello", headers=head).json() == "hello"
    assert (tmp_path / "own.db").is_file()
    assert not (tmp_path / "watchword.db").exists()

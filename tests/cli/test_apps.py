"""Commands about an app: its keywords of `Auth(...)`, its database, its users."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import uvicorn

_numbers = itertools.count(1)
KEYWORDS = 'database_url="sqlite:///./own.db", access_token_alg="Ed25519", hash_memory_kib=64'


@pytest.fixture(autouse=True)
def _path(monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


def an_app(run, more: str = "", before: str = "") -> str:
    """An app whose Auth names another database than the variables do; its import string."""
    name = f"shop{next(_numbers)}"  # modules stay imported
    (run.directory / f"{name}.py").write_text(
        "from fastapi import FastAPI\nfrom watchword import Account, Auth, SQLAlchemyUsers\n"
        f"{before}app = FastAPI()\nauth = Auth(app, {KEYWORDS}{more})\n"
    )
    return f"{name}:app"


def test_a_user_is_created_where_the_app_looks(run) -> None:
    app = an_app(run)
    run.user("ada", "--app", app)
    assert [one["username"] for one in run.json("user", "list", "--app", app)] == ["ada"]
    assert not (run.directory / "watchword.db").exists()
    assert run.json("user", "list") == []  # the variables' own


def test_the_app_may_stand_in_the_file_for_all_commands(run) -> None:
    app = an_app(run)
    (run.directory / "watchword.toml").write_text(f'app = "{app}"\n')
    run.user("ada")
    made = run.json("client", "create", "nightly", "--scope", "me")
    assert run.json("key", "rotate")["alg"] == "Ed25519"
    assert run.json("migrate", "status")["database"] == "sqlite:///./own.db"
    assert run.json("info")["settings"]["access_token_alg"] == "Ed25519"
    findings = run.json("doctor")["findings"]
    assert any("own.db is whole" in one["message"] for one in findings)
    assert run.json("routes", code=0)["total"] == 0
    assert "not a token" in run.json("token", "inspect", "x.y")["kind"]
    assert run.json("client", "show", made["client_id"])["name"] == "nightly"
    assert not (run.directory / "watchword.db").exists()


def test_an_app_that_is_named_comes_before_that_of_the_file(run) -> None:
    (run.directory / "watchword.toml").write_text('app = "not_there_at_all:app"\n')
    assert "no module not_there_at_all" in run("user", "list", code=4).stderr
    assert run.json("user", "list", "--app", an_app(run)) == []


@pytest.mark.parametrize("value", ["5", '"main"', "[]"])
def test_what_names_no_app_is_refused(run, value: str) -> None:
    (run.directory / "watchword.toml").write_text(f"app = {value}\n")
    assert 'app = "main:app"' in run("user", "list", code=78).stderr


def test_an_app_without_an_auth_is_told_so(run) -> None:
    (run.directory / "bare_shop.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    assert "has no Auth" in run("user", "list", "--app", "bare_shop:app", code=1).stderr


def test_the_app_of_the_file_is_served(run, monkeypatch) -> None:
    app, served = an_app(run), []
    (run.directory / "watchword.toml").write_text(f'app = "{app}"\n')
    monkeypatch.setattr(uvicorn, "run", lambda target, **more: served.append(target))
    assert "own.db" in run("serve").stdout
    assert served == [app]


def test_init_writes_the_name_of_the_app(empty) -> None:
    app = an_app(empty)
    empty("init", "--yes", "--app", app)
    empty.user("ada")
    assert (empty.directory / "own.db").exists()
    assert "[scopes]" not in (empty.directory / "watchword.toml").read_text()


OWN = """
class Mine:
    people = {"7": Account(sub="7", username="grace")}
    async def by_login(self, login): return next((p for p in self.people.values() if p.username == login), None)
    async def by_subject(self, subject): return self.people.get(subject)
    async def password_is(self, account, password): return False
"""


def test_users_of_the_app_s_own_are_shown_and_signed_out_and_otherwise_left_alone(run) -> None:
    (run.directory / "watchword.toml").write_text(f'app = "{an_app(run, ", users=Mine()", OWN)}"\n')
    assert run.json("user", "show", "grace")["sub"] == "7"
    assert run.json("user", "show", "7")["username"] == "grace"
    assert run.json("user", "revoke-all", "grace", "--yes")["sessions_ended"] == 0
    run("user", "show", "nobody", code=4)
    for command in (
        ("create", "ada", "--password-stdin"),
        ("list",),
        ("disable", "grace", "--yes"),
        ("enable", "grace"),
        ("set-password", "grace", "--password-stdin", "--yes"),
    ):
        refused = run("user", *command, stdin="correct horse\n", code=5)
        assert "This app has users of its own" in refused.stderr
        assert "Mine" in refused.stderr


ADOPTED = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
engine = create_engine("sqlite:///people.db")
class Base(DeclarativeBase): pass
class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
Base.metadata.create_all(engine)
def get_session():
    with Session(engine) as session:
        yield session
with Session(engine) as session:
    session.merge(Person(id=1, email="ada@example.com"))
    session.commit()
"""


def test_people_of_the_app_s_own_table_get_their_passwords_here(run) -> None:
    users = ", users=SQLAlchemyUsers(Person, get_session, email=Person.email)"
    app = an_app(run, users, ADOPTED)
    told = run.json(
        "user", "set-password", "Ada@Example.com", "--password-stdin", "--yes", "--app", app,
        stdin="correct horse\n",
    )  # fmt: skip
    assert told["sub"] == "u_1"
    run("user", "create", "bob", "--password-stdin", "--app", app, stdin="x" * 9, code=5)
    asked = (
        "import asyncio, sys\n"
        f"from {app.partition(':')[0]} import auth\n"
        "async def main():\n"
        "    account = await auth.users.by_login('ada@example.com')\n"
        "    print(await auth.users.password_is(account, 'correct horse'))\n"
        "    auth.close()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "True"


def test_known_users_are_neither_made_nor_shown_where_the_app_has_its_own(run, monkeypatch) -> None:
    monkeypatch.setattr(uvicorn, "run", lambda *args, **more: None)
    local = {"WATCHWORD_ENV": "development", "WATCHWORD_ISSUER": "http://localhost:8000"}
    for users, before, shown in (("", "", True), (", users=Mine()", OWN, False)):
        app = an_app(run, users, before)
        told = run("dev", "--app", app, "--port", "0", **local)
        assert ("johndoe" in told.stdout) is shown

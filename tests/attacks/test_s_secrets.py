"""Rows S of the attack catalogue: no secret in a dump, a log, a repr or an open file."""

import ast
import base64
import logging
import os
import traceback
from pathlib import Path

import pytest

from watchword.crypto.secrets import Secret
from watchword.endpoints.client_auth import Credentials
from watchword.exchanges.bench import Caller, Entitlement
from watchword.rules.params import PasswordAsk, RefreshAsk
from watchword.rules.scopes import NONE, Scopes
from watchword.seams import StoredUser

SOURCE = Path(__file__).parents[2] / "src" / "watchword"
PASSWORD = "correct-horse-battery-9f3a"
PRODUCTION = {"env": "production", "issuer": "https://id.example.com", "migrate": "auto"}


def spellings(secret: str) -> set[bytes]:
    """A secret as it is, and in the encodings that would still give it away."""
    raw = secret.encode()
    return {raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"=")}


async def busy_day(server) -> set[bytes]:
    """Everything that hands out or takes a secret; returns all of them, however spelt."""
    await server.auth.start()
    await server.add_user("johndoe", PASSWORD)
    _, secret = await server.add_client(
        "job",
        grants={"refresh_token", "client_credentials"},
        introspects=(server.auth.settings.audience,),
    )
    shown = {"client_id": "job", "client_secret": secret}
    pair = base64.b64encode(f"job:{secret}".encode()).decode()
    seen = [PASSWORD, secret, pair, server.auth.settings.secret, "wrong-but-nearly-right-77"]

    first = await server.login(password=PASSWORD)
    second = (await server.refresh(first["refresh_token"])).json()
    own = await server.post("/token", {"grant_type": "client_credentials", **shown})
    basic = {"Authorization": f"Basic {pair}"}
    await server.post("/introspect", {"token": second["access_token"]}, headers=basic)
    await server.post("/introspect", {"token": second["refresh_token"], **shown})
    foreign = await server.grant_for("job")
    await server.refresh(foreign, **shown)
    seen += [*_texts(first), *_texts(second), own.json()["access_token"], foreign]

    # what goes wrong is logged more often than what goes right
    await server.post("/token", {"username": "johndoe", "password": seen[4]})
    await server.post("/token", {"username": PASSWORD, "password": PASSWORD})
    await server.post(f"/token?password={PASSWORD}", {"username": "x"})
    await server.post("/token", {"grant_type": PASSWORD, "client_secret": secret})
    await server.post("/token", {"grant_type": "client_credentials", **shown, "scope": "nothing"})
    await server.http.post("/token", content=PASSWORD.encode())
    await server.get("/guarded", first["access_token"][:-4] + "AAAA")
    await server.get(f"/guarded?access_token={first['access_token']}")
    server.clock.tick(31)
    await server.refresh(first["refresh_token"])  # reuse: the grant ends
    await server.get("/guarded", second["access_token"])
    await server.http.post(
        "/revoke-token", headers={"Authorization": f"Bearer {own.json()['access_token']}"}
    )
    await server.post("/revoke", {"token": foreign, **shown})
    await server.auth.tidy()
    return {spelling for text in seen for spelling in spellings(text)} | _raw_parts(first)


def _texts(tokens: dict) -> list[str]:
    return [tokens["access_token"], tokens["refresh_token"]]


def _raw_parts(tokens: dict) -> set[bytes]:
    """The secret part and the MAC inside a refresh token, as a BLOB would hold them."""
    raw = base64.urlsafe_b64decode(tokens["refresh_token"].removeprefix("wwr_") + "==")
    parts = raw[20:36], raw[36:52]
    return {spelt for part in parts for spelt in (part, part.hex().encode())}


@pytest.mark.attack("S-02")
@pytest.mark.parametrize("mode", [{}, PRODUCTION])
async def test_no_file_of_the_server_holds_a_secret(build, tmp_path, mode):
    server = build(database_url=f"sqlite:///{tmp_path}/main.db", **mode)
    secrets = await busy_day(server)
    assert len(secrets) > 20
    for _ in range(2):  # while it runs, write-ahead log included, and after it has closed
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {"main.db"} <= {path.name for path in files}
        for path in files:
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret in content], path.name
        server.auth.close()


@pytest.mark.attack("S-03")
async def test_no_log_holds_a_secret_even_at_debug(build, caplog):
    caplog.set_level(logging.DEBUG)
    server = build()

    def failing(event) -> None:
        raise RuntimeError("a listener that fails, so that its traceback is logged too")

    server.auth.events.listen(failing)
    secrets = await busy_day(server)
    # httpx2 is the test's own client, and aiosqlite and asyncio say nothing of ours
    ours = [record for record in caplog.records if not record.name.startswith("http")]
    assert {"watchword.events", "watchword.endpoints"} <= {record.name for record in ours}
    assert any(record.exc_info for record in ours)
    for record in ours:
        text = f"{record.getMessage()} {vars(record)!r}"
        if record.exc_info:
            text += "".join(traceback.format_exception(*record.exc_info))
        assert not [secret for secret in secrets if secret.decode("latin-1") in text], text[:200]


@pytest.mark.attack("S-03")
async def test_no_event_holds_a_secret_or_a_typed_name(build):
    server = build()
    secrets = await busy_day(server)
    assert len({event.kind for event in server.events}) >= 6
    for event in server.events:
        assert not [secret for secret in secrets if secret.decode("latin-1") in repr(event)]


@pytest.mark.attack("S-06")
async def test_nothing_shows_a_secret_when_it_is_printed(server):
    settings = server.auth.settings
    bench = server.auth._bench
    account = await server.auth.users.by_login("johndoe")
    tokens = await server.login()
    canary = tokens["refresh_token"]
    presented = bench.refresh_tokens.read(canary, "watchword")
    values = [
        settings,
        bench,
        server.auth,
        bench.refresh_tokens,
        server.auth.signing,
        server.auth.signing.ring,
        server.auth.signing.ring.signer("ES256", server.clock()),
        server.auth.passwords,
        presented,
        PasswordAsk(canary, canary, NONE),
        RefreshAsk(canary, NONE),
        Credentials("job", canary, "client_secret_post"),
        Caller("127.0.0.1", {"secret": canary}),
        StoredUser(account, canary),
        Entitlement("u", Scopes(["me"]), "r", 1, refresh_token=Secret(canary)),
    ]
    hidden = [settings.secret, canary, repr(presented.secret), presented.secret.hex()]
    for value in values:
        for text in (repr(value), str(value), f"{value}"):
            assert not [secret for secret in hidden if secret in text], type(value).__name__


@pytest.mark.attack("S-07")
@pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")
async def test_every_file_is_its_owners_whatever_the_umask(build, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = os.umask(0)
    try:
        server = build(secret="", database_url="sqlite:///main.db")
        await server.auth.start()
        await server.add_user("johndoe")
        await server.login()
        files = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    finally:
        os.umask(before)
    assert {"main.db", "main.db-wal", "main.db-shm", "main.db-limits", "secret"} <= files.keys()
    harmless = {".gitignore"}
    assert not [n for n, mode in files.items() if mode & 0o077 and n not in harmless], files


# --- what the source may not do -----------------------------------------------------

# Names of clear secrets and of what is compared instead of them by an attacker's bytes.
SECRETS = {
    "secret", "client_secret", "password", "clear", "mac", "signature", "token", "refresh_token",
    "access_token", "code", "offered", "hashed",
}  # fmt: skip
# Why an equality of such a name is none of a secret.
HARMLESS = {
    "crypto/passwords.py": "two spellings of what one caller typed",
    "settings/checks.py": "an operator's secret, compared with itself at start",
}


def trees():
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _said(node: ast.AST) -> str:
    """The last name of `a.b.c` or `a.b[0]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def compared(tree: ast.AST) -> list[int]:
    """The lines that compare two values, one of them a secret, with `==`, `!=`, or `in`."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        operands = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
            if not isinstance(operator, ast.Eq | ast.NotEq):
                continue
            if isinstance(left, ast.Constant) or isinstance(right, ast.Constant):
                continue  # an error code, an empty text: not a secret
            if {_said(left), _said(right)} & SECRETS:
                found.append(node.lineno)
    return found


@pytest.mark.attack("S-04")
def test_no_secret_is_compared_with_an_equals_sign():
    found = {name: lines for name, tree in trees() if (lines := compared(tree))}
    found = {
        n: lines for n, lines in found.items() if not n.endswith(("contract.py", "accounts.py"))
    }
    assert found.keys() == HARMLESS.keys(), found


@pytest.mark.attack("S-04")
def test_the_lint_sees_what_it_is_for():
    assert compared(ast.parse("if shown.client_secret == kept:\n    pass")) == [1]
    assert compared(ast.parse("ok = mac != expected[0]")) == [1]
    assert compared(ast.parse("ok = parts[:4] == body or same(mac, other)")) == []


@pytest.mark.attack("S-05")
def test_chance_comes_from_the_system_only():
    never = {"random", "uuid", "numpy"}
    for name, tree in trees():
        for node in ast.walk(tree):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            assert not {module.split(".")[0] for module in modules} & never, (name, node.lineno)


# The pieces that no parameter can be: a table of ours, a level of ours.
GLUED = {"f'SELECT version_num FROM {tables.version.name}'", "f'PRAGMA synchronous={level}'"}


@pytest.mark.attack("S-01")
def test_no_statement_is_glued_together_from_values():
    found = set()
    for _, tree in trees():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and _said(node.func) in {"execute", "exec_driver_sql", "text", "executescript"}
                and node.args
                and isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
            ):
                found.add(ast.unparse(node.args[0]))
    assert found == GLUED


@pytest.mark.attack("S-01", "S-08")
async def test_quotes_and_comments_are_text(build):
    server = build(limit_login_account_ip="off", limit_login_ip="off", limit_login_account="off")
    await server.auth.start()
    await server.add_user("johndoe")
    tokens = await server.login()
    answers = {}
    for payload in (
        "' OR '1'='1", "johndoe'--", "johndoe' /*", "'; DROP TABLE watchword_users; --", '" OR ""="',
        "\\", "%", "_", "johndoe%", "j_hndoe", "1 UNION SELECT 1", "randomblob(100000000)",
    ):  # fmt: skip
        with server.unchanged():
            login = await server.post("/token", {"username": payload, "password": "secret"})
            scope = await server.refresh(
                tokens["refresh_token"], scope="x" + payload.replace(" ", "")
            )
            client = await server.refresh(tokens["refresh_token"], client_id=payload)
            token = await server.post("/revoke", {"token": payload})
        answers.setdefault("login", set()).add(login.text)
        answers.setdefault("client", set()).add(client.text)
        answers.setdefault("token", set()).add(token.text)
        assert scope.json()["error"] == "invalid_scope"
        assert (login.status_code, client.status_code, token.status_code) == (401, 401, 200)
    assert {name: len(texts) for name, texts in answers.items()} == {
        "login": 1,
        "client": 1,
        "token": 1,
    }
    assert (await server.refresh(tokens["refresh_token"])).is_success

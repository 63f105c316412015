"""Row S-01 of the attack catalogue: values are parameters, in the source and on the wire."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "watchword"


def trees():
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _said(node: ast.AST) -> str:
    """The last name of `a.b.c` or `a.b[0]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


# The pieces that no parameter can be: tables and columns of ours, a level or a number of ours.
GLUED = {
    "f'SELECT version_num FROM {tables.version.name}'",
    "f'SELECT serves_from FROM {tables.floor.name}'",
    "f'SELECT {column} FROM {table.name}'",
    "f'PRAGMA synchronous={level}'",
    "f'LISTEN {CHANNEL}'",
    "f'LOCK TABLE {names} IN SHARE MODE'",
    "f'SET lock_timeout = {int(_SOONER * self._patience * 1000)}'",
}


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

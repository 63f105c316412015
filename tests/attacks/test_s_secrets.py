"""Rows S of the attack catalogue: what is stored, logged and shown of a secret is never the secret."""

import ast
import asyncio
import base64
import logging
import os
import stat
from pathlib import Path

import pytest

import watchword
from watchword.exchanges.bench import Entitlement
from watchword.seams import Account, StoredUser

SOURCE = Path(watchword.__file__).parent
PASSWORD = "correct-Horse-7-battery"
WRONG = "wrong-Horse-8-battery"


async def a_whole_day(server) -> dict[str, str]:
    """Every endpoint, in right and wrong ways; returns each secret that was in play, by name."""
    seen: dict[str, str] = {"password": PASSWORD, "wrong password": WRONG}

    def keep(name: str, tokens: dict) -> dict:
        for kind in ("access_token", "refresh_token"):
            if kind in tokens:
                seen[f"{name} {kind}"] = tokens[kind]
        return tokens

    await server.add_user("ada", PASSWORD)
    _, secret = await server.add_client("job", grants={"client_credentials", "refresh_token"})
    seen["client secret"] = secret
    pair = base64.b64encode(f"job:{secret}".encode()).decode()
    seen["basic"] = pair
    header = {"Authorization": f"Basic {pair}"}
    first = keep("first", await server.login("ada", PASSWORD))
    await server.post("/token", {"username": "ada", "password": WRONG})
    await server.post("/token", {"username": PASSWORD, "password": "x"})
    await server.post("/token", {"username": "ada", "password": PASSWORD, "scope": 'a"b'})
    await server.post(f"/token?password={PASSWORD}", {"username": "ada", "password": PASSWORD})
    await server.http.post("/token", json={"username": "ada", "password": PASSWORD})
    second = keep("second", (await server.refresh(first["refresh_token"])).json())
    await server.refresh(second["refresh_token"], scope="admin")
    await server.refresh(second["refresh_token"][:-1])
    keep(
        "job",
        (await server.post("/token", {"grant_type": "client_credentials"}, headers=header)).json(),
    )
    await server.post(
        "/token", {"grant_type": "client_credentials", "client_secret": secret}, headers=header
    )
    await server.post("/introspect", {"token": second["access_token"]}, headers=header)
    for path in ("/guarded", "/users/me", "/token-claims", "/users/me/items"):
        await server.get(path, second["access_token"])
        await server.get(path, second["access_token"] + "x")
        await server.get(f"{path}?access_token={second['access_token']}")
    third = keep("third", await server.login("ada", PASSWORD))
    bearer = {"Authorization": f"Bearer {third['access_token']}"}
    await server.http.post("/revoke-token", headers=bearer)
    await server.http.post("/revoke-token", headers=bearer)
    await server.post("/revoke", {"token": second["refresh_token"]})
    server.clock.tick(31)
    await server.refresh(first["refresh_token"])
    for _ in range(7):
        await server.post("/token", {"username": "ada", "password": WRONG})
    await server.auth.tidy()
    seen["server secret"] = server.auth.settings.secret
    return seen


def forms(secret: str) -> list[bytes]:
    raw = secret.encode()
    return [
        raw,
        base64.b64encode(raw).rstrip(b"=")[:-1],
        raw.hex().encode(),
        raw.decode().encode("utf-16-le"),
    ]


@pytest.mark.attack("S-02", "S-12")
async def test_a_dump_of_the_database_holds_no_secret(build, kept_url, request):
    server = build(database_url=kept_url)
    await server.auth.start()
    seen = await a_whole_day(server)
    assert len(seen) >= 11
    if server.auth.driver.is_local:
        where = Path(server.auth.driver.path).parent
        files = [path for path in where.rglob("*") if path.is_file()]
        assert {"w.db", "w.db-wal"} <= {path.name for path in files}
        dump = b"".join(path.read_bytes() for path in files)
        dump += "\n".join(server.auth.driver.connection.iterdump()).encode()
    else:
        dump = request.getfixturevalue("postgres").dump(kept_url)
    assert b"watchword_grants" in dump
    for name, secret in seen.items():
        for form in forms(secret):
            assert form not in dump, name
        # a refresh token's secret part, its MAC, and an access token's signature neither
        if name.endswith("refresh_token"):
            raw = base64.urlsafe_b64decode(secret.removeprefix("wwr_") + "==")
            for part in (raw[20:36], raw[36:]):
                assert part not in dump
                assert part.hex().encode() not in dump
        if name.endswith("access_token"):
            assert secret.rpartition(".")[2].encode() not in dump
    assert b"PRIVATE KEY" not in dump


@pytest.mark.attack("S-03", "T-34", "J-46")
async def test_no_log_line_holds_a_secret(build, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("watchword").setLevel(logging.DEBUG)
    server = build()
    await server.auth.start()
    caplog.clear()
    seen = await a_whole_day(server)
    ours = [record for record in caplog.records if record.name.partition(".")[0] == "watchword"]
    assert len(ours) > 20
    text = "\n".join(f"{record.getMessage()} {vars(record)!r} {record.exc_text}" for record in ours)
    text += repr(server.events)
    for name, secret in seen.items():
        assert secret not in text, name
        assert secret.rpartition(".")[2] not in text, name
    for record in ours:
        assert "\n" not in record.getMessage()


@pytest.mark.attack("S-03")
async def test_an_error_of_ours_holds_no_secret(build, caplog):
    """A fault in the middle of a login: what is logged of it names no password."""
    from watchword.seams import LoginContext

    def prepare(app, auth) -> None:
        @auth.before("login")
        async def broken(context: LoginContext) -> None:
            raise RuntimeError(f"cannot look up {context!r}")

    server = build(prepare)
    await server.auth.start()
    await server.add_user("ada", PASSWORD)
    with pytest.raises(RuntimeError) as fault:
        await server.post("/token", {"username": "ada", "password": PASSWORD})
    assert PASSWORD not in str(fault.value)
    assert PASSWORD not in caplog.text


@pytest.mark.attack("S-06")
async def test_nothing_shows_a_secret_when_printed(server):
    tokens = await server.login()
    at = server.auth._bench
    presented = at.refresh_tokens.read(tokens["refresh_token"], "watchword")
    first, _ = at.refresh_tokens.first(bytes(16), b"CANARYCANARYCANA", "watchword")
    shown = [
        at.settings,
        presented,
        first,
        at.refresh_tokens,
        at,
        server.auth,
        server.auth.signing,
        server.auth.signing.ring,
        await server.auth.store.keys(),
        await server.auth.store.user_by_login("johndoe"),
        StoredUser(Account("u_1", "x"), "$argon2id$CANARY"),
        Entitlement("u_1", Account("u_1", "x").scopes, "here", 0, refresh_token=first),
    ]
    text = "".join(map(repr, shown)) + "".join(map(str, shown))
    for secret in (
        server.auth.settings.secret, tokens["refresh_token"], first.clear, "CANARY", "$argon2id$",
        repr(presented.secret), presented.secret.hex(),
    ):  # fmt: skip
        assert secret not in text
    for key in await server.auth.store.keys():
        assert repr(key.sealed) not in text


@pytest.mark.sqlite
@pytest.mark.no_redis
@pytest.mark.attack("S-07")
async def test_files_are_for_their_owner_alone_whatever_the_umask(build, tmp_path):
    before = os.umask(0)
    try:
        server = build(database_url=f"sqlite:///{tmp_path}/main.db", secret="")
        await server.auth.start()
        await server.add_user("johndoe")
        await server.login()
        await server.post("/token", {"username": "johndoe", "password": "wrong"})
        modes = {
            str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
            for path in tmp_path.rglob("*")
            if path.is_file() and path.name != ".gitignore"
        }
    finally:
        os.umask(before)
    wanted = {"main.db", "main.db-wal", "main.db-shm", "main.db-limits", ".watchword/secret"}
    assert wanted <= set(modes)
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


# --- the lint ---

_SECRET_NAMES = {
    "secret", "client_secret", "password", "clear", "mac", "signature", "token", "refresh_token",
    "access_token", "offered", "sealed",
}  # fmt: skip
_HARMLESS = {
    # two spellings of what one person typed, in one request
    "if not matches and not current and typed != secret:": "crypto/passwords.py",
    # SQL, where the database compares a hash with the one that was read
    '_c.c.secret == bindparam("instead_of"),': "store/accounts.py",
    # the same with a key that is sealed
    '.where(_k.c.kid == bindparam("which"), _k.c.sealed == bindparam("instead_of"))': (
        "store/signing.py"
    ),
}
_CONSTANTS = (ast.Constant, ast.Tuple, ast.List)


def _named(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return ""


def compared(tree: ast.AST) -> list[int]:
    """Lines that compare a secret with `==`, other than with a constant."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        if not any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops):
            continue
        if any(isinstance(side, _CONSTANTS) for side in sides):
            continue
        if any(_named(side) in _SECRET_NAMES for side in sides):
            lines.append(node.lineno)
    return lines


@pytest.mark.attack("S-04")
def test_no_secret_is_compared_with_an_ordinary_operator():
    """Secrets are found by their digest or compared in constant time (`hmac.compare_digest`)."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        lines = path.read_text().splitlines()
        for line in compared(ast.parse(path.read_text())):
            found[f"{path.relative_to(SOURCE)}:{line}"] = lines[line - 1].strip()
    assert {place: text for place, text in found.items() if text not in _HARMLESS} == {}
    assert set(_HARMLESS) <= set(found.values()), "an exception that nothing needs"


@pytest.mark.attack("S-04")
def test_the_lint_bites():
    for bad in ("a.secret == b", "mac != other", "token in known", "x == y.password"):
        assert compared(ast.parse(bad)) == [1]
    for good in ("secret == ''", "same(secret, other)", "digest(token) == x", "kind == other"):
        assert compared(ast.parse(good)) == []


@pytest.mark.attack("S-05")
def test_chance_comes_from_the_operating_system():
    banned = {"random", "uuid"}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            assert not banned & {name.partition(".")[0] for name in names}, path


@pytest.mark.attack("S-01")
async def test_text_is_never_part_of_a_statement(server):
    payloads = [
        "' OR '1'='1",
        "'; DROP TABLE watchword_users; --",
        '" OR ""="',
        "\\",
        "%",
        "_",
        "1)) --",
    ]
    before = server.tables()
    for text in payloads:
        for form in (
            {"username": text, "password": text},
            {"grant_type": "client_credentials", "client_id": text, "client_secret": text},
            {"grant_type": "refresh_token", "refresh_token": text},
        ):
            answer = await server.post("/token", form)
            assert 400 <= answer.status_code < 430
        await server.post("/revoke", {"token": text})
        assert await server.auth.store.users(after=text) is not None
    assert server.tables() == before
    assert len(server.rows("SELECT * FROM watchword_users")) == 2


@pytest.mark.attack("S-09")
async def test_of_many_who_take_one_name_one_gets_it(build, kept_url):
    server = build(database_url=kept_url)
    await server.auth.start()
    spelt = ["ada", "ADA", " ada", "\uff41da"] * 5
    made = await asyncio.gather(
        *(
            server.auth.store.add_user(StoredUser(Account(f"u_{n}", name), None))
            for n, name in enumerate(spelt)
        )
    )
    assert sum(made) == 1

"""Rows D of the attack catalogue, counted: bytes taken in, rows kept, sessions lost, patterns."""

import ast
import asyncio
import gzip
from pathlib import Path
from re import _parser

import pytest

FORM = "application/x-www-form-urlencoded"
SOURCE = Path(__file__).parents[2] / "src" / "watchword"
PATHS = ["/token", "/auth/token", "/refresh-token", "/revoke", "/introspect"]
NO_LIMITS = {
    "limit_login_account_ip": "off",
    "limit_login_ip": "off",
    "limit_login_account": "off",
    "limit_token": "off",
}
LOGIN = {"username": "johndoe", "password": "secret"}


class Counting:
    """A body that counts how much of it was asked for."""

    def __init__(self, size: int, piece: bytes = b"x" * 1024) -> None:
        self.pieces, self.piece, self.read = size // len(piece), piece, 0

    async def __aiter__(self):
        for _ in range(self.pieces):
            self.read += len(self.piece)
            yield self.piece


async def body_read(server, path: str, headers: dict[str, str], size: int) -> tuple[int, int]:
    """The status, and how many bytes of a body of `size` the server took in."""
    source = Counting(size)
    pieces = source.__aiter__()
    status = 0

    async def receive():
        try:
            return {"type": "http.request", "body": await anext(pieces), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("localhost", 8000),
        "client": ("127.0.0.1", 5000),
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    await server.app(scope, receive, send)
    await pieces.aclose()
    return status, source.read


@pytest.mark.attack("D-03", "D-04")
@pytest.mark.parametrize("path", PATHS)
async def test_what_is_no_form_is_refused_unread(server, path):
    kinds = [
        "application/json",
        "multipart/form-data; boundary=x",
        "multipart/form-data; boundary=" + "a" * 10_000,
        "multipart/form-data" + "; a=b" * 5_000,
        "multipart/form-data; boundary=" + '"' * 5_000,
        f"{FORM}; charset=" + "u" * 20_000,
        "text/plain",
        "",
    ]
    for kind in kinds:
        status, read = await body_read(server, path, {"Content-Type": kind}, 10_000_000)
        assert (status, read) == (415, 0), kind[:60]


@pytest.mark.attack("D-06")
@pytest.mark.parametrize("path", PATHS)
async def test_a_compressed_body_is_refused_unread(server, path, refused):
    for coding in ("gzip", "GZIP", "br", "deflate", "zstd", "identity, gzip", "x"):
        headers = {"Content-Type": FORM, "Content-Encoding": coding}
        assert await body_read(server, path, headers, 1_000_000) == (415, 0)
    bomb = gzip.compress(b"a" * 10_000_000)
    answer = await server.http.post(
        path, content=bomb, headers={"Content-Type": FORM, "Content-Encoding": "gzip"}
    )
    refused(answer, 415, "invalid_request")


@pytest.mark.attack("D-03", "D-05")
@pytest.mark.parametrize("length", [None, "10", "0", "-1", "abc", "9" * 400])
async def test_a_form_without_end_is_read_for_64_kilobytes(server, length):
    headers = {"Content-Type": FORM} | ({} if length is None else {"Content-Length": length})
    status, read = await body_read(server, "/token", headers, 10_000_000)
    assert status == 413
    assert read <= 66 * 1024


@pytest.mark.attack("D-07", "D-12")
async def test_failures_leave_no_rows(build):
    server = build(**NO_LIMITS)
    await server.auth.start()
    await server.add_user("johndoe")
    trail = len(server.rows("SELECT 1 FROM watchword_audit"))
    with server.unchanged():
        for number in range(100):
            await server.post("/token", {"username": f"name{number}", "password": "x"})
            await server.post("/token", {**LOGIN, "scope": "nothing"})
            await server.refresh(f"wwr_{number}")
            await server.post("/revoke", {"token": str(number)})
            await server.post("/introspect", {"token": str(number), "client_id": "nobody"})
    assert len(server.rows("SELECT 1 FROM watchword_audit")) == trail


@pytest.mark.attack("D-07")
async def test_a_session_is_one_row_however_long_it_is_used(build):
    server = build(**NO_LIMITS)
    await server.auth.start()
    await server.add_user("johndoe")
    token = (await server.login())["refresh_token"]
    before = {name: len(rows) for name, rows in server.snapshot().items()}
    trail = len(server.rows("SELECT 1 FROM watchword_audit"))
    for _ in range(200):
        server.clock.tick(60)
        token = (await server.refresh(token)).json()["refresh_token"]
    assert {name: len(rows) for name, rows in server.snapshot().items()} == before
    assert len(server.rows("SELECT 1 FROM watchword_audit")) == trail


@pytest.mark.attack("D-11")
async def test_after_an_outage_everybody_comes_back_at_once(build, kept_url, monkeypatch):
    """What was answered 503 was not spent: every session survives its own refusals."""
    from watchword.seams import Unavailable

    server = build(**NO_LIMITS, database_url=kept_url)
    await server.auth.start()
    await server.add_user("johndoe")
    tokens = [(await server.login())["refresh_token"] for _ in range(40)]

    async def away(*args, **more):
        raise Unavailable("the disk is full")

    monkeypatch.setattr(server.auth.driver, "write", away)
    answers = await asyncio.gather(*(server.refresh(token) for token in tokens))
    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    monkeypatch.undo()
    server.clock.tick(120)
    answers = await asyncio.gather(*(server.refresh(token) for token in tokens))
    assert {answer.status_code for answer in answers} == {200}
    assert not server.told("refresh.reused")


@pytest.mark.attack("D-13")
async def test_who_is_attacked_from_elsewhere_still_gets_in(server):
    server.come_from("203.0.113.9")
    for _ in range(30):
        answer = await server.post("/token", {"username": "johndoe", "password": "wrong"})
    assert answer.status_code == 429
    server.come_from("198.51.100.7")
    assert (await server.login())["access_token"]


# --- patterns that strangers' text meets --------------------------------------------

# An operator writes these; and each repeat begins with a sign that the inner one lacks.
OPERATORS_OWN = {"settings/checks.py"}


def patterns():
    """Every literal pattern in the source, with the file it is in."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                yield path.relative_to(SOURCE).as_posix(), node.args[0].value


def doubled(parsed, *, inside: bool = False) -> bool:
    """Whether an endless repeat holds another: the shape that backtracks for ever."""
    for operator, argument in parsed:
        name = str(operator)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            endless = argument[1] is _parser.MAXREPEAT
            if (endless and inside) or doubled(argument[2], inside=inside or endless):
                return True
        elif (
            name == "SUBPATTERN"
            and doubled(argument[3], inside=inside)
            or name == "BRANCH"
            and any(doubled(branch, inside=inside) for branch in argument[1])
        ):
            return True
    return False


@pytest.mark.attack("D-09")
def test_no_pattern_backtracks_for_ever():
    found = list(patterns())
    assert len(found) > 10
    bad = {name for name, text in found if doubled(_parser.parse(text))}
    assert bad <= OPERATORS_OWN
    assert doubled(_parser.parse("(a+)+")), "the check sees what it is for"
    assert doubled(_parser.parse("(?:a|b*)*"))

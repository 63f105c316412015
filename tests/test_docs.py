"""Every snippet of the documents runs, in order, in a directory of its own.

A page is one module, `main.py`, made of its python blocks; a diff block changes it as
`patch` would. Console blocks run in bash, with a real server where they start one, and
what they show is compared: `...` stands for anything. Comments in the page say more:

    <!-- start: examples/quickstart.py -->   main.py begins as this file
    <!-- is: examples/quickstart.py -->      main.py (or one of this name) must be this file
    <!-- copy: examples/x.py -->             this file lies beside main.py
    <!-- file: client.py -->                 the next block is this file, not main.py
    <!-- exit: 1 -->                         the next block's last command ends so
    <!-- not run: why -->                    the next block is shown only
    <!-- diff: a b -->                       made by scripts/manual.py and checked there

Pages under docs/operate need servers; tests/test_operate.py has them and reads these too:

    <!-- needs: postgres db.example.com:5432 -->      it answers there
    <!-- listens: pool.example.com:6432 -->           the next block's last command serves there
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ports import free_port

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SHOWN_ONLY = {
    "sh", "sql", "text", "json", "js", "http", "toml", "ini", "nginx", "yaml", "dockerfile",
}  # fmt: skip
SERVERS = re.compile(r"watchword (?:dev|serve)\b|uvicorn\b")
PATIENCE = 60.0  # seconds until a server must have started, on a machine that is busy

_COMMENT = re.compile(r"<!-- (start|is|copy|needs|file|exit|listens|not run|diff): (.*?) -->")
_BY_ITSELF = ("start", "is", "copy", "needs")


@dataclass
class Block:
    line: int
    language: str
    text: str
    said: dict[str, str]


def elements(page: str) -> Iterator[Block]:
    """Blocks in order; what a comment says belongs to what follows it."""
    said: dict[str, str] = {}
    lines = iter(enumerate(page.splitlines(keepends=True), 1))
    for number, line in lines:
        if found := _COMMENT.fullmatch(line.strip()):
            if found[1] in _BY_ITSELF:
                yield Block(number, found[1], found[2], {})
            else:
                said[found[1]] = found[2]
        elif line.startswith("```"):
            text = []
            for _, inner in lines:
                if inner.startswith("```"):
                    break
                text.append(inner)
            yield Block(number, line.strip("`\n "), "".join(text), said)
            said = {}
        elif line.strip():
            assert not said, f"line {number}: nothing follows the comment {said}"


@dataclass
class Server:
    """A server that a page started; `port` is the one it really has."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def answers(self) -> bool:
        with socket.socket() as client:
            client.settimeout(1)
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Reader:
    """Somebody who does what a page says. Ports that the page names are others here."""

    where: Path
    servers: dict[str, Server] = field(default_factory=dict)  # by the page's port
    ports: dict[str, int] = field(default_factory=dict)
    written: bool = False
    own_issuer: bool = False

    def __post_init__(self) -> None:
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WATCHWORD_", "PYTEST", "COV", "PYTHON"))
        }
        self.environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }
        if shutil.which("jq") is None:
            self.lend_jq()
        for port in ("8000", "9000"):
            self.ports[port] = free_port()
        if not self.own_issuer:  # the default is that of port 8000
            self.environment["WATCHWORD_ISSUER"] = f"http://localhost:{self.ports['8000']}"

    def lend_jq(self) -> None:
        """As much of `jq -r .name FILE` as pages use."""
        jq = self.where / ".bin" / "jq"
        jq.parent.mkdir()
        jq.write_text(
            f"#!{sys.executable}\nimport json, sys\n"
            "text = open(sys.argv[3]).read() if sys.argv[3:] else sys.stdin.read()\n"
            "print(json.loads(text)[sys.argv[2].lstrip('.')])\n"
        )
        jq.chmod(0o755)
        self.environment["PATH"] = f"{jq.parent}{os.pathsep}{self.environment['PATH']}"

    # --- what blocks do ---

    def do(self, block: Block) -> None:
        main = self.where / "main.py"
        if "not run" in block.said or "diff" in block.said:
            return
        if block.language == "start":
            shutil.copy(ROOT / block.text, main)
        elif block.language == "copy":
            shutil.copy(ROOT / block.text, self.where)
        elif block.language == "is":
            named = self.where / Path(block.text).name
            mine = named if named.exists() else main
            assert mine.read_text() == (ROOT / block.text).read_text(), "it is another file by now"
        elif "file" in block.said:
            (self.where / block.said["file"]).write_text(self.here(block.text))
        elif block.language == "python":
            self.written = True
            before = main.read_text() if main.exists() else ""
            main.write_text(f"{before}\n\n{block.text}" if before else block.text)
        elif block.language == "diff":
            self.written = True
            main.write_text(patched(main.read_text(), block.text))
        elif block.language == "console":
            self.type(block)
        else:
            assert block.language in SHOWN_ONLY, f"how is {block.language!r} to be run?"

    def type(self, block: Block) -> None:
        told = list(commands(block.text))
        assert told, "a console block begins with $"
        for number, (command, shown) in enumerate(told, 1):
            if SERVERS.match(command) and "exit" not in block.said:
                self.serve(command, shown)
                continue
            code, output = self.run(command)
            last = number == len(told)
            assert code == (int(block.said.get("exit", 0)) if last else 0), f"{command}\n{output}"
            if shown:
                assert matches(shown, output), f"$ {command}\n{output}\n--- shown:\n{shown}"

    def run(self, command: str) -> tuple[int, str]:
        script = (
            "set -a; [ -f .state ] && . ./.state; "
            f"{self.here(command)}\ncode=$?; export -p > .state; exit $code"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.where,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, self.there(done.stdout.decode().replace("\r\n", "\n"))

    def here(self, text: str) -> str:
        for shown, real in self.ports.items():
            text = text.replace(f":{shown}", f":{real}")
        return text

    def there(self, text: str) -> str:
        for shown, real in self.ports.items():
            text = text.replace(f":{real}", f":{shown}")
        return text.replace(str(self.where), ".")

    # --- servers ---

    def serve(self, command: str, shown: str) -> None:
        named = re.search(r"--port (\d+)", command)
        port = named[1] if named else "8000"
        if port in self.servers:
            self.servers.pop(port).stop()
        command = re.sub(r" --port \d+", "", command)
        log = self.where / f".server-{port}.log"
        script = f"set -a; [ -f .state ] && . ./.state; exec {command} --port {self.ports[port]}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.where,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = self.servers[port] = Server(process, self.ports[port], log)
        self.wait(server, server.answers, "it does not answer")
        if shown:
            line = f"...\n{shown}\n..."
            self.wait(server, lambda: matches(line, self.said(server)), f"it never said\n{shown}")

    def said(self, server: Server) -> str:
        return self.there(server.log.read_text(errors="replace"))

    def wait(self, server: Server, ready: Callable[[], bool], complaint: str) -> None:
        until = time.monotonic() + PATIENCE
        while not ready():
            assert server.process.poll() is None, f"the server ended:\n{self.said(server)}"
            assert time.monotonic() < until, f"{complaint}:\n{self.said(server)}"
            time.sleep(0.05)

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()

    def finish(self) -> None:
        """A page that starts no server must at least be a module that runs."""
        if self.written and not self.servers:
            code, output = self.run("WATCHWORD_ENV=development python -W error main.py")
            assert code == 0, output


def commands(console: str) -> Iterator[tuple[str, str]]:
    """Commands after `$`, with their continuations, and what is shown below each."""
    command, shown = "", []
    for line in console.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, "\n".join(shown).strip()
            command, shown = line[2:], []
        elif command.endswith("\\"):
            command += "\n" + line.removeprefix("> ")
        else:
            shown.append(line)
    if command:
        yield command, "\n".join(shown).strip()


def matches(shown: str, output: str) -> bool:
    """Line by line, spaces as wide as they like; `...` in a line or as a line is anything."""
    pattern = ""
    for line in shown.strip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
            continue
        parts = (re.escape(" ".join(part.split())) for part in line.split("..."))
        wide = r"[^\n]*?".join(part.replace(r"\ ", r"[ \t]*") for part in parts)
        pattern += rf"[ \t]*{wide}[ \t]*\n"
    return re.fullmatch(pattern, output.strip() + "\n") is not None


def patched(text: str, diff: str) -> str:
    """Apply a diff without line numbers: its old lines must stand there once, in one piece."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = [line or " " for line in hunk.splitlines() if not line.startswith(("---", "+++"))]
        if not lines:
            continue
        old, new = (
            "".join(f"{line[1:]}\n" for line in lines if line[0] in kept) for kept in (" -", " +")
        )
        assert text.count(old) == 1, f"this stands there {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    return text


ELSEWHERE = {"test-your-app.md"}  # tests/test_testing.py runs it, inside pytest as it must be
OPERATE = ROOT / "docs" / "operate"  # tests/test_operate.py runs them, on real servers
RUNNABLE = [
    page
    for page in PAGES
    if page.name not in ELSEWHERE
    and page.parent != OPERATE
    and any(
        block.language in ("python", "console", "diff") or "file" in block.said
        for block in elements(page.read_text())
        if not {"not run", "diff"} & block.said.keys()
    )
]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_is_true(page: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None and "$ curl" in page.read_text():
        pytest.skip("the page speaks curl, and there is none here")
    reader = Reader(tmp_path, own_issuer="--issuer" in page.read_text())
    try:
        for block in elements(page.read_text()):
            try:
                reader.do(block)
            except AssertionError as error:
                error.add_note(f"{page.relative_to(ROOT)}:{block.line}")
                raise
        reader.finish()
    finally:
        reader.stop()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_names_its_language(page: Path) -> None:
    known = {"python", "console", "diff", *_BY_ITSELF, *SHOWN_ONLY}
    for block in elements(page.read_text()):
        assert block.language in known, f"line {block.line}: {block.language!r}"


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("a ... c", "a b b c", True),
        ("a ... c", "a b b d", False),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nd", True),
        ("a\nd", "a\nb\nd", False),
        ('{"a":"ey..."}', '{"a":"eyJhbGci"}', True),
        ("METHOD  PATH", "METHOD      PATH  ", True),
        ("(a)", "a", False),
    ],
)
def test_what_is_shown_is_compared(shown: str, output: str, same: bool) -> None:
    assert matches(shown, output) is same


def test_a_diff_changes_what_it_shows() -> None:
    assert patched("a\nb\nc\n", " a\n-b\n+B\n") == "a\nB\nc\n"
    with pytest.raises(AssertionError, match="0 times"):
        patched("a\nb\n", " a\n-c\n+d\n")


def test_the_readme_counts_what_is_installed() -> None:
    found = re.search(r"installs (\d+) packages", (ROOT / "README.md").read_text())
    assert found is not None
    if sys.platform != "linux":
        pytest.skip("other platforms install one more or one less")
    assert int(found[1]) == len(closure("watchword"))


def closure(*roots: str) -> set[str]:
    """What these packages need to be installed, without themselves."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    seen: set[tuple[str, frozenset[str]]] = set()
    asked = [Requirement(root) for root in roots]
    while asked:
        one = asked.pop()
        for text in requires(one.name) or ():
            below = Requirement(text)
            extras = ("", *one.extras)
            if below.marker and not any(below.marker.evaluate({"extra": e}) for e in extras):
                continue
            known = re.sub(r"[-_.]+", "-", below.name.lower()), frozenset(below.extras)
            if known not in seen:
                seen.add(known)
                asked.append(below)
    return {name for name, _ in seen}

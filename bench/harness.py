"""Server processes on one core, load on the other, and the figures read off both.

Pinning keeps the load generator from stealing the server's time. The CPU time of
the server is read from the kernel, because on a shared machine it wanders less
than any rate does.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

HOST = "127.0.0.1"
SERVER_CORE, LOAD_CORE = 0, 1
BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
START_PATIENCE = 30.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")
T = TypeVar("T")


class MissingError(RuntimeError):
    """A program that a benchmark needs is not here; the message says how to get it."""


@dataclass(frozen=True)
class Reply:
    """What a server answered outside of any measurement."""

    status: int
    body: bytes


@dataclass
class Process:
    """A server that runs now, with the processes that work for it.

    `started` is the time in seconds from the launch to the first answer.
    """

    port: int
    pids: list[int]
    started: float = 0.0

    def url(self, path: str) -> str:
        """Return the address of `path` on this server."""
        return f"http://{HOST}:{self.port}{path}"

    def cpu_us(self) -> float:
        """Return the CPU time used so far, in microseconds, companions included."""
        return sum(cpu_us(pid) for pid in self.pids)

    def rss_mib(self) -> float:
        """Return the resident memory of the server itself, in MiB."""
        status = Path(f"/proc/{self.pids[0]}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else 0.0


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw, and the server's CPU time meanwhile."""

    requests: int
    failed: int
    seconds: float
    cpu_us: float

    @property
    def served(self) -> int:
        """The number of requests that were answered with success."""
        return self.requests - self.failed

    @property
    def rate(self) -> float:
        """Successful requests per second."""
        return self.served / self.seconds

    @property
    def cpu_us_each(self) -> float:
        """Server CPU microseconds for each answered request."""
        return self.cpu_us / max(1, self.requests)

    def clean(self) -> "Load":
        """Return the load itself, or raise RuntimeError if any request failed in it."""
        if self.failed or not self.requests:
            raise RuntimeError(f"{self.failed} of {self.requests} requests failed")
        return self


@dataclass
class Storm:
    """A wrk that was started and not yet stopped."""

    process: subprocess.Popen[str]
    server: Process
    cpu_before: float = field(init=False)

    def __post_init__(self) -> None:
        self.cpu_before = self.server.cpu_us()

    def stop(self) -> Load:
        """Interrupt wrk and return what it counted until now."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> Load:
        """Let wrk run its time and return what it counted."""
        printed, _ = self.process.communicate()
        return parse_wrk(printed, self.server.cpu_us() - self.cpu_before)


def program(name: str, package: str) -> str:
    """Return the path of a program, or raise MissingError naming its Debian package."""
    path = shutil.which(name)
    if path is None:
        raise MissingError(f"{name} is missing: apt-get install {package}")
    return path


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def cpu_us(pid: int) -> float:
    """Return user and system time of a process and all its threads, in microseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS * 1e6


def busy_share(seconds: float = 1.0) -> float:
    """Return how busy all cores are now with whatever else runs here, from 0 to 1."""

    def idle() -> int:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        return int(fields[4]) + int(fields[5])  # idle, and waiting for a disk

    before = idle()
    time.sleep(seconds)
    return max(0.0, 1 - (idle() - before) / (seconds * TICKS * (os.cpu_count() or 1)))


def ask(
    url: str,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    patience: float = 30.0,
) -> Reply:
    """Send one request (a POST if there is a form) and return the answer, whatever its status."""
    body = urllib.parse.urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(url, body, dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=patience) as answer:
            return Reply(answer.status, answer.read())
    except urllib.error.HTTPError as refusal:
        return Reply(refusal.code, refusal.read())


def answers(port: int, path: str) -> bool:
    """Say whether a server on `port` answers `path` at all; without a path, whether it listens."""
    try:
        if path:
            ask(f"http://{HOST}:{port}{path}", patience=5)
        else:
            socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def running(
    argv: Sequence[str], port: int, path: str, env: Mapping[str, str], core: int = SERVER_CORE
) -> Iterator[Process]:
    """Run a server on one core until the block ends; it has answered `path` on entry.

    Without a path (Redis speaks no HTTP) it is enough that it listens.

    Raises:
        RuntimeError: it ended, or did not answer within START_PATIENCE seconds.
    """
    command = [program("taskset", "util-linux"), "-c", str(core), *argv]
    launched = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdout=said, stderr=said, text=True
        )
        try:
            while not answers(port, path):
                late = time.perf_counter() - launched > START_PATIENCE
                if late or process.poll() is not None:
                    said.seek(0)
                    raise RuntimeError(f"{' '.join(argv)} did not start:\n{said.read()[-2000:]}")
                time.sleep(0.002)
            yield Process(port, [process.pid], time.perf_counter() - launched)
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to end, and insist after ten seconds."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()


def start_wrk(
    server: Process,
    path: str,
    seconds: float,
    *,
    connections: int = 16,
    threads: int = 1,
    headers: Mapping[str, str] | None = None,
    script: str = "",
    env: Mapping[str, str] | None = None,
) -> Storm:
    """Start a bounded closed-loop load from the load core."""
    command = [program("taskset", "util-linux"), "-c", str(LOAD_CORE), program("wrk", "wrk")]
    command += [f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout=30s"]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    if script:
        command += ["-s", str(BENCH / "lua" / script)]
    process = subprocess.Popen(
        [*command, server.url(path)],
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    return Storm(process, server)


def parse_wrk(printed: str, cpu: float) -> Load:
    """Read the counts off wrk's report; `cpu` is the server's share in microseconds."""
    counted = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", printed)
    if counted is None:
        raise RuntimeError(f"wrk reported nothing:\n{printed}")
    scale = {"ms": 0.001, "s": 1.0, "m": 60.0}[counted[3]]
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    broken = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    failed = int(refused[1]) if refused else 0
    failed += sum(int(count) for count in broken.groups()) if broken else 0
    return Load(int(counted[1]), failed, float(counted[2]) * scale, cpu)


def abba(items: Sequence[T], rounds: int) -> Iterator[T]:
    """Yield the items once a round, in alternating direction, so that drift cancels out."""
    for number in range(rounds):
        yield from items if number % 2 == 0 else reversed(items)

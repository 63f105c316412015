"""A real PgBouncer between the tests and their PostgreSQL, in transaction mode."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from pg import PATIENCE, PostgresServer
from ports import free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


class PgBouncer:
    """Lends the connections of a server; every client may be any user.

    Args:
        server: whose they are.
        size: how many there are for each database.
    """

    def __init__(self, server: PostgresServer, *, size: int) -> None:
        assert PROGRAM is not None
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="wpb-"))
        conf = self.directory / "pgbouncer.ini"
        conf.write_text(f"""
[databases]
* = host=127.0.0.1 port={server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
logfile = {self.directory}/log
""")
        more: dict[str, object] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            more = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.process = subprocess.Popen(
            [PROGRAM, "-q", str(conf)],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **more,  # type: ignore[call-overload]
        )
        self._until_it_answers()

    def _until_it_answers(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.Error as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    log = self.directory / "log"
                    said = log.read_text() if log.exists() else str(error)
                    raise RuntimeError(said[-2000:]) from None
                time.sleep(0.02)
            else:
                return

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

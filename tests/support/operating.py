"""Somebody who operates servers as a page says: PostgreSQL and proxies that are really there.

Names that a page uses, as db.example.com:5432, are addresses of this machine here.
"""

from __future__ import annotations

import datetime as dt
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pg import PostgresServer, installed, of_the_system
from ports import free_port
from tests.test_docs import Block, Reader, Server
from vk import Valkey

NOT_AS_ROOT = ("initdb", "pg_ctl", "postgres", "pg_basebackup", "pg_rewind", "pgbouncer")
PATHS = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
HBA = """
local    all          all                    trust
host     all          postgres   localhost   trust
host     replication  replicator localhost   trust
{host}   all          all        localhost   scram-sha-256
"""


class Operator(Reader):
    """Does what a page says, with what it needs."""

    def __init__(self, *, own_issuer: bool) -> None:
        where = Path(tempfile.mkdtemp(prefix="wop-"))
        super().__init__(where, own_issuer=own_issuer)
        self.names: list[tuple[str, str]] = []  # what a page says, and what is so here
        self.databases: list[PostgresServer | Valkey] = []
        bin_ = self.where / ".bin"
        bin_.mkdir(exist_ok=True)
        nobody = pwd.getpwnam("nobody")
        self.version = of_the_system() or 16
        programs = installed(self.version)
        self.environment["PATH"] = f"{bin_}:{self.environment['PATH']}:/usr/sbin"
        if os.geteuid() == 0:
            os.chown(self.where, nobody.pw_uid, nobody.pw_gid)
        self.where.chmod(0o755)
        for program in {*NOT_AS_ROOT, *(path.name for path in programs.iterdir())}:
            real = programs / program
            found = str(real) if real.exists() else shutil.which(program, path=PATHS)
            if found is None:
                continue
            as_whom = ""
            if os.geteuid() == 0 and program in NOT_AS_ROOT:
                as_whom = f"setpriv --reuid={nobody.pw_uid} --regid={nobody.pw_gid} --clear-groups "
            (bin_ / program).write_text(f'#!/bin/sh\nexec {as_whom}{found} "$@"\n')
            (bin_ / program).chmod(0o755)

    # --- what a page needs ---

    def do(self, block: Block) -> None:
        if block.language == "needs":
            what, *words = block.text.split()
            getattr(self, f"need_{what}")(*words)
        else:
            super().do(block)

    def need_postgres(self, address: str, *words: str) -> None:
        """A server whose superuser needs no password, and everybody else one."""
        options = {"listen_addresses": "localhost", "wal_level": "replica"}
        if "tls" in words:
            if of_the_system() is None:
                pytest.skip("the wheel's PostgreSQL knows no TLS, and there is no other")
            options |= self._certificate()
        server = PostgresServer(version=self.version, **options)
        self.databases.append(server)
        host = "hostssl" if "tls" in words else "host"
        directory = server.directory / "data"
        (directory / "pg_hba.conf").write_text(HBA.format(host=host))
        with (directory / "postgresql.conf").open("a") as conf:  # for those that are copies of it
            conf.writelines(f"{name} = '{value}'\n" for name, value in server.options.items())
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        self._is(address, server.port)
        self.names.append((f"127.0.0.1:{address.split(':')[1]}", f"127.0.0.1:{server.port}"))
        for word in words:
            if word.startswith("data="):
                self.names.append((word.removeprefix("data="), str(directory)))

    def need_valkey(self, address: str) -> None:
        """One that keeps nothing."""
        server = Valkey()
        self.databases.append(server)
        self._is(address, server.port)

    def need_address(self, address: str) -> None:
        """Nobody else is there; the page's own commands will be."""
        self._is(address, free_port())

    def need_node(self, address: str, port: str) -> None:
        """What serves at a port of this page."""
        self._is(address, self.ports[port], "127.0.0.1")

    def _is(self, address: str, port: int, here: str = "localhost") -> None:
        host, shown = address.split(":")
        self.names += [
            (address, f"{here}:{port}"),
            (f"host={host} port={shown}", f"host={here} port={port}"),
            (f"listen_port = {shown}", f"listen_port = {port}"),
            (f"bind :{shown}", f"bind :{port}"),
            (f"listen {shown}", f"listen {port}"),
            (f"-p {shown}", f"-p {port}"),
            (f"port={shown}", f"port={port}"),
        ]

    def _certificate(self) -> dict[str, str]:
        """For localhost, by an authority whose own lies in ca.pem."""
        now = dt.datetime.now(dt.UTC)
        authority, key = (
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP256R1()),
        )
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ours")])

        def made(name: x509.Name, of: ec.EllipticCurvePrivateKey, *, ca: bool) -> bytes:
            builder = (
                x509.CertificateBuilder()
                .subject_name(name)
                .issuer_name(issuer)
                .public_key(of.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - dt.timedelta(days=1))
                .not_valid_after(now + dt.timedelta(days=1))
                .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
                .add_extension(
                    x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
                )
            )
            return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

        (self.where / "ca.pem").write_bytes(made(issuer, authority, ca=True))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        (self.where / "server.pem").write_bytes(made(name, key, ca=False))
        sealed = self.where / "server.key"
        sealed.touch(0o600)
        sealed.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        if os.geteuid() == 0:
            shutil.chown(sealed, "nobody")
        return {
            "ssl": "on",
            "ssl_cert_file": str(self.where / "server.pem"),
            "ssl_key_file": str(sealed),
        }

    # --- names ---

    def here(self, text: str) -> str:
        for shown, real in self.names:
            text = text.replace(shown, real)
        return super().here(text)

    def there(self, text: str) -> str:
        for shown, real in self.names:
            text = text.replace(real, shown)
        return super().there(text)

    # --- servers that are not ours ---

    def run(self, command: str) -> tuple[int, str]:
        if command == "kill %1":
            self.servers.pop("8000").stop()
            return 0, ""
        return super().run(command)

    def serve(self, command: str, shown: str) -> None:
        super().serve(command.removesuffix(" &"), shown)

    def type(self, block: Block) -> None:
        if "listens" not in block.said:
            super().type(block)
            return
        command = block.text.removeprefix("$ ").strip()
        port = int(self.here(block.said["listens"]).split(":")[1])
        log = self.where / f".log-{port}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"set -a; [ -f .state ] && . ./.state; exec {self.here(command)}"],
                cwd=self.where,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = self.servers[block.said["listens"]] = Server(process, port, log)
        self.wait(server, server.answers, "it does not answer")

    def stop(self) -> None:
        super().stop()
        for pid_file in self.where.glob("*/postmaster.pid"):  # what `pg_ctl start` left behind
            with suppress(OSError, ValueError):
                os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
        for server in self.databases:
            server.close()
        time.sleep(0.1)
        shutil.rmtree(self.where, ignore_errors=True)


def missing(page: str) -> str:
    """A program that a page's commands begin with and that is not here; empty if there is none."""
    for program in ("curl", "pgbouncer", "nginx", "haproxy", "sqlite3"):
        if re.search(rf"^\$ {program}\b", page, re.MULTILINE) and not shutil.which(
            program, path=PATHS
        ):
            return program
    return ""

"""The checks of `watchword doctor`, each a function from settings to findings."""

from __future__ import annotations

import asyncio
import enum
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchword.cli import accelerator, disk, server
from watchword.cli.command import clock
from watchword.cli.output import counted
from watchword.crypto.keys import Keyring, StoredKey, opened
from watchword.crypto.passwords import Cost
from watchword.errors import ConfigError
from watchword.seams import Unavailable
from watchword.settings import Settings, weakness
from watchword.signing import ours
from watchword.store import outbox, schema, signing
from watchword.store.databases import PER_LOOP
from watchword.store.outbox import LATE, Waiting
from watchword.store.running import run
from watchword.store.schema import Schema

_LEAST_FREE = 100 * 1024 * 1024  # bytes
_SLOWEST_HASH = 0.25  # seconds; beyond it people wait and few can log in at once
_HASHES = 3
_BIRTH = 1_767_225_600.0  # 2026-01-01: a clock before this is wrong
_SKEW = 300.0  # seconds that files may be from the future


class Level(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was found, and the command that helps."""

    level: Level
    code: str
    message: str
    run: str = ""


def all_of(settings: Settings, *, fix: bool) -> list[Finding]:
    """Every check, in the order of the report; with `fix`, file modes are repaired first."""
    found = [*_config(settings), *_modes(settings, fix=fix), *_database(settings)]
    found += [*_limits(settings), *_redis(settings), *_hashing(settings)]
    return [*found, *_clock(settings), *_space(settings)]


def _config(settings: Settings) -> Iterator[Finding]:
    yield Finding(Level.OK, "config", f"{settings.env}, issuer {settings.issuer}")
    if settings.is_development:
        yield Finding(
            Level.WARN, "mode", "development mode is for this machine only", "unset WATCHWORD_ENV"
        )
    for name, secret in (("secret", settings.secret), ("previous", settings.secret_previous)):
        if secret and (reason := weakness(secret)):
            make = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
            yield Finding(Level.FAIL, name, reason, make)
        elif secret:
            yield Finding(Level.OK, name, f"{len(secret)} characters")
    if settings.strict:
        yield Finding(
            Level.OK, "passwords", "password login is off: the strict profile of RFC 9700"
        )
    else:
        yield Finding(
            Level.OK, "passwords", "password login is on, for the first-party client only"
        )


def _modes(settings: Settings, *, fix: bool) -> Iterator[Finding]:
    paths = disk.files(settings.database_path)
    directory = Path(settings.database_path).parent
    paths += [path for path in (Path(".env"), directory / ".watchword/secret") if path.is_file()]
    open_ones = disk.too_open(paths)
    for path in open_ones:
        mode = stat.S_IMODE(path.stat().st_mode)
        if not fix:
            told = f"others can read {path} (mode {mode:04o})"
            yield Finding(Level.FAIL, "files", told, f"chmod 600 {path}")
            continue
        path.chmod(disk.MODE)
        yield Finding(Level.OK, "files", f"repaired {path}: {mode:04o} is now 0600")
    if paths and not open_ones:
        yield Finding(Level.OK, "files", f"{counted(len(paths), 'file')} for their owner only")


def _database(settings: Settings) -> Iterator[Finding]:
    if not settings.database_path:
        yield from _on_server(settings)
        return
    path = Path(settings.database_path)
    if settings.database_path == ":memory:":
        yield Finding(Level.WARN, "database", "in memory: everything is lost at the end")
        return
    if (kind := disk.network_file_system(path)) is not None:
        told = f"on a network file system ({kind}), where SQLite loses writes"
        yield Finding(Level.FAIL, "database", told, "set WATCHWORD_DATABASE_URL to a local disk")
        return
    if not path.is_file():
        told = f"{path} is not made yet; the first start makes it"
        level = Level.OK if os.access(path.parent, os.W_OK) else Level.FAIL
        yield Finding(level, "database", told, "watchword migrate up")
        return
    try:
        # Read only, and by a plain connection: looking must change nothing.
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        try:
            yield from _inside(connection, settings)
        finally:
            connection.close()
    except (sqlite3.Error, Unavailable) as error:
        yield Finding(Level.FAIL, "database", str(error), "restore it from a backup")


def _on_server(settings: Settings) -> Iterator[Finding]:
    try:
        look = asyncio.run(server.look(settings))
    except (ConfigError, Unavailable) as error:
        yield Finding(Level.FAIL, "database", str(error), "start the server, or mend DATABASE_URL")
        return
    told = f"{look.version} at {settings.database_shown} answers in {look.took * 1000:.1f} ms"
    yield Finding(Level.OK, "database", f"PostgreSQL {told}")
    if not look.lasts:
        told = "fsync or full_page_writes is off: what was committed may be lost or torn"
        yield Finding(Level.FAIL, "durability", told, "ALTER SYSTEM RESET fsync")
    if look.wire:
        yield Finding(Level.WARN, "tls", look.wire, "add ?sslmode=verify-full to DATABASE_URL")
    if look.free < server.LEAST_FREE:
        left = f"{counted(look.free, 'connection')} left of {look.most}"
        told = f"{left}; each worker takes {PER_LOOP + 2}"
        yield Finding(Level.WARN, "connections", told, "raise max_connections, or use PgBouncer")
    if abs(look.ahead) > 1:
        told = f"the server's clock is {look.ahead:+.1f} s from this machine's"
        yield Finding(Level.WARN, "clocks", told, "timedatectl set-ntp true")
    yield _standing(*look.schema)
    if not look.schema[0].serves:
        return
    yield from _keys(look.keys, settings, clock())
    yield from _hooks(look.waiting, clock())


def _standing(standing: Schema, revision: str | None) -> Finding:
    if standing is Schema.CURRENT:
        return Finding(Level.OK, "schema", f"revision {revision}")
    told = f"{standing.value}: at {revision}, needed {schema.HEAD}"
    if standing is Schema.AHEAD:
        return Finding(Level.WARN, "schema", f"{told}; it may be served", "finish the upgrade")
    run_this = "run the newer version" if standing is Schema.BEYOND else "watchword migrate up"
    return Finding(Level.FAIL, "schema", told, run_this)


def _inside(connection: sqlite3.Connection, settings: Settings) -> Iterator[Finding]:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        yield Finding(Level.FAIL, "database", str(verdict), "restore it from a backup")
        return
    yield Finding(Level.OK, "database", f"{settings.database_path} is whole")
    journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
    # `synchronous` is the writer's own: FULL where a commit must outlive a power cut.
    told = f"journal {journal}; logins and revocations are committed with synchronous=FULL"
    yield Finding(Level.OK if journal == "wal" else Level.WARN, "journal", told)
    found = schema.standing(connection)
    yield _standing(*found)
    if not found[0].serves:
        return
    yield from _keys(run(connection, signing.every()), settings, clock())
    yield from _hooks(run(connection, outbox.waiting(clock() - LATE)), clock())


def _hooks(late: list[Waiting], now: float) -> Iterator[Finding]:
    for one in late:
        events = f"{counted(one.count, 'event')} of {one.kind} undelivered"
        since = f"the oldest since {counted(int((now - one.oldest) / 60), 'minute')}"
        why, run_this = ("nobody takes them", "start the app")
        if one.tries:
            why, run_this = ("functions fail", "read the app's log: the logger watchword.hooks")
        yield Finding(Level.WARN, "hooks", f"{events}, {since}: {why}", run_this)


def _keys(keys: list[StoredKey], settings: Settings, now: float) -> Iterator[Finding]:
    keys = ours(keys, settings)
    if not keys:
        yield Finding(Level.OK, "keys", "none yet; the first start makes them")
        return
    try:
        ring = Keyring.of(keys, settings.secrets)
        active = [key for key in keys if ring.state(key, now) == "active"]
        for key in active:
            opened(key, settings.secrets)
    except ConfigError as error:
        yield Finding(Level.FAIL, "keys", f"{error.what}: {error.why}", error.fix)
        return
    for key in active:
        days = (now - key.signs_from) / 86_400
        late = now - key.signs_from > 2 * settings.key_rotate
        yield Finding(
            Level.WARN if late else Level.OK,
            "keys",
            f"{key.alg} signs since {counted(int(days), 'day')}",
            f"watchword key rotate --alg {key.alg}" if late else "",
        )
    if not active:
        yield Finding(Level.FAIL, "keys", "no key signs now", "watchword key rotate --now")


def _limits(settings: Settings) -> Iterator[Finding]:
    if settings.counts_in == "db":
        yield Finding(Level.OK, "limits", "counted beside the database, for all workers together")
    elif settings.counts_in == "redis":
        yield Finding(Level.OK, "limits", "counted in Redis, for all machines together")
    else:
        told = "counted in each process: only one worker can be served with"
        yield Finding(Level.WARN, "limits", told, "set WATCHWORD_LIMIT_BACKEND=db")


def _redis(settings: Settings) -> Iterator[Finding]:
    if not settings.redis_url:
        return
    try:
        found = accelerator.look(settings)
    except ConfigError as error:
        yield Finding(Level.FAIL, "redis", f"{error.what} {error.why}", error.fix)
        return
    where = accelerator.place(settings)
    if found.fault:
        told = f"{where} fails ({found.fault}): each process counts for itself at half the budget"
        yield Finding(Level.WARN, "redis", told)
        return
    told = f"{found.server} at {where} answers in {found.took * 1000:.1f} ms"
    if found.took > settings.redis_timeout / 2:
        told = f"{told}; after {settings.redis_timeout * 1000:.0f} ms it is not waited for"
        enough = f"set WATCHWORD_REDIS_TIMEOUT={found.took * 4:.2f}"
        yield Finding(Level.WARN, "redis", told, enough)
    else:
        yield Finding(Level.OK, "redis", told)
    if found.evicts:
        told = f"maxmemory-policy {found.evicts}: who can fill its memory can reset limits"
        yield Finding(Level.WARN, "eviction", told, "CONFIG SET maxmemory-policy noeviction")


def _hashing(settings: Settings) -> Iterator[Finding]:
    cost = Cost(settings.hash_memory_kib, settings.hash_passes)
    took = min(_timed(cost) for _ in range(_HASHES))
    told = (
        f"Argon2id m={settings.hash_memory_kib} t={settings.hash_passes} takes "
        f"{took * 1000:.0f} ms: {1 / took:.0f} logins a second on each core"
    )
    floor = settings.hash_memory_kib * settings.hash_passes < 19_456 * 2
    if floor and not settings.is_development:
        run_this = "unset WATCHWORD_HASH_MEMORY_KIB WATCHWORD_HASH_PASSES"
        yield Finding(Level.WARN, "hashing", f"{told}; below OWASP's least", run_this)
    elif took > _SLOWEST_HASH:
        run_this = "set WATCHWORD_HASH_MEMORY_KIB=19456 WATCHWORD_HASH_PASSES=2"
        yield Finding(Level.WARN, "hashing", f"{told}; people wait", run_this)
    else:
        yield Finding(Level.OK, "hashing", told)


def _timed(cost: Cost) -> float:
    began = time.perf_counter()
    cost.hash(b"how long does it take?")
    return time.perf_counter() - began


def _clock(settings: Settings) -> Iterator[Finding]:
    now = clock()
    newest = max((path.stat().st_mtime for path in disk.files(settings.database_path)), default=0)
    if now < _BIRTH or newest > now + _SKEW:
        told = "the clock is wrong: the database was written in its future"
        yield Finding(Level.FAIL, "clock", told, "timedatectl set-ntp true")
    else:
        yield Finding(Level.OK, "clock", "after everything that was written")


def _space(settings: Settings) -> Iterator[Finding]:
    if not settings.database_path:
        return
    directory = Path(settings.database_path).resolve().parent
    if not directory.is_dir():
        yield Finding(Level.FAIL, "disk", f"there is no {directory}", f"mkdir -p {directory}")
        return
    free = shutil.disk_usage(directory).free
    told = f"{free // 1024**2} MiB free"
    yield Finding(Level.OK if free >= _LEAST_FREE else Level.FAIL, "disk", told)

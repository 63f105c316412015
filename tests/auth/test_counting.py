"""Where attempts are counted, by what is set; and that it begins and ends with the app."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from watchword import Auth
from watchword.auth.counting import counting_of
from watchword.errors import ConfigError
from watchword.limits import Fallback, ProcessCounters
from watchword.shared import RedisCounters, Shared
from watchword.store.counters import SqliteCounters
from watchword.store.databases import driver_of
from watchword.store.server_counters import ServerCounters

SECRET = "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A"
BASICS = {"env": "development", "secret": SECRET, "issuer": "http://localhost:8000"}
MEMORY, FILE, SERVER = "sqlite:///:memory:", "sqlite:////nowhere/w.db", "postgresql://me@h/db"
REDIS = "redis://127.0.0.1:1/0"


def clients(valkey) -> int:
    return len(valkey.do("CLIENT", "LIST").splitlines()) - 1


@pytest.mark.parametrize(
    ("url", "redis", "backend", "where"),
    [
        (MEMORY, "", "auto", ProcessCounters),
        (FILE, "", "auto", SqliteCounters),
        (SERVER, "", "auto", ServerCounters),
        (MEMORY, REDIS, "auto", RedisCounters),
        (FILE, REDIS, "auto", RedisCounters),
        (SERVER, REDIS, "auto", RedisCounters),
        (FILE, REDIS, "redis", RedisCounters),
        (FILE, REDIS, "db", SqliteCounters),
        (SERVER, REDIS, "db", ServerCounters),
        (MEMORY, REDIS, "db", ProcessCounters),
        (FILE, REDIS, "memory", ProcessCounters),
        (SERVER, "", "memory", ProcessCounters),
    ],
)
def test_where(url, redis, backend, where):
    from watchword.settings import load

    settings = load(**BASICS, redis_url=redis, limit_backend=backend).model_copy(
        update={"database_url": url}
    )
    counting = counting_of(settings, driver_of(url), Shared(redis) if redis else None)
    assert type(counting.counters) is where
    in_use = counting.limits._counters
    if where is ProcessCounters:
        assert in_use is counting.counters
    else:
        assert isinstance(in_use, Fallback)
        assert in_use._rest == (0 if where is RedisCounters else 5.0)


def test_redis_must_be_somewhere():
    with pytest.raises(ConfigError, match="LIMIT_BACKEND is redis, and there is no REDIS_URL"):
        Auth(**BASICS, database_url=MEMORY, limit_backend="redis")
    with pytest.raises(ConfigError, match="a host is missing"):
        Auth(**BASICS, database_url=MEMORY, redis_url="redis://")


@pytest.mark.attack("S-02")
def test_the_settings_do_not_show_its_password(monkeypatch):
    from watchword.settings import load

    with_password = "redis://:hunter2@h"
    assert "hunter2" not in repr(load(**BASICS, database_url=MEMORY, redis_url=with_password))
    with pytest.raises(ConfigError) as refused:
        Auth(**BASICS, database_url=MEMORY, redis_url=with_password, redis_timeout="soon")
    assert "hunter2" not in str(refused.value)


def test_its_address_may_come_from_a_file(tmp_path, monkeypatch):
    (tmp_path / "url").write_text("redis://:hunter2@h:7/1\n")
    monkeypatch.setenv("WATCHWORD_REDIS_URL_FILE", str(tmp_path / "url"))
    auth = Auth(**BASICS, database_url=MEMORY)
    assert auth.shared is not None
    assert str(auth.shared.address) == "redis://h:7/1"
    assert auth.shared.address.password == "hunter2"


async def test_it_is_open_while_the_app_runs(valkey):
    app, before = FastAPI(), clients(valkey)
    auth = Auth(app, **BASICS, database_url=MEMORY, redis_url=valkey.url, audit_routes="off")
    assert clients(valkey) == before
    async with app.router.lifespan_context(app):
        assert clients(valkey) == before + 1, "before anybody waits for it"
        await auth._counting.sweep(0.0)
    assert clients(valkey) == before


@pytest.mark.attack("Z-11")
async def test_an_app_starts_without_it_and_says_so(caplog):
    app = FastAPI()
    Auth(app, **BASICS, database_url=MEMORY, redis_url=REDIS, audit_routes="off")
    async with app.router.lifespan_context(app):
        pass
    told = [record.getMessage() for record in caplog.records if "Redis at" in record.getMessage()]
    assert len(told) == 1
    assert REDIS in told[0]
    assert "each process counts for itself at half the budget" in told[0]


async def test_a_test_on_an_empty_store_asks_no_redis(valkey):
    auth = Auth(**BASICS, database_url=MEMORY, redis_url=valkey.url)
    with auth.in_memory(lambda: 0.0):
        assert auth.shared is None
        await auth._bench.limits.spend(0.0, ("token", "somebody"))
    assert auth.shared is not None
    assert valkey.do("DBSIZE") == 0

"""Counters in a file: the same answers as the rule, shared by processes, worth nothing."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waitless import inline

from watchword.limits import Fallback, ProcessCounters
from watchword.rules.rates import UNLIMITED, Limit, Taken, gcra
from watchword.store.counters import FAULTS, SqliteCounters

NOW = 1_764_000_000.0
TWO = Limit(2, 60.0)


@pytest.fixture
def counters(tmp_path):
    with closing(SqliteCounters(tmp_path / "rl.db")) as made:
        yield made


def rows(counters: SqliteCounters) -> int:
    with closing(sqlite3.connect(counters._path)) as reader:
        return reader.execute("select count(*) from rl").fetchone()[0]


def take(limited: Fallback, key: str, limit: Limit, now: float) -> Taken:
    return inline(limited.take([(key, limit)], now))[0]


def test_a_burst_then_one_by_one(counters):
    assert counters.take_one("a", TWO, NOW).remaining == 1
    assert counters.take_one("a", TWO, NOW).reset == 120.0
    refused = counters.take_one("a", TWO, NOW + 10)
    assert (refused.allowed, refused.retry_after, refused.reset) == (False, 50.0, 110.0)
    assert counters.take_one("b", TWO, NOW + 10).allowed
    assert counters.take_one("a", TWO, NOW + 60).allowed
    counters.reset_one("a")
    assert counters.take_one("a", TWO, NOW + 60).remaining == 1


def test_an_attempt_asks_in_order_until_one_refuses_and_never_waits(counters):
    one, three = Limit(1, 60.0), Limit(3, 60.0)
    asks = [("a", TWO), ("b", one), ("c", three)]
    assert [taken.remaining for taken in inline(counters.take(asks, NOW))] == [1, 0, 2]
    again = inline(counters.take(asks, NOW))
    assert [taken.allowed for taken in again] == [True, False]
    assert counters.take_one("c", three, NOW).remaining == 1, "it was not asked again"
    inline(counters.reset(["a", "b"]))
    assert counters.take_one("b", one, NOW).allowed


def test_what_one_attempt_takes_is_one_transaction(counters, monkeypatch):
    asks, seen, real = [("a", TWO), ("b", TWO)], [], SqliteCounters._run

    def failing(self, statement, values):
        seen.append(statement.split()[0].lower())
        if values.get("key") == "b":
            raise sqlite3.OperationalError("disk I/O error")
        return real(self, statement, values)

    monkeypatch.setattr(SqliteCounters, "_run", failing)
    for ask in (counters.take(asks, NOW), counters.reset(["a", "b"])):
        with pytest.raises(sqlite3.OperationalError):
            inline(ask)
    monkeypatch.undo()
    assert seen == ["begin", "insert", "insert", "begin", "delete", "delete"]
    assert [taken.remaining for taken in inline(counters.take(asks, NOW))] == [1, 1]


@pytest.mark.attack("L-12")
def test_attempts_of_many_threads_over_two_files_open_race_for_exactly_what_there_is(tmp_path):
    several, reached = Limit(9, 3600.0), []
    with (
        closing(SqliteCounters(tmp_path / "r")) as one,
        closing(SqliteCounters(tmp_path / "r")) as two,
    ):

        def work(which: SqliteCounters) -> None:
            for turn in range(20):
                asks = [("wide", several), (f"near{turn}", several)]
                reached.append(inline(which.take(asks, NOW))[0].allowed)

        threads = [threading.Thread(target=work, args=[which]) for which in (one, two) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(reached), sum(reached)) == (160, 9)


def test_no_limit_touches_no_file(counters):
    assert counters.take_one("a", Limit.parse("off"), NOW) == UNLIMITED
    assert not counters._path.exists()


def test_the_statement_the_dict_and_the_rule_agree(tmp_path):
    fresh = iter(range(1_000_000))

    @given(
        st.builds(Limit, st.integers(1, 4), st.floats(0.01, 100.0)),
        st.lists(
            st.tuples(st.sampled_from("ab"), st.floats(-100.0, 200.0), st.booleans()), max_size=30
        ),
    )
    def agree(limit, steps):
        run, tats, now = next(fresh), {}, NOW
        process = ProcessCounters()
        for name, wait, resetting in steps:
            key, now = f"{run}{name}", now + wait
            tat, taken = gcra(tats.get(key), now, limit)
            if tat is not None:
                tats[key] = tat
            assert process.take_one(key, limit, now) == taken
            assert counters.take_one(key, limit, now) == taken
            if resetting:
                tats.pop(key, None)
                process.reset_one(key)
                counters.reset_one(key)

    with closing(SqliteCounters(tmp_path / "rl.db")) as counters:
        agree()


@pytest.mark.attack("Z-16")
def test_a_clock_that_went_back_locks_nobody_out(counters):
    for _ in range(2):
        counters.take_one("a", TWO, NOW)
    back = NOW - 3600
    assert counters.take_one("a", TWO, back).retry_after == 60.0
    assert not counters.take_one("a", TWO, back + 59).allowed
    assert counters.take_one("a", TWO, back + 60).allowed


def test_the_file_is_lossy_quick_and_private(counters):
    counters.take_one("a", TWO, NOW)
    for suffix in ("", "-wal", "-shm"):
        found = counters._path.with_name(f"rl.db{suffix}")
        assert stat.S_IMODE(found.stat().st_mode) == 0o600
    connection = counters._opened()
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    assert connection.execute("pragma synchronous").fetchone() == (0,)
    assert {found.name for found in counters._path.parent.iterdir()} == {
        "rl.db",
        "rl.db-wal",
        "rl.db-shm",
    }


def test_counters_outlive_a_restart_and_an_empty_file_will_do(tmp_path):
    path = tmp_path / "rl.db"
    path.touch()
    for left in (1, 0):
        with closing(SqliteCounters(str(path))) as counters:
            assert counters.take_one("a", TWO, NOW).remaining == left


def test_threads_share_a_connection(counters):
    limit, given = Limit(50, 3600.0), []

    def work():
        given.extend(counters.take_one("a", limit, NOW).allowed for _ in range(25))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(given), sum(given)) == (200, 50)


OPENER = """
import sys, time
from watchword.rules.rates import Limit
from watchword.store.counters import SqliteCounters

print("ready", flush=True)
start = float(sys.stdin.readline())
for turn in range(10):
    counters = SqliteCounters(f"{sys.argv[1]}/{turn}.db")
    while time.time() < start + turn * 0.05:
        pass
    print(counters.take_one("a", Limit(4, 3600.0), 1e9).remaining)
    counters.close()
"""


def test_processes_that_start_together_need_not_wait_to_make_the_file(tmp_path):
    command = [sys.executable, "-c", OPENER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    starters = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for starter in starters:
        assert starter.stdout.readline() == "ready\n"
    start = time.time() + 0.1
    for starter in starters:
        starter.stdin.write(f"{start}\n")
        starter.stdin.flush()
    told = [starter.communicate(timeout=60)[0].split() for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * 4
    assert [sorted(turn) for turn in zip(*told, strict=True)] == [["0", "1", "2", "3"]] * 10
    assert not list(tmp_path.glob("*.db.*")), "nothing half made is left behind"


@pytest.mark.attack("D-08")
def test_a_sweep_takes_a_bounded_step_and_comes_around(counters):
    for name in range(25):
        counters.take_one(f"old{name:02}", TWO, NOW)
    for name in range(25):
        counters.take_one(f"new{name:02}", TWO, NOW + 60)
    swept = [counters.sweep(NOW + 61, most=10) for _ in range(6)]
    assert sum(swept) == 25
    assert max(swept) <= 10
    assert rows(counters) == 25
    assert sum(counters.sweep(NOW + 200, most=10) for _ in range(6)) == 25
    assert counters.sweep(NOW + 200) == 0
    assert rows(counters) == 0


class TestFaults:
    """What Fallback is for; each fault is a real one."""

    @pytest.mark.attack("L-14")
    def test_another_process_holds_the_lock(self, counters, caplog):
        counters.take_one("a", TWO, NOW)
        limited = Fallback(counters, FAULTS)
        with closing(sqlite3.connect(counters._path, isolation_level=None)) as other:
            other.execute("begin immediate")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                counters.take_one("a", TWO, NOW)
            assert [take(limited, "a", TWO, NOW).allowed for _ in range(9)].count(True) == 1
            inline(limited.reset(["a"]))
        assert take(limited, "a", TWO, NOW + 5).remaining == 0, "back, and nothing was forgotten"

    @pytest.mark.attack("L-14")
    def test_the_disk_is_full(self, counters, caplog):
        counters.take_one("a", TWO, NOW)
        counters._opened().execute("pragma max_page_count = 1")
        limited = Fallback(counters, FAULTS)
        one = Limit(1, 60.0)
        names = [f"{name:0500}" for name in range(50)]
        assert all(take(limited, name, one, NOW).allowed for name in names)
        assert "full" in caplog.text
        assert not take(limited, names[-1], one, NOW).allowed
        assert take(limited, "a", TWO, NOW + 5).remaining == 0

    @pytest.mark.attack("L-14")
    def test_the_file_is_broken_and_moved_aside(self, counters, caplog):
        counters._path.write_bytes(b"not a database, " * 1000)
        limited = Fallback(counters, FAULTS)
        assert [take(limited, "a", TWO, NOW).allowed for _ in range(9)].count(True) == 1
        assert "not a database" in caplog.text
        assert take(limited, "a", TWO, NOW + 5).remaining == 1
        kept = counters._path.with_name("rl.db.broken")
        assert kept.read_bytes().startswith(b"not a database")

    @pytest.mark.attack("L-14")
    def test_the_file_breaks_while_in_use(self, counters, caplog):
        for name in range(2000):
            counters.take_one(f"{name:030}", TWO, NOW)
        counters._opened().execute("pragma wal_checkpoint(truncate)")
        with counters._path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (counters._path.stat().st_size - 4096))
        counters.close()
        limited = Fallback(counters, FAULTS)
        for name in range(20):
            take(limited, f"{name:030}", TWO, NOW)
        assert "malformed" in caplog.text
        assert take(limited, "a", TWO, NOW + 5).remaining == 1

    def test_a_new_file_of_another_process_is_left_alone(self, counters, tmp_path):
        counters.take_one("a", TWO, NOW)
        counters._inode += 1  # the file that broke is not the one at this path any more
        counters._move_aside()
        assert counters._path.exists()

    def test_the_directory_is_missing(self, tmp_path, caplog):
        limited = Fallback(SqliteCounters(tmp_path / "none" / "rl.db"), FAULTS)
        assert [take(limited, "a", TWO, NOW).allowed for _ in range(9)].count(True) == 1
        (tmp_path / "none").mkdir()
        assert take(limited, "a", TWO, NOW + 5).remaining == 1
        limited._primary.close()

"""The driver: what it promises when writers crowd, vanish, fail, fork or find no room."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from sqlalchemy import bindparam, select

from watchword.seams import Unavailable
from watchword.store import schema, tables
from watchword.store.opening import connected
from watchword.store.sqlite import Sqlite
from watchword.store.verbs import insert_into

_o = tables.once
_COUNT = select(_o.c.id).where(_o.c.kind == bindparam("kind"))


def put(name: str, kind: str = "test"):
    yield (
        insert_into(_o, "kind", "id", "payload", "expires_at"),
        {"kind": kind, "id": name.encode(), "payload": "", "expires_at": 0.0},
    )
    return name


def put_then_fail(name: str, error: Exception):
    yield from put(name)
    raise error


def names(kind: str = "test"):
    rows = yield _COUNT, {"kind": kind}
    return {row["id"].decode() for row in rows}


@pytest.fixture
def driver(tmp_path):
    with closing(Sqlite(tmp_path / "w.db")) as made:
        schema.prepare(made, upgrade=False)
        yield made


def traced(driver: Sqlite) -> list[str]:
    statements: list[str] = []
    driver.open()
    driver._writer.set_trace_callback(statements.append)
    return statements


async def held_back(driver: Sqlite, *verbs, durable: bool = True):
    """Queue verbs while the writer waits, with another in its hands, for somebody's lock."""
    with closing(connected(driver.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.create_task(driver.write(put("first"), durable=False))
        await asyncio.sleep(0)
        while driver._jobs.qsize():
            await asyncio.sleep(0.001)
        writes = [asyncio.create_task(driver.write(verb, durable=durable)) for verb in verbs]
        await asyncio.sleep(0)
        assert driver._jobs.qsize() == len(verbs)
        other.execute("ROLLBACK")
    await asyncio.wait([first])
    return await asyncio.gather(*writes, return_exceptions=True)


async def test_callers_who_arrive_together_share_one_commit(driver):
    statements = traced(driver)
    await held_back(driver, *(put(f"n{n}") for n in range(40)))
    assert statements.count("COMMIT") <= 2  # the first alone, if it was quick; the rest together
    assert driver.read_now(names()) == {"first", *(f"n{n}" for n in range(40))}


async def test_only_one_durable_verb_makes_the_whole_batch_durable(driver):
    statements = traced(driver)
    await driver.write(put("a"), durable=False)
    assert statements[0] == "PRAGMA synchronous=NORMAL"
    statements.clear()
    await driver.write(put("b"))
    assert statements[0] == "PRAGMA synchronous=FULL"


async def test_a_verb_that_fails_undoes_only_itself(driver):
    outcomes = await held_back(
        driver,
        put("a"),
        put_then_fail("lost", ValueError("mine")),
        put("a"),  # the key is taken
        put("b"),
    )
    assert outcomes[0] == "a"
    assert isinstance(outcomes[1], ValueError)
    assert isinstance(outcomes[2], Unavailable)
    assert outcomes[3] == "b"
    assert driver.read_now(names()) == {"first", "a", "b"}


async def test_a_caller_who_has_gone_harms_nobody(driver):
    with closing(connected(driver.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        gone, stays = (asyncio.create_task(driver.write(put(n))) for n in ("gone", "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        other.execute("ROLLBACK")
    assert await stays == "stays"
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert "stays" in driver.read_now(names())


async def test_closing_finishes_what_is_queued_and_a_later_use_opens_again(driver):
    writes = [asyncio.create_task(driver.write(put(f"n{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    driver.close()
    driver.close()
    assert len(await asyncio.gather(*writes)) == 100
    assert await asyncio.wait_for(driver.write(put("later")), 10) == "later"
    assert len(driver.read_now(names())) == 101


def test_no_write_is_lost_however_closing_and_writing_meet(driver):
    """Several event loops in several threads, while another keeps closing the driver."""
    done = threading.Event()
    failures: list[BaseException] = []

    async def write_many(who: int) -> None:
        seen: object = None
        for n in range(30):
            await asyncio.wait_for(driver.write(put(f"{who}-{n}"), durable=False), 30)
            assert f"{who}-{n}" in driver.read_now(names())  # one sees one's own writes
            assert driver.version() != seen
            seen = driver.version()

    def run(who: int) -> None:
        try:
            asyncio.run(write_many(who))
        except BaseException as error:
            failures.append(error)

    def close_often() -> None:
        while not done.is_set():
            driver.close()
            done.wait(0.002)

    closer = threading.Thread(target=close_often)
    writers = [threading.Thread(target=run, args=(who,)) for who in range(3)]
    for thread in (closer, *writers):
        thread.start()
    for thread in writers:
        thread.join(60)
    done.set()
    closer.join()
    assert not failures
    assert len(driver.read_now(names())) == 90


def test_the_version_moves_for_every_commit_of_anyone(driver, tmp_path):
    seen = [driver.version()]
    assert driver.version() == seen[0]
    driver.write_now(put("mine"))
    seen.append(driver.version())
    with closing(Sqlite(driver.path)) as other:
        other.write_now(put("theirs"))
        seen.append(driver.version())
    driver.close()
    seen.append(driver.version())
    assert len(set(seen)) == 4
    assert driver.version() == seen[-1]


def test_the_version_moves_in_memory_too():
    with closing(Sqlite(":memory:")) as driver:
        schema.prepare(driver, upgrade=False)
        seen = driver.version()
        assert driver.write_now(put("a")) == "a"
        assert driver.version() != seen
        with pytest.raises(Unavailable):
            driver.write_now(put("a"))
        with pytest.raises(ValueError, match="mine"):
            driver.write_now(put_then_fail("b", ValueError("mine")))
        assert driver.read_now(names()) == {"a"}


_OPENS_AND_CLOSES = """
import sys
from watchword.store.sqlite import Sqlite
driver = Sqlite(sys.argv[1]); driver.open(); driver.version(); driver.close()
"""


async def test_another_process_that_leaves_takes_nothing_along(driver, tmp_path):
    """Who believes to be the last one deletes the WAL; its lock must tell it otherwise."""
    await driver.write(put("before"))
    driver.close()
    driver.open()
    connected(driver.path).close()  # one more connection of this process comes and goes
    subprocess.run([sys.executable, "-c", _OPENS_AND_CLOSES, driver.path], check=True, timeout=30)
    await driver.write(put("after"))
    assert (tmp_path / "w.db-wal").exists()
    with closing(Sqlite(driver.path)) as fresh:
        assert fresh.read_now(names()) == {"before", "after"}


def _write_in_child(driver: Sqlite, answers) -> None:
    answers.send(driver.write_now(put("child")))
    answers.send(driver.read_now(names()))
    driver.close()


@pytest.mark.attack("Z-35")
def test_a_fork_shares_no_connection(driver):
    driver.write_now(put("parent"))
    fork = multiprocessing.get_context("fork")
    answers, question = fork.Pipe(duplex=False)
    child = fork.Process(target=_write_in_child, args=(driver, question))
    child.start()
    assert driver._gate.acquire(timeout=30)
    driver._gate.release()
    for expected in ("child", {"parent", "child"}):
        assert answers.poll(30)
        assert answers.recv() == expected
    child.join(30)
    assert child.exitcode == 0
    driver.write_now(put("again"))
    assert driver.read_now(names()) == {"parent", "child", "again"}
    for end in (answers, question):
        end.close()


@pytest.mark.attack("Z-04")
async def test_a_full_disk_refuses_writes_and_heals_by_itself(driver):
    driver._writer.execute(
        f"PRAGMA max_page_count={driver._writer.execute('PRAGMA page_count').fetchone()[0]}"
    )
    big = "x" * 50_000
    outcomes = await held_back(driver, put(big), put(big + "2"), put(big + "3"))
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert driver.read_now(names()) == {"first"}  # reading goes on
    driver._writer.execute("PRAGMA max_page_count=1000000")
    assert await driver.write(put("room")) == "room"
    assert driver.read_now(names()) == {"first", "room"}


@pytest.mark.attack("Z-05")
async def test_a_read_only_database_refuses_writes_and_goes_on_reading(driver):
    await driver.write(put("before"))
    driver._writer.execute("PRAGMA query_only=ON")
    with pytest.raises(Unavailable):
        await driver.write(put("refused"))
    assert driver.read_now(names()) == {"before"}
    driver._writer.execute("PRAGMA query_only=OFF")
    assert await driver.write(put("after")) == "after"


@pytest.mark.attack("Z-32")
async def test_a_locked_database_is_unavailable_after_the_busy_time(driver):
    driver._writer.execute("PRAGMA busy_timeout=50")
    with closing(connected(driver.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        writes = [driver.write(put(f"n{n}")) for n in range(50)]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
        assert driver.read_now(names()) == set()
        other.execute("ROLLBACK")
    assert await driver.write(put("after")) == "after"


@pytest.mark.attack("Z-32")
async def test_a_long_reader_stops_nobody_and_the_wal_is_used_again(driver, tmp_path):
    wal = tmp_path / "w.db-wal"
    with closing(connected(driver.path)) as reader:
        reader.execute("BEGIN")
        assert reader.execute(f"SELECT count(*) FROM {_o.name}").fetchone()[0] == 0
        for n in range(60):
            await driver.write(put(f"{n}" + "x" * 80_000), durable=False)
        assert len(driver.read_now(names())) == 60
        assert reader.execute(f"SELECT count(*) FROM {_o.name}").fetchone()[0] == 0
        grown = wal.stat().st_size
        assert grown > 4_000_000
        reader.execute("COMMIT")
    for n in range(60, 120):  # twice as much, were the file not used again
        await driver.write(put(f"{n}" + "x" * 80_000), durable=False)
    assert wal.stat().st_size < 1.2 * grown


async def test_what_cannot_be_opened_is_unavailable(tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "text").write_text("this is no database, " * 100)
    for name in ("dir", "text", "missing/w.db"):
        driver = Sqlite(tmp_path / name)
        for attempt in (driver.open, driver.version, lambda d=driver: d.read_now(names())):
            with pytest.raises(Unavailable):
                attempt()
        with pytest.raises(Unavailable):
            await driver.write(put("a"))
        with pytest.raises(Unavailable):
            schema.prepare(driver, upgrade=False)
        driver.close()


async def test_a_database_without_its_tables_is_unavailable(tmp_path):
    with closing(Sqlite(tmp_path / "w.db")) as driver:
        with pytest.raises(Unavailable):
            driver.read_now(names())
        with pytest.raises(Unavailable):
            await driver.write(put("a"))


def test_a_closed_event_loop_stops_no_writer(driver):
    loop = asyncio.new_event_loop()
    with closing(connected(driver.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        task = loop.create_task(driver.write(put("left alone")))
        loop.run_until_complete(asyncio.sleep(0.01))
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
        other.execute("ROLLBACK")
    assert driver.write_now(put("next")) == "next"
    assert driver.read_now(names()) == {"left alone", "next"}


def test_the_library_can_do_what_the_verbs_say():
    assert sqlite3.sqlite_version_info >= (3, 35)  # RETURNING
    assert sqlite3.threadsafety == 3  # the gate and the writer pass connections on

"""The mark: what one process stamps, every other reads; losing the file loses no revocation."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import ExitStack, closing

import pytest

from watchword.rules.revoking import key8
from watchword.seams import Unavailable
from watchword.store import schema, sqlite
from watchword.store.contract import NOW
from watchword.store.mark import Mark
from watchword.store.sql import SqlStore
from watchword.store.sqlite import Sqlite


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.db"


def opened(stack: ExitStack, path) -> SqlStore:
    store = SqlStore(stack.enter_context(closing(Sqlite(path))), token_life=600)
    schema.prepare(store.driver, upgrade=False)
    return store


async def revoke(store: SqlStore, jti: str) -> None:
    assert await store.revoke_token(jti, NOW + 600, NOW)


def keys(store: SqlStore, after: int = 0) -> set[int]:
    return {entry.key for entry in store.news(after, 1).entries}


def test_a_stamp_is_read_by_everyone_who_maps_the_file(path):
    mine, theirs = Mark(str(path)), Mark(str(path))
    seen = {mine.read()}
    for _ in range(5):
        theirs.stamp()
        assert mine.read() == theirs.read()
        seen.add(mine.read())
    assert len(seen) == 6
    assert Mark(str(path)).read() == mine.read()  # coming later resets nothing


def test_another_process_stamps_the_same_word(path):
    mark = Mark(str(path))
    before = mark.read()
    code = "import sys; from watchword.store.mark import Mark; Mark(sys.argv[1]).stamp()"
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=30)
    assert mark.read() != before


def test_two_names_of_one_database_share_one_mark(tmp_path, path):
    path.touch()
    (tmp_path / "link.db").symlink_to(path)
    mine, theirs = Mark(str(path)), Mark(str(tmp_path / "link.db"))
    theirs.stamp()
    assert mine.read() == theirs.read() != 0


def test_the_file_is_its_owner_s_alone_and_no_hole(path):
    mark = Mark(str(path))
    found = (path.parent / "w.db-mark").stat()
    assert found.st_mode & 0o777 == 0o600
    assert found.st_size > 8
    assert mark.is_current()


def test_a_file_that_was_replaced_is_noticed(path):
    mark = Mark(str(path))
    file = path.parent / "w.db-mark"
    file.unlink()
    assert not mark.is_current()
    again = Mark(str(path))
    assert again.is_current()
    assert not mark.is_current()
    mark.stamp()  # harms nobody


def test_a_mark_that_cannot_be_made_makes_the_database_unavailable(path):
    (path.parent / "w.db-mark").mkdir()
    driver = Sqlite(path)
    with pytest.raises(Unavailable):
        driver.open()
    with pytest.raises(Unavailable):
        driver.version()
    (path.parent / "w.db-mark").rmdir()
    driver.open()
    driver.close()


@pytest.mark.attack("Z-32")
async def test_every_acknowledged_commit_is_seen_at_once(path, monkeypatch):
    monkeypatch.setattr(sqlite, "POLL_EVERY", 1e9)  # the mark alone must do
    with ExitStack() as stack:
        mine, theirs = opened(stack, path), opened(stack, path)
        assert mine.news(0, 1) is None
        assert mine.news(0, 1) is None
        for n in range(20):
            writer, reader = (mine, theirs) if n % 2 else (theirs, mine)
            await revoke(writer, f"jti{n}")
            assert keys(reader, n) == {key8("jti", f"jti{n}")}
            assert keys(writer, n) == {key8("jti", f"jti{n}")}


async def test_a_commit_nobody_stamped_is_found_by_the_poll(path, monkeypatch):
    """Its writer died between commit and stamp, or the file was deleted."""
    with ExitStack() as stack:
        mine, theirs = opened(stack, path), opened(stack, path)
        assert mine.news(0, 1) is None
        (path.parent / "w.db-mark").unlink()
        theirs.driver._mark = None  # the writer has none to stamp
        await revoke(theirs, "jti")
        mine.driver._poll_at = 0.0  # half a second later
        assert keys(mine) == {key8("jti", "jti")}
        assert mine.driver._mark.is_current()  # and a new one has been made
        monkeypatch.setattr(sqlite, "POLL_EVERY", 1e9)
        theirs.driver.version()
        assert theirs.driver._mark.read() == mine.driver._mark.read()


def test_reading_goes_on_while_another_thread_closes(path):
    with ExitStack() as stack:
        driver = opened(stack, path).driver
        done = threading.Event()
        failures: list[BaseException] = []

        def read() -> None:
            try:
                while not done.is_set():
                    driver.version()
            except BaseException as error:
                failures.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(50):
            driver.close()
        done.set()
        reader.join(30)
        assert not failures

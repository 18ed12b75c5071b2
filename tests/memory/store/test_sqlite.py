import os
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from ddrs.errors import StoreError
from ddrs.memory.store.sqlite import SQLite


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "memory.db")


@pytest.fixture
def database(path):
    with closing(Opened(path)) as database:
        with database.engine.begin() as connection:
            database.begin(connection, write=True)
            connection.execute(text("CREATE TABLE notes (text TEXT)"))
            connection.execute(text("INSERT INTO notes VALUES ('first')"))
        yield database


class Opened(SQLite):
    """A database that `closing` can close."""

    def __init__(self, path, timeout=0.05, read_only=False):
        super().__init__(path, timeout, read_only=read_only)
        try:
            self.configure()
        except StoreError:
            self.close()
            raise

    def close(self):
        self.engine.dispose()


def notes(path):
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY rowid")]


def add(database, note):
    with database.engine.begin() as connection:
        database.begin(connection, write=True)
        connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note})
        database.check()


def test_commits_are_durable_and_in_write_ahead_mode(database, path):
    with database.engine.connect() as connection:
        ask = connection.exec_driver_sql
        assert ask("PRAGMA journal_mode").scalar_one() == "wal"
        assert ask("PRAGMA synchronous").scalar_one() == 2  # FULL
    add(database, "second")
    assert notes(path) == ["first", "second"]


def test_it_is_named_by_its_path_and_exists_once_it_is_made(path):
    database = SQLite(path, 1.0, read_only=False)
    assert database.name == path
    assert not database.exists()
    database.configure()
    assert database.exists()
    database.engine.dispose()


def test_in_this_process_alone_there_is_nothing_to_find_or_copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(Opened(None)) as database:
        assert database.name == "memory://"
        assert not database.exists()
        with database.engine.begin() as connection:
            database.begin(connection, write=True)
            connection.execute(text("CREATE TABLE notes (text TEXT)"))
            database.check()
            database.keep_copy(connection, "1")
        with database.engine.begin() as connection:
            assert connection.execute(text("SELECT * FROM notes")).all() == []
    assert os.listdir(tmp_path) == []


def test_a_writer_holds_the_lock_from_its_first_read_on(database, path):
    with closing(Opened(path)) as other, database.engine.begin() as connection:
        database.begin(connection, write=True)
        with pytest.raises(OperationalError, match="locked") as caught:
            add(other, "too early")
        assert "locked by another process" in other.explain(caught.value)
        connection.rollback()
        add(other, "now")
    assert notes(path) == ["first", "now"]


def test_a_reader_sees_one_state_throughout_and_stops_no_writer(database, path):
    count = text("SELECT count(*) FROM notes")
    with closing(Opened(path)) as other:
        with other.engine.begin() as connection:
            other.begin(connection, write=False)
            assert connection.execute(count).scalar_one() == 1
            add(database, "second")
            assert connection.execute(count).scalar_one() == 1
        with other.engine.begin() as connection:
            other.begin(connection, write=False)
            assert connection.execute(count).scalar_one() == 2


def test_an_exception_undoes_the_transaction(database, path, monkeypatch):
    def check():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(database, "check", check)
        with pytest.raises(KeyboardInterrupt):
            add(database, "never")
    assert notes(path) == ["first"]
    add(database, "second")
    assert notes(path) == ["first", "second"]


@pytest.mark.parametrize("in_file", [True, False])
def test_an_interrupted_statement_leaves_the_connection_as_it_was(path, in_file):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    with closing(Opened(path if in_file else None)) as database:
        with database.engine.begin() as connection:
            database.begin(connection, write=True)
            connection.execute(text("CREATE TABLE notes (text TEXT)"))
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous = EXTRA")
        event.listen(database.engine, "do_execute", interrupt)
        with pytest.raises(KeyboardInterrupt):
            add(database, "never")
        event.remove(database.engine, "do_execute", interrupt)
        with database.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 3
        add(database, "second")
        with database.engine.connect() as connection:
            assert connection.execute(text("SELECT text FROM notes")).scalars().all() == ["second"]


@pytest.mark.parametrize("name", ["a b.db", "ü%20.db", "q?mode=rw.db", "h#.db", "file:x.db"])
@pytest.mark.parametrize("read_only", [False, True])
def test_any_name_is_the_name_of_a_file(tmp_path, name, read_only):
    path = str(tmp_path / name)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE notes (text TEXT)")
    with closing(Opened(path, read_only=read_only)) as database:
        with database.engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM notes")).scalar_one() == 0
        assert {f.split(".db")[0] for f in os.listdir(tmp_path)} == {name.removesuffix(".db")}


def test_read_only_writes_nothing(database, path):
    with closing(Opened(path, read_only=True)) as reader:
        with pytest.raises(OperationalError) as caught:
            add(reader, "never")
        assert "cannot be written" in reader.explain(caught.value)
    assert notes(path) == ["first"]


def test_read_only_needs_a_file(path):
    database = SQLite(path, 0.05, read_only=True)
    with pytest.raises(OperationalError) as caught:
        database.configure()
    assert "cannot be opened" in database.explain(caught.value)
    database.engine.dispose()
    assert not os.path.exists(path)


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("replaced", [False, True])
def test_what_is_no_longer_the_file_that_was_opened_is_not_written(
    database, path, suffix, replaced
):
    database.check()
    os.rename(f"{path}{suffix}", f"{path}.moved")
    if replaced:
        with open(f"{path}{suffix}", "wb") as file:
            file.write(b"another file")
    with pytest.raises(StoreError, match="deleted or replaced"):
        database.check()
    if replaced:
        os.remove(f"{path}{suffix}")
    os.rename(f"{path}.moved", f"{path}{suffix}")
    add(database, "second")
    assert notes(path) == ["first", "second"]


def keep(database, version="1"):
    """What a migration does: write, and keep a copy of what was there before."""
    with database.engine.begin() as connection:
        database.begin(connection, write=True)
        connection.execute(text("INSERT INTO notes VALUES ('uncommitted')"))
        database.keep_copy(connection, version)
        connection.rollback()


def test_a_copy_is_the_last_committed_state_in_a_file_of_its_own(database, path, tmp_path):
    keep(database)
    assert notes(f"{path}.version-1") == ["first"]
    assert notes(path) == ["first"]
    add(database, "second")
    assert notes(f"{path}.version-1") == ["first"]
    assert {f for f in os.listdir(tmp_path) if "version" in f} == {"memory.db.version-1"}


def test_no_file_is_overwritten_and_the_same_copy_is_not_kept_twice(database, path, tmp_path):
    with open(f"{path}.version-1", "w") as file:
        file.write("mine")
    for _ in range(3):
        keep(database)
    add(database, "second")
    keep(database)
    with open(f"{path}.version-1") as file:
        assert file.read() == "mine"
    assert notes(f"{path}.version-1.2") == ["first"]
    assert notes(f"{path}.version-1.3") == ["first", "second"]
    assert len([f for f in os.listdir(tmp_path) if "version" in f]) == 3


def test_what_an_interrupted_copy_left_is_removed_and_a_name_of_ones_own_is_kept(
    database, path, tmp_path
):
    for name in (".version-1.0123abcd.partial", ".version-1.partial"):
        with open(f"{path}{name}", "w") as file:
            file.write("half a copy")
    keep(database)
    assert notes(f"{path}.version-1") == ["first"]
    assert {f for f in os.listdir(tmp_path) if "partial" in f} == {"memory.db.version-1.partial"}
    with open(f"{path}.version-1.partial") as file:
        assert file.read() == "half a copy"


def test_a_copy_follows_no_link(database, path, tmp_path):
    (tmp_path / "mine").write_text("mine")
    for name in (".version-1", ".version-1.partial"):
        os.symlink(tmp_path / "mine", f"{path}{name}")
    keep(database)
    assert (tmp_path / "mine").read_text() == "mine"
    assert notes(f"{path}.version-1.2") == ["first"]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_pipe_is_refused_and_not_waited_for(path, suffix, read_only):
    os.mkfifo(f"{path}{suffix}")
    with pytest.raises(StoreError, match="pipe, device or socket"):
        SQLite(path, 0.05, read_only=read_only)


@pytest.fixture
def sealed(path, monkeypatch):
    """A file with one note in a directory that, as the system says, nobody can write to."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.execute("INSERT INTO notes VALUES ('first')")
        connection.commit()
    monkeypatch.setattr(os, "access", lambda name, mode: mode != os.W_OK)
    return path


def count(database):
    with database.engine.begin() as connection:
        database.begin(connection, write=False)
        found = connection.execute(text("SELECT count(*) FROM notes")).scalar_one()
        database.check()
        return found


def test_where_nobody_can_write_a_file_is_read_alone(sealed, tmp_path):
    with closing(Opened(sealed, read_only=True)) as reader:
        assert count(reader) == 1
        assert os.listdir(tmp_path) == ["memory.db"]  # no log and no shared memory were made


def test_a_log_that_was_left_there_is_not_overlooked(sealed):
    with closing(sqlite3.connect(sealed)) as writer:
        writer.execute("INSERT INTO notes VALUES ('second')")
        writer.commit()
        with closing(Opened(sealed, read_only=True)) as reader:
            assert count(reader) == 2


@pytest.mark.parametrize("ended", [False, True])
def test_a_file_that_does_change_there_is_noticed(sealed, ended):
    with closing(Opened(sealed, read_only=True)) as reader:
        assert count(reader) == 1
        with closing(sqlite3.connect(sealed)) as writer:
            writer.execute("INSERT INTO notes VALUES ('second')")
            writer.commit()
            if ended:
                writer.close()
            with pytest.raises(StoreError, match="was changed while it was read"):
                count(reader)
    with closing(Opened(sealed, read_only=True)) as reader:
        assert count(reader) == 2


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_copy_that_cannot_be_kept_is_one_error_and_leaves_nothing(
    database, path, tmp_path, monkeypatch, broken
):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(StoreError, match=r"No space left.*unchanged.*make room"):
            keep(database)
    assert [f for f in os.listdir(tmp_path) if "version" in f] == []
    assert notes(path) == ["first"]
    keep(database)
    assert notes(f"{path}.version-1") == ["first"]


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (sqlite3.SQLITE_BUSY, "locked by another process"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked by another process"),
        (sqlite3.SQLITE_READONLY, "permissions"),
        (sqlite3.SQLITE_CANTOPEN, "directory"),
        (sqlite3.SQLITE_FULL, "disk is full"),
        (sqlite3.SQLITE_CORRUPT, "restore it from a copy"),
        (sqlite3.SQLITE_NOTADB, "not a SQLite database"),
        (sqlite3.SQLITE_IOERR_WRITE, "nothing of this call was stored"),
        (sqlite3.SQLITE_IOERR_FSYNC, "ask again"),  # the frames are in the log: nobody knows
        (None, "nothing of this call was stored"),
    ],
)
def test_every_code_is_explained_with_the_drivers_own_words(code, meaning):
    words = sqlite3.OperationalError("its words")
    if code is not None:
        words.sqlite_errorcode = code
    error = OperationalError("a statement", {}, words)
    database = SQLite(None, 1.0, read_only=False)
    assert meaning in database.explain(error)
    assert "(its words)" in database.explain(error)
    assert not database.lost(error)


def test_what_another_program_holds_is_waited_for_and_then_an_error(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("CREATE TABLE notes (text TEXT)")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked by another process"):
            Opened(path)
        holder.execute("ROLLBACK")
    with closing(Opened(path)) as database:
        add(database, "first")
    assert notes(path) == ["first"]

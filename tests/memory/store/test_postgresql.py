import signal
import threading
import time

import numpy as np
import pytest
from sqlalchemy import text

from ddrs.errors import StoreError
from ddrs.inputs import Point
from ddrs.memory.entries import Entry
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.memory.view import sketches
from ddrs.proof.certificate import ABSTAIN
from memory.contract import SharedMemoryContract, conflicting
from support import version_2


class TestPostgreSQL(SharedMemoryContract):
    @pytest.fixture(autouse=True)
    def server(self, postgres):
        self.postgres = postgres
        self.fresh = {}

    def url(self, folder):
        return self.fresh.setdefault(folder, self.postgres.database())


@pytest.mark.parametrize("mode", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_a_server_that_stops_in_mid_write_and_comes_back_loses_nothing(postgres, mode):
    url = postgres.database()
    x, predictions, radii = conflicting(200, seed=11)
    answers, failures = {}, []

    def work(offset):
        with Memory(url, timeout=60) as memory:
            for i in range(offset, 200, 2):
                try:
                    answers[i] = memory.resolve(x[i], predictions[i], radii[i])
                except StoreError as error:
                    failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    while len(answers) < 40:
        time.sleep(0.01)
    postgres.stop(mode)
    time.sleep(0.3)
    postgres.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(answers) == 200
    with Memory(url) as memory:
        assert memory.audit().ok
        for i, answer in answers.items():
            assert answer.prediction == ABSTAIN or memory.recall(x[i]) == answer


def test_a_server_that_does_not_come_back_is_one_error_and_nobody_knows(postgres):
    with Memory(postgres.database(), timeout=0.3) as memory:
        memory.resolve([0.0], 1, 1.0)
        postgres.stop()
        with pytest.raises(StoreError, match="not known: ask for them again"):
            memory.resolve([5.0], 1, 1.0)
        postgres.start()
        assert memory.resolve([5.0], 1, 1.0) == Resolution(1, 1.0, "own")
        assert memory.audit().ok


def test_an_answer_whose_commit_was_reached_before_the_connection_broke_is_given(postgres):
    with Memory(postgres.database()) as memory:
        memory.resolve([0.0], 1, 1.0)
        engine = memory._store._db.engine
        commit, cuts = engine.dialect.do_commit, []

        def commit_and_lose(connection):
            commit(connection)
            if not cuts:
                cuts.append(True)
                postgres.cut()
                connection.execute("SELECT 1")  # the driver learns of it

        engine.dialect.do_commit = commit_and_lose
        assert memory.resolve([5.0], 2, 1.0) == Resolution(2, 1.0, "own")
        assert cuts
        assert len(memory) == 2
        assert memory.audit().ok


def test_cut_connections_are_made_again(postgres):
    with Memory(postgres.database()) as memory:
        memory.resolve([0.0], 1, 1.0)
        for _ in range(3):
            postgres.cut()
            assert memory.recall([0.0]) == Resolution(1, 1.0, "own")
            postgres.cut()
            assert memory.resolve([0.5], 2, 1.0) == Resolution(1, 0.5, "inherited")


def test_a_writer_waits_for_another_and_then_says_so(postgres):
    url = postgres.database()
    with Memory(url, timeout=0.2) as memory, Memory(url) as other:
        memory.resolve([0.0], 1, 1.0)
        engine = other._store._db.engine
        with engine.begin() as connection:
            other._store._db.begin(connection, write=True)
            with pytest.raises(StoreError, match="locked by another client"):
                memory.resolve([5.0], 1, 1.0)
            assert memory.recall([0.0]) == Resolution(1, 1.0, "own")  # readers go on
            connection.rollback()
        assert memory.recall([5.0]) is None
        assert memory.resolve([5.0], 1, 1.0).outcome == "own"


def test_commits_are_on_the_disk_whatever_the_database_is_set_to(postgres):
    url = postgres.database()
    name = url.split("/")[3].split("?")[0]
    postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with Memory(url) as memory:
        show = text("SHOW synchronous_commit")
        told = memory._store.run(lambda t: t.connection.execute(show).scalar_one(), write=True)
    assert told == "on"


def test_a_writer_reads_what_was_committed_while_it_waited_whatever_the_isolation(postgres):
    url = postgres.database()
    name = url.split("/")[3].split("?")[0]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    with Memory(url) as one, Memory(url) as two:
        one.resolve([0.0], 1, 1.0)
        assert two.recall([0.0]) is not None
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(two.resolve([0.5], 2, 1.0)))

        def work(transaction):
            waiting.start()
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while postgres.execute(locks) == [(0,)]:
                time.sleep(0.01)
            head = one._view.catch_up(transaction)
            other = Entry(2, Point.of([0.5]), Resolution(1, 0.5, "inherited"), 2, 1.0)
            transaction.append([other], sketches([other.point]), head)

        one._store.run(work, write=True)
        waiting.join()
        assert answers == [Resolution(1, 0.5, "inherited")]
        assert two.audit().ok


@pytest.mark.parametrize("timeout", [1e-4, 1e8])
def test_timeouts_that_the_server_cannot_count_are_rounded(postgres, timeout):
    with Memory(postgres.database(), timeout=timeout) as memory:
        assert memory.resolve([0.0], 1, 1.0).outcome == "own"


def test_a_statement_that_the_server_cancels_is_undone(postgres):
    url = postgres.database()
    name = url.split("/")[3].split("?")[0]
    with Memory(url) as memory:
        memory.resolve([0.0], 1, 1.0)
    postgres.execute(f"ALTER DATABASE {name} SET statement_timeout = 100")
    with Memory(url) as memory, Memory(url) as other:
        with other._store._db.engine.begin() as connection:
            other._store._db.begin(connection, write=True)
            with pytest.raises(StoreError, match="statement_timeout"):
                memory.resolve([5.0], 1, 1.0)
            connection.rollback()
        assert memory.recall([5.0]) is None


def test_a_user_who_may_only_read_gets_answers_and_cannot_write(postgres):
    url = postgres.database()
    name = url.split("/")[3].split("?")[0]
    with Memory(url) as memory:
        memory.resolve([0.0], 1, 1.0)
    postgres.execute("DROP ROLE IF EXISTS guest")
    postgres.execute("CREATE ROLE guest LOGIN")
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest", name)
    guest = url.replace("ddrs@", "guest@")
    with Memory(guest, read_only=True) as memory:
        assert memory.resolve([0.5], 2, 1.0) == Resolution(1, 0.5, "inherited")
        assert memory.resolve([9.0], 2, 1.0) == Resolution(2, 0.0, "unrecorded")
    with Memory(guest) as memory, pytest.raises(StoreError, match="rights"):
        memory.resolve([9.0], 2, 1.0)
    with Memory(url) as memory:
        assert len(memory) == 1
    postgres.execute("DROP OWNED BY guest", name)


def test_a_server_without_fsync_is_refused(postgres):
    url = postgres.database()
    try:
        postgres.execute("ALTER SYSTEM SET fsync = off")
        postgres.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while postgres.execute("SHOW fsync") != [("off",)] and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(StoreError, match="fsync=off"):
            Memory(url)
    finally:
        postgres.execute("ALTER SYSTEM RESET fsync")
        postgres.execute("SELECT pg_reload_conf()")


def test_what_cannot_be_reached_says_so_without_the_password(postgres):
    for url in (
        f"postgresql://ddrs:secret@/missing?host={postgres.sockets}",
        "postgresql://ddrs:secret@127.0.0.1:1/name",
        "postgresql://ddrs:secret@/name?host=/nowhere",
    ):
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            Memory(url, timeout=0.5)
        assert "secret" not in str(caught.value)


def test_another_programs_tables_are_left_alone(postgres):
    url = postgres.database()
    name = url.split("/")[3].split("?")[0]
    postgres.execute("CREATE TABLE notes (text TEXT)", name)
    with pytest.raises(StoreError, match="no ddrs memory"):
        Memory(url)
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    assert postgres.execute(tables, name) == [("notes",)]


def test_a_database_of_version_2_is_read_and_upgraded(postgres):
    url = postgres.database()
    name = url.split("/")[3].split("?")[0]
    with Memory(url) as memory:
        memory.resolve([0.0], 1, 1.0)
    for statement in version_2.LATER:
        postgres.execute(statement, name)
    with Memory(url, read_only=True) as memory:
        assert memory.recall([0.0]) == Resolution(1, 1.0, "own")
        assert memory.audit().ok
    with Memory(url) as memory:
        first = memory.resolve([9.0], ABSTAIN, 0.0, evidence="a", alpha=0.05)
        assert memory.resolve([9.0], 1, 1.0, evidence="b", alpha=0.05) == first
        assert memory.audit().ok
    assert postgres.execute("SELECT count(*) FROM head_version_2", name) == [(1,)]


def test_rows_changed_by_hand_are_found(postgres):
    url = postgres.database()
    name = url.split("/")[3].split("?")[0]
    with Memory(url) as memory:
        memory.resolve_many(np.eye(3), [1, 2, 3], [0.1, 0.2, 0.3])
        postgres.execute("UPDATE regions SET radius = 0.9 WHERE id = 1", name)
        postgres.execute("DELETE FROM regions WHERE id = 3", name)
        kinds = {violation.kind for violation in memory.audit().violations}
    assert kinds == {"head", "chain", "replay"}

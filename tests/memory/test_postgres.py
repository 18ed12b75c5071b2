"""The server that the other tests rely on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text

from support.postgres import Server

TO_BE_KILLED = """
from support.postgres import Server
server = Server()
server.start()
print(server.folder, flush=True)
input()
"""


@pytest.mark.parametrize("mode", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_what_was_committed_is_there_after_a_stop_of_any_kind(postgres, mode):
    url = postgres.database().replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url, pool_pre_ping=True)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
        connection.execute(text("INSERT INTO numbers VALUES (1)"))
    held = engine.connect()
    held.execute(text("INSERT INTO numbers VALUES (2)"))
    assert postgres.connections() == 1
    postgres.stop(mode)
    assert not postgres.running
    postgres.start()
    assert postgres.connections() == 0
    held.invalidate()
    held.close()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT number FROM numbers")).all() == [(1,)]
    engine.dispose()


def test_durable_settings_are_the_servers_own(postgres):
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        assert postgres.execute(f"SHOW {name}") == [("on",)]
        source = f"SELECT source FROM pg_settings WHERE name = '{name}'"
        assert postgres.execute(source) == [("default",)]


def test_a_server_that_cannot_start_says_why_and_can_be_started_again():
    server = Server()
    try:
        settings = server.folder / "data" / "postgresql.conf"
        settings.write_text("nonsense = 1\n")
        with pytest.raises(AssertionError, match='parameter "nonsense"'):
            server.start()
        assert not server.running
        settings.write_text("")
        server.start()
        assert server.execute("SELECT 1") == [(1,)]
    finally:
        server.close()
    assert not server.folder.exists()


def test_a_run_that_is_killed_leaves_no_server_and_no_folder():
    run = subprocess.Popen(
        [sys.executable, "-c", TO_BE_KILLED],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    folder = Path(run.stdout.readline().strip())
    server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    run.kill()
    run.communicate()
    deadline = time.monotonic() + 60
    while (folder.exists() or alive(server)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    assert not alive(server)


def alive(process):
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

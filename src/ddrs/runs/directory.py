"""A run directory: made for one configuration, never overwritten, resumed where it stopped.

    config.json             what was asked; another configuration is refused; `result` in it is what
                            came of a training, which with the rest of it describes a model
    certificates.partial    a JSON line an input, on disk as soon as it is certified
    certificates.parquet    the same rows in order, once all are there
    summary.json            the figures of the run, written last
    memory.db               the memory, where the run has one of its own

While a process works in a run it holds a lock on the directory, so two of them cannot mix.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ddrs.errors import RunError
from ddrs.files import read_parquet, write_atomically
from ddrs.noise.streams import fresh_seed

__all__ = ["Row", "Run", "read_config", "write_atomically"]

Row = dict[str, Any]
CONFIG, JOURNAL = "config.json", "certificates.partial"
CERTIFICATES, SUMMARY = "certificates.parquet", "summary.json"
MEMORY_FILE = "memory.db"
RESULT = "result"  # the one key of a configuration that is not asked for


class Run:
    """A run directory, open for work by this process alone; a context manager.

    Args:
        path: the directory; it is made if it is not there.
        config: what is asked. Where its `seed` is None, the run draws one when it is made and goes
            on with that one when it is resumed.

    Attributes:
        config: the run's configuration.
        resumed: whether the run was there already.

    Raises:
        RunError: the directory belongs to something else, was made with another configuration, is
            in use by another process, or cannot be written.
    """

    def __init__(self, path: str | Path, config: Mapping[str, Any]) -> None:
        self.path = Path(path)
        try:
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        try:
            self._claim(json.loads(json.dumps(config)))
        except BaseException:
            self.close()
            raise

    def _claim(self, wanted: dict[str, Any]) -> None:
        """Lock the directory, then make it this configuration's or see that it is."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"{self.path} is in use by another process; wait for it") from error
        self.resumed = (self.path / CONFIG).exists()
        if self.resumed:
            found = read_config(self.path)
            found.pop(RESULT, None)
            self.config = _with_seed(wanted, found.get("seed"))
            _refuse_another(self.path, self.config, found)
            return
        if any(entry.name != f"{CONFIG}.partial" for entry in self.path.iterdir()):
            raise RunError(
                f"{self.path} is not empty and not a run directory; choose another --out"
            )
        self.config = _with_seed(wanted, fresh_seed())
        try:
            write_atomically(self.path / CONFIG, json.dumps(self.config, indent=2) + "\n")
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Nothing came of it: a corrected command must not be refused for what this one asked.
        if error and not self.resumed and [p.name for p in self.path.iterdir()] == [CONFIG]:
            (self.path / CONFIG).unlink()
            if self._made:
                self.path.rmdir()
        self.close()

    def close(self) -> None:
        """Let other processes work in the run."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    @property
    def summary(self) -> dict[str, Any] | None:
        """The figures of the finished run, or None."""
        return read_summary(self.path)

    def rows(self) -> list[Row]:
        """The rows so far, in order of index; a line that a kill cut short is not among them."""
        if (self.path / CERTIFICATES).exists():
            return list(read_parquet(self.path / CERTIFICATES).to_pylist())
        journal = self.path / JOURNAL
        if not journal.exists():
            return []
        whole, _, cut = journal.read_bytes().rpartition(b"\n")
        if cut:
            os.truncate(journal, len(whole) + 1 if whole else 0)
        try:
            rows = [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise RunError(f"{journal} is damaged: {error}") from error
        return sorted(rows, key=lambda row: int(row["index"]))

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows; they are on disk when this returns.

        Raises:
            RunError: they cannot be written; the rows before them are kept.
        """
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        journal = self.path / JOURNAL
        before = journal.stat().st_size if journal.exists() else 0
        try:
            with open(journal, "ab") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(journal, before)
            raise _cannot_write(self.path, error) from error

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the table and the summary, each in one step.

        Raises:
            RunError: they cannot be written; the journal is kept.
        """
        rows = self.rows()
        try:
            if not (self.path / CERTIFICATES).exists():
                sink = pa.BufferOutputStream()
                pq.write_table(pa.Table.from_pylist(rows), sink)
                write_atomically(self.path / CERTIFICATES, sink.getvalue().to_pybytes())
            self.write_summary(summary)
            (self.path / JOURNAL).unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Add to the configuration what came of it, in one step.

        Raises:
            RunError: it cannot be written; the configuration is as it was.
        """
        content = json.dumps({**self.config, RESULT: result}, indent=2) + "\n"
        try:
            write_atomically(self.path / CONFIG, content)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the figures of the run, which make it a finished one, in one step.

        Raises:
            RunError: they cannot be written.
        """
        try:
            write_atomically(self.path / SUMMARY, json.dumps(summary, indent=2) + "\n")
        except OSError as error:
            raise _cannot_write(self.path, error) from error


def read_config(path: str | Path) -> dict[str, Any]:
    """The configuration of a run directory.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    file = Path(path) / CONFIG
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise RunError(f"{file} does not hold a configuration")
    return config


def read_summary(path: str | Path) -> dict[str, Any] | None:
    """The figures of a run directory, or None while it is not finished.

    Raises:
        RunError: they cannot be read.
    """
    file = Path(path) / SUMMARY
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error


def _with_seed(wanted: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    return {**wanted, "seed": seed if wanted.get("seed") is None else wanted["seed"]}


def _refuse_another(path: Path, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    if keys:
        changes = ", ".join(f"{key}: {found.get(key)!r} not {wanted.get(key)!r}" for key in keys)
        raise RunError(
            f"{path} was made with another configuration ({changes}); choose another --out"
        )


def _cannot_write(path: Path, error: OSError) -> RunError:
    if isinstance(error, RunError):
        return error
    return RunError(f"cannot write in {path}: {error.strerror or error}; what was there is kept")

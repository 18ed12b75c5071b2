"""A run directory: made for one configuration, never overwritten, resumed where it stopped.

    config.json             what was asked; another configuration is refused; `result` in it is what
                            came of a training, which with the rest of it describes a model
    certificates.partial    a JSON line per input, on disk as soon as it is certified
    certificates.parquet    the same rows in order, once all are there
    summary.json            the figures of the run, written last
    calibration.json        what limits sigma, where a policy has a calibration
    memory.db               the memory, where the run has one of its own

While a process works in a run it holds a lock on the directory, so two of them cannot mix.

pyarrow is imported where the table is written, so that no other command waits for it.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from ddrs.errors import ConfigurationError, RunError, one_line
from ddrs.files import cannot_write, check_file, clear_leftovers, is_leftover, write
from ddrs.noise.streams import fresh_seed
from ddrs.runs.checking import check_values, row_checks
from ddrs.runs.decoding import read_json
from ddrs.runs.files import CALIBRATION, CERTIFICATES, CONFIG, JOURNAL, SUMMARY
from ddrs.runs.rows import CertifiedRow
from ddrs.runs.table import read_certificates

__all__ = ["Configuration", "Record", "Run", "read_config"]

RESULT = "result"  # the one key of a configuration that is not asked for
DATA_DIGEST = "data_digest"  # stays what it was when the run was made; the engine compares it


class Record(Protocol):
    """What has a place in a file of a run."""

    def to_json(self) -> dict[str, Any]:
        """The object that the file holds, in plain types."""


class Configuration(Record, Protocol):
    """What a run directory is made for: equal in JSON means the same run."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_json` wrote; further keys do no harm.

        Raises:
            TypeError, ValueError: it is not one.
        """


C = TypeVar("C", bound=Configuration)


class Run(Generic[C]):
    """A run directory, open for work by this process alone; a context manager.

    Args:
        path: the directory; it is made if it is not there.
        config: what is asked. Where its `seed` is None, the run draws one when it is made and keeps
            it when it resumes.

    Attributes:
        config: the run's configuration, with its seed.
        resumed: whether the run was there already.

    Raises:
        ConfigurationError: the path is empty.
        RunError: the directory belongs to something else, was made with another configuration, is
            in use by another process, or cannot be written.
    """

    def __init__(self, path: str | Path, config: C) -> None:
        if not str(path):
            raise ConfigurationError("the path of a run directory is empty: give it a name")
        self.path = Path(path)
        try:
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise RunError(cannot_write("run", self.path, error)) from error
        try:
            self._claim(config)
        except BaseException:
            self.close()
            raise

    def _claim(self, wanted: C) -> None:
        """Lock the directory, then make it this configuration's or see that it is."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"{self.path} is in use by another process; wait for it") from error
        for name in (CONFIG, CERTIFICATES, SUMMARY):
            clear_leftovers(self.path / name)
        self.resumed = (self.path / CONFIG).exists()
        if self.resumed:
            found = _as_written_now(type(wanted), read_config(self.path))
            self.config = _with_data_digest(_with_seed(wanted, found.get("seed")), found)
            _refuse_another(self.path, _plain(self.config), found)
            return
        if not all(is_leftover(entry.name, CONFIG) for entry in self.path.iterdir()):
            raise RunError(
                f"{self.path} is not empty and not a run directory; choose another --out"
            )
        self.config = _with_seed(wanted, fresh_seed())
        write(self.path / CONFIG, _text(self.config.to_json()), "configuration")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Nothing came of it: a corrected command must not be refused for what this one asked.
        if error and not self.resumed and self._is_new():
            (self.path / CALIBRATION).unlink(missing_ok=True)
            (self.path / CONFIG).unlink()
            if self._made:
                self.path.rmdir()
        self.close()

    def _is_new(self) -> bool:
        """Whether the directory holds what was decided, and nothing that came of it."""
        names = {entry.name for entry in self.path.iterdir()}
        return names - {CALIBRATION} == {CONFIG}

    def close(self) -> None:
        """Let other processes work in the run."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def rows(self) -> list[CertifiedRow]:
        """The rows so far, in order of index; a line that a kill cut short is not among them.

        Raises:
            DataError, RunError: they are damaged.
        """
        if (self.path / CERTIFICATES).exists():
            return read_certificates(self.path)
        journal = self._journal()
        if not journal.exists():
            return []
        whole, _, cut = journal.read_bytes().rpartition(b"\n")
        if cut:
            os.truncate(journal, len(whole) + 1 if whole else 0)
        try:
            rows = [_journal_row(line) for line in whole.splitlines()]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{journal} is damaged: {error}") from error
        return sorted(rows, key=lambda row: row.index)

    def _journal(self) -> Path:
        """The journal, which is written in place: a link would lead to another's file.

        Raises:
            RunError: something else has its name.
        """
        journal = self.path / JOURNAL
        try:
            check_file(journal)
        except OSError as error:
            raise RunError(f"{journal} cannot be used: {error.strerror}") from error
        if journal.is_symlink():
            raise RunError(f"{journal} cannot be used: it is a link; put the file itself there")
        return journal

    def append(self, rows: Iterable[CertifiedRow]) -> None:
        """Add rows; they are on disk when this returns.

        Raises:
            RunError: they cannot be written; the rows before them are kept.
        """
        text = "".join(json.dumps(row.to_row()) + "\n" for row in rows).encode()
        journal = self._journal()
        before = journal.stat().st_size if journal.exists() else 0
        try:
            with open(journal, "ab") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(journal, before)
            raise RunError(cannot_write("run", self.path, error)) from error

    def finish(self, summary: Record) -> None:
        """Write the table and the summary, each in one step.

        Raises:
            RunError: they cannot be written; the journal is kept.
        """
        if not (self.path / CERTIFICATES).exists():
            write(self.path / CERTIFICATES, _table(self.rows()), "certificates")
        self.write_summary(summary)
        with suppress(OSError):  # nothing reads it any more
            (self.path / JOURNAL).unlink(missing_ok=True)

    def write_result(self, result: Record) -> None:
        """Add to the configuration what came of it, in one step.

        Raises:
            RunError: it cannot be written; the configuration is as it was.
        """
        content = {**self.config.to_json(), RESULT: result.to_json()}
        write(self.path / CONFIG, _text(content), "configuration")

    def write_summary(self, summary: Record) -> None:
        """Write the figures of the run, which make it a finished one, in one step.

        Raises:
            RunError: they cannot be written.
        """
        write(self.path / SUMMARY, _text(summary.to_json()), "summary")


def read_config(path: str | Path) -> dict[str, Any]:
    """What stands in the `config.json` of a run directory, for the dataclass that it belongs to.

    Raises:
        RunError: there is none, or it is damaged.
    """
    file = Path(path) / CONFIG
    try:
        check_file(file)
        config = read_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{file} is damaged: {one_line(error)}") from error
    if not isinstance(config, dict):
        raise RunError(f"{file} is damaged: it does not hold a configuration")
    return config


def _journal_row(line: bytes) -> CertifiedRow:
    """A row of the journal; KeyError, TypeError or ValueError if the line is none."""
    values = read_json(line.decode())
    row = CertifiedRow.from_row(values)
    check_values(values, row_checks)
    return row


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def _table(rows: Iterable[CertifiedRow]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist([row.to_row() for row in rows])
    for name, kind in (("label", pa.int64()), ("correct", pa.bool_())):
        place = table.column_names.index(name)  # without labels it would have no type
        table = table.set_column(place, name, table[name].cast(kind))
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _plain(config: Configuration) -> dict[str, Any]:
    """A configuration as it comes back from a file: lists for tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(config.to_json()))
    return plain


def _as_written_now(kind: type[Configuration], found: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration with every key that is written today; as it is where it is no such."""
    asked = {key: value for key, value in found.items() if key != RESULT}
    try:
        return asked | _plain(kind.from_json(found))  # a key that nobody knows is a difference
    except (TypeError, ValueError):
        return asked


def _with_seed(config: C, seed: int | None) -> C:
    asked = config.to_json()
    if asked.get("seed") is not None:
        return config
    return type(config).from_json({**asked, "seed": seed})


def _with_data_digest(config: C, found: Mapping[str, Any]) -> C:
    asked = config.to_json()
    recorded = found.get(DATA_DIGEST)
    if DATA_DIGEST not in asked or not isinstance(recorded, str | None):
        return config
    return type(config).from_json({**asked, DATA_DIGEST: recorded})


def _refuse_another(path: Path, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    if keys:
        changes = ", ".join(
            f"{key}: {_shown(found.get(key))} not {_shown(wanted.get(key))}" for key in keys
        )
        raise RunError(
            f"{path} was made with another configuration ({changes}); choose another --out"
        )


def _shown(value: object) -> str:
    """A value in a message; a URL, which may say more than it should, is not repeated."""
    return "another URL" if isinstance(value, str) and "://" in value else repr(value)

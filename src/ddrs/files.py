"""Files that are whole at any moment: what was there before, or what replaces it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ddrs.errors import RunError

__all__ = ["read_parquet", "replace_file", "replacing", "sync", "write_atomically"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` for a file that takes its place when the block ends, on disk then.

    On any error, also one of the block, `path` is as it was and the place beside it is empty.

    Raises:
        OSError: the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write or replace a file in one step, on disk when this returns; on any error it is as it was.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def sync(path: str | Path) -> None:
    """See that a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a parquet file, read by this thread alone.

    With threads of its own, or from a Python file object, pyarrow may still hold a buffer of
    Python's when the interpreter ends, and abort the process after all its work is done.

    Args:
        path: the file.
        columns: the columns to read; all by default.

    Raises:
        pyarrow.ArrowException, OSError: it is missing, damaged, or a directory.
    """
    with pq.ParquetFile(str(path), pre_buffer=False) as file:
        return file.read(None if columns is None else list(columns), use_threads=False)


def replace_file(path: Path, content: bytes, kind: str) -> None:
    """`write_atomically`, with one clear error.

    Args:
        path: the file.
        content: all of it.
        kind: what it is, for the message.

    Raises:
        RunError: it cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise RunError(
            f"cannot write the {kind} {path}: {error.strerror}; what was there is kept"
        ) from error

"""Files that are whole at any moment: what was there before, or what replaces it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ddrs.errors import RunError

if TYPE_CHECKING:  # a fifth of a second of every start: imported where a table is read
    import pyarrow as pa

__all__ = ["cannot_write", "read_parquet", "replacing", "sync", "write"]


def write(path: str | Path, content: str | bytes, what: str) -> None:
    """Write or replace a file in one step; it is on disk when this returns.

    Args:
        path: the file.
        content: all of it; text is written as UTF-8.
        what: what the file is, for the message: `"report"`, `"weights"`.

    Raises:
        RunError: it cannot be written; a file that was there is as it was.
    """
    try:
        with replacing(Path(path)) as partial:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise RunError(cannot_write(what, path, error)) from error


def cannot_write(what: str, path: str | Path, error: OSError) -> str:
    """The one line that says so: what it is, where, why, and that nothing is lost."""
    return f"cannot write the {what} {path}: {error.strerror or error}; what was there is kept"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; the file there replaces `path` when the block ends.

    It is for content that is streamed, or written by another library; `write` is for the rest. On
    any error, also one of the block, `path` is as it was and nothing is left beside it.

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


def sync(path: str | Path) -> None:
    """See that a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> "pa.Table":
    """The table in a parquet file, read by this thread alone.

    With threads of its own, or from a Python file object, pyarrow may still hold a buffer of
    Python's when the interpreter ends, and abort the process after all its work is done.

    Args:
        path: the file.
        columns: the columns to read; all by default.

    Raises:
        pyarrow.ArrowException, OSError: it is missing, damaged, or a directory.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(str(path), pre_buffer=False) as file:
        return file.read(None if columns is None else list(columns), use_threads=False)

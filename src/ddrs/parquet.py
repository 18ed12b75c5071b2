"""Reading whole parquet files."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["read_parquet"]


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

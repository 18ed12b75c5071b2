"""Files that are whole at any moment: what was there before, or what replaces it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["replacing", "sync", "write_atomically"]


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

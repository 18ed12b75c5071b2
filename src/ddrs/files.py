"""Files that are whole at any moment: what was there before, or what replaces it.

What is being written stands beside its file as `NAME.XXXXXXXX.partial`, with eight hexadecimal
digits that nobody can foresee; a process that is killed leaves it there, and nothing reads it.
"""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ddrs.errors import RunError

if TYPE_CHECKING:  # a fifth of a second of every start: imported where a table is read
    import pyarrow as pa

__all__ = [
    "LIKE_URL",
    "cannot_write",
    "check_file",
    "clear_leftovers",
    "is_leftover",
    "is_like_url",
    "made_beside",
    "read_parquet",
    "replacing",
    "sync",
    "write",
]

KEPT_OF_NAME = 50  # characters, so that a long name does not become one that is too long
LIKE_URL = (
    r"(?:\w://|\w:/[^/\s]*:[^/\s]*@"
    r"|(?<![\w/.])(?<!\w-)"
    r"(?:postgres\w*/(?:/|[^/\s]*[:@])|(?:postgres|https?)[^/\s]*[:@]|(?:sqlite|memory):))"
)
"""A pattern of where a URL begins, also a malformed one and one that was taken for a path."""
LEFTOVER = re.compile(r"\.[0-9a-f]{8}\.partial")


def check_file(path: str | Path) -> None:
    """Refuse a pipe, device or socket, which would be waited for, before a file is opened by name.

    What is not there, or a directory, is left to whatever opens it.

    Raises:
        OSError: it is no file.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe, device or socket, not a file", str(path))


def is_like_url(text: str | Path) -> bool:
    """Whether what should name a file may be a URL, which may hold a password: do not repeat it."""
    found = re.search(LIKE_URL, str(text), re.IGNORECASE)
    return found is not None and not os.path.lexists(text)


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
    any error, also one of the block, `path` is as it was and nothing is left beside it. A link at
    `path` is replaced, not followed.

    Raises:
        OSError: the file cannot be written, or a pipe, device or socket is there.
    """
    check_file(path)
    partial = made_beside(path)
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def made_beside(path: Path, make: Callable[[Path], None] | None = None) -> Path:
    """A new, empty file in the directory of `path`, under a name that only this call has.

    Args:
        path: what it will become.
        make: makes it, and fails where anything has that name; `Path.mkdir` for a directory.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        name = f"{path.name[:KEPT_OF_NAME]}.{secrets.token_hex(4)}.partial"
        with suppress(FileExistsError):
            made = path.with_name(name)
            made.touch(exist_ok=False) if make is None else make(made)
            return made


def is_leftover(name: str, of: str) -> bool:
    """Whether a killed process may have left a file of that name when it wrote the file `of`."""
    if name == f"{of}.partial":  # of earlier versions
        return True
    return name.startswith(of[:KEPT_OF_NAME]) and bool(
        LEFTOVER.fullmatch(name[len(of[:KEPT_OF_NAME]) :])
    )


def clear_leftovers(path: Path) -> None:
    """Remove what killed processes left beside `path`; only for who alone writes it.

    Names of earlier versions, `NAME.partial`, could be somebody's own and are kept.
    """
    with suppress(OSError):
        for entry in list(path.parent.iterdir()):
            if entry.name != f"{path.name}.partial" and is_leftover(entry.name, path.name):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)


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
        pyarrow.ArrowException, OSError: it is missing, damaged, or no file.
    """
    import pyarrow.parquet as pq

    check_file(path)
    with pq.ParquetFile(str(path), pre_buffer=False) as file:
        return file.read(None if columns is None else list(columns), use_threads=False)

"""Writing a file so that at any moment it is whole: the old one or the new one."""

import os
from contextlib import suppress
from pathlib import Path

from ddrs.errors import RunError

__all__ = ["replace_file"]


def replace_file(path: Path, content: bytes, kind: str) -> None:
    """Write or replace a file in one step; on any error it is as it was.

    Args:
        path: the file.
        content: all of it.
        kind: what it is, for the message.

    Raises:
        RunError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise RunError(
            f"cannot write the {kind} {path}: {error.strerror}; what was there is kept"
        ) from error

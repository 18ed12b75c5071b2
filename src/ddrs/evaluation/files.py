"""Writing what evaluation makes."""

from pathlib import Path

from ddrs.errors import RunError
from ddrs.files import write_atomically

__all__ = ["replace_file"]


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

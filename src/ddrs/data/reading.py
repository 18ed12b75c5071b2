"""What sources share: where they are, the names of their columns, and damage as one error."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from PIL import Image

from ddrs.errors import DataError, one_line

__all__ = [
    "IMAGE_COLUMNS",
    "LABEL_COLUMNS",
    "existing",
    "find_column",
    "reading",
]

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target")
READ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,  # Pillow, for a broken PNG
    zipfile.BadZipFile,
    zlib.error,
    pa.ArrowException,
    Image.DecompressionBombError,
)


def existing(spec: str, source: str) -> Path:
    """The path of a source that is there."""
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{spec}: nothing exists at {path}: check the path")
    return path


def find_column(spec: str, found: Sequence[str], accepted: Sequence[str]) -> str:
    """The first accepted name that a source has."""
    for name in accepted:
        if name in found:
            return name
    raise DataError(f"{spec}: no column {' or '.join(accepted)}; found {', '.join(found)}")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Give damaged data one error that names what was read."""
    try:
        yield
    except DataError:
        raise
    except READ_ERRORS as error:
        reason = one_line(error) or type(error).__name__
        raise DataError(f"{what} cannot be read: {reason}") from error

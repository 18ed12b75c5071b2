"""What sources share: where they are, the names of their columns, and damage as one error."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ddrs.errors import DataError, DDRSError, one_line
from ddrs.files import check_file

__all__ = [
    "IMAGE_COLUMNS",
    "LABEL_COLUMNS",
    "existing",
    "find_column",
    "home_of",
    "inside",
    "reading",
]

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target")


def existing(spec: str, source: str) -> Path:
    """The path of a source that is there: a file or a directory."""
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{spec}: nothing exists at {path}: check the path")
    with reading(spec):
        check_file(path)
    return path


def home_of(folder: Path) -> Path:
    """Where the files of a dataset's directory may really lie.

    That is the directory itself, whatever links lead to it; for one in the cache of the Hugging
    Face hub, which keeps its files in `blobs` beside `snapshots`, all of that dataset's cache.
    """
    folder = folder.resolve()
    for parent in folder.parents:
        if parent.name == "snapshots" and (parent.parent / "blobs").is_dir():
            return parent.parent
    return folder


def inside(spec: str, home: Path, file: Path) -> Path:
    """A file or directory of a dataset, which must lie in `home`, as `home_of` gives it.

    Raises:
        DataError: a link leads out of it.
    """
    if not file.resolve().is_relative_to(home):
        raise DataError(
            f"{spec}: {file} leads out of the dataset's directory: put the files themselves there"
        )
    return file


def find_column(spec: str, found: Sequence[str], accepted: Sequence[str]) -> str:
    """The first accepted name that a source has."""
    for name in accepted:
        if name in found:
            return name
    raise DataError(f"{spec}: no column {' or '.join(accepted)}; found {', '.join(found)}")


@contextmanager
def reading(what: str | Callable[[], str]) -> Iterator[None]:
    """Give damaged data one error that names what was read; a name may be found only then.

    Readers raise whatever their code stumbles on: NumPy TypeError, OverflowError, MemoryError and
    tokenize.TokenError for headers, zipfile RuntimeError, Pillow SyntaxError and struct.error.
    """
    try:
        yield
    except DDRSError:
        raise
    except Exception as error:
        reason = one_line(error) or type(error).__name__
        name = what if isinstance(what, str) else what()
        raise DataError(f"{name} cannot be read: {reason}") from error

"""From a spec to the dataset that it names."""

from collections.abc import Callable

from ddrs.data.arrays import open_digits, open_npz
from ddrs.data.dataset import SPLITS, Dataset
from ddrs.data.folder import open_folder
from ddrs.data.hub import open_hub
from ddrs.data.parquet import open_parquet
from ddrs.data.split import Split
from ddrs.errors import ConfigurationError

__all__ = [
    "load",
]

FORMS = "digits, parquet:PATH, npz:PATH, folder:PATH, hf:NAME"

_OPENERS: dict[str, Callable[[str, str, Split], Dataset]] = {
    "parquet": open_parquet,
    "npz": open_npz,
    "folder": open_folder,
    "hf": open_hub,
}


def load(spec: str, split: Split = "test") -> Dataset:
    """Open a dataset by its spec.

    - `digits`: the handwritten digits of scikit-learn, 1 437 to train and 360 to test.
    - `parquet:PATH`: a file, or a directory of `train*.parquet` and `test*.parquet`, with an image
      and a label column as on the Hugging Face hub. To read more than fits in memory in shuffled
      order, prefer `hf:DIRECTORY`, which is mapped from disk.
    - `npz:PATH`: arrays `x, y`, `images, labels` or `x_train, y_train, x_test, y_test`; uint8
      images, or floats of any shape, which are taken as they are.
    - `folder:PATH`: images in a subfolder for each class, under `train` and `test` if present.
    - `hf:NAME`: a dataset of the hub, a directory of data files, or one made by `save_to_disk`.

    Args:
        spec: one of the forms above.
        split: the part to open. A source that does not name its parts serves for either.

    Raises:
        ConfigurationError: the spec has no known form, or the split is not `train` or `test`.
        DataError: the source is missing, damaged or empty, lacks the split or a column, or its
            labels are not class indices.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"unknown split {split!r}: use {' or '.join(SPLITS)}")
    form, _, source = spec.partition(":")
    if spec == "digits":
        return open_digits(spec, split)
    if form not in _OPENERS or not source:
        raise ConfigurationError(f"unknown dataset {spec!r}: use one of {FORMS}")
    return _OPENERS[form](spec, source, split)

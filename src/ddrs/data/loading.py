"""From a spec to the dataset that it names."""

from collections.abc import Callable

from ddrs.data.arrays import open_digits, open_npz
from ddrs.data.dataset import Dataset
from ddrs.data.folder import open_folder, open_image
from ddrs.data.hub import open_hub
from ddrs.data.parquet import open_parquet
from ddrs.data.preparation import Preparation
from ddrs.data.split import SPLITS, Split
from ddrs.errors import ConfigurationError

__all__ = [
    "load",
]

FORMS = "digits, parquet:PATH, npz:PATH, folder:PATH, hf:NAME, image:PATH"

_OPENERS: dict[str, Callable[[str, str, Split, Preparation], Dataset]] = {
    "parquet": open_parquet,
    "npz": open_npz,
    "folder": open_folder,
    "hf": open_hub,
    "image": open_image,
}


def load(spec: str, split: Split = "test", preparation: Preparation = Preparation()) -> Dataset:
    """Open a dataset by its spec.

    - `digits`: the handwritten digits of scikit-learn, 1 437 to train and 360 to test.
    - `parquet:PATH`: a file, or a directory of `train*.parquet` and `test*.parquet`, with an image
      and a label column as on the Hugging Face hub. To read more than fits in memory in shuffled
      order, prefer `hf:DIRECTORY`, which is mapped from disk.
    - `npz:PATH`: arrays `x, y`, `images, labels` or `x_train, y_train, x_test, y_test`; uint8
      images, or floats of any shape, which are taken as they are.
    - `folder:PATH`: images in a subfolder for each class, under `train` and `test` if present; or
      images without classes, which have no labels.
    - `hf:NAME`: a dataset of the hub, a directory of data files, or one made by `save_to_disk`.
    - `image:PATH`: one image, without a label.

    Labels are integers, or texts, which are numbered in the order of `labels.in_order`; where all
    are -1 the inputs have none. The classes are those of all parts together. A part may have
    another of its usual names, such as `val`; validation serves for a test that is not there.

    Args:
        spec: one of the forms above.
        split: the part to open. A source that does not name its parts serves for any.
        preparation: what is done to images that are files: channels and size.

    Raises:
        ConfigurationError: the spec has no known form, the split is none, or arrays are to be
            prepared as images.
        DataError: the source is missing, damaged or empty, lacks the split or a column, or its
            labels are no classes.

    Warns:
        DDRSWarning: something is taken that a user may not have meant.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"unknown split {split!r}: use {', '.join(SPLITS)}")
    form, _, source = spec.partition(":")
    if spec == "digits":
        return open_digits(spec, split, preparation)
    if form not in _OPENERS or not source:
        raise ConfigurationError(f"unknown dataset {spec!r}: use one of {FORMS}")
    return _OPENERS[form](spec, source, split, preparation)

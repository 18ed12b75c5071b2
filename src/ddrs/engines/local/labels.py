"""Which class of a network each class of the data is, for a certification."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from ddrs.data.dataset import Dataset
from ddrs.errors import ConfigurationError, DDRSWarning, ModelError
from ddrs.jobs.certify import CertifyJob
from ddrs.models.classes import network_classes, read_class_map
from ddrs.runs.directory import read_config
from ddrs.runs.files import CONFIG

__all__ = ["label_classes"]


def label_classes(
    job: CertifyJob,
    dataset: Dataset,
    names: Sequence[tuple[str, ...] | None],
    count: int,
    out: str | Path,
) -> tuple[int, ...] | None:
    """The networks' class of each class of the data; None where it has the same number.

    A run of an earlier version, which did not look at names, goes on as it was made.

    Args:
        job: what is to be certified.
        dataset: its data.
        names: those of the classes of each network, where they are known.
        count: how many classes the networks have.
        out: the run directory.

    Raises:
        ConfigurationError: names do not match, or the class map cannot be used.
        ModelError: the networks have their classes in different orders.

    Warns:
        DDRSWarning: nothing says which classes those of the data are, and they are fewer.
    """
    class_map = None if job.class_map is None else read_class_map(job.class_map)
    if not dataset.labelled:
        if class_map is not None:
            raise ConfigurationError(f"{dataset.name} has no labels: leave out --class-map")
        return None
    if class_map is None:
        if (Path(out) / CONFIG).exists() and "classes" not in read_config(out):
            return None
        if not dataset.named:
            _note_unnamed(dataset, count)
            return None
    known: list[tuple[str, ...] | None] = [each for each in names if each is not None]
    found = [network_classes(dataset.classes, each, count, class_map) for each in known or [None]]
    if any(each != found[0] for each in found):
        raise ModelError(
            f"the models have the classes of {dataset.name} in different orders: certify with "
            "models that have one"
        )
    if found[0] is None:
        _note_unnamed(dataset, count)
        return None
    return None if found[0] == list(range(len(found[0]))) else tuple(found[0])


def _note_unnamed(dataset: Dataset, count: int) -> None:
    fewer = dataset.num_classes
    if fewer < count:
        warnings.warn(
            f"labels 0 to {fewer - 1} of {dataset.name} are taken as classes 0 to {fewer - 1} of "
            f"the {count} of the model, because not both have names for them: --class-map FILE "
            "says which others they are",
            DDRSWarning,
            stacklevel=2,
        )

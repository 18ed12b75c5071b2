"""The null of the memory rule: what constant classifiers would have been certified for."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ddrs.data.dataset import Dataset
from ddrs.display.rounding import radius_key
from ddrs.memory.memory import Memory
from ddrs.noise.distributions import Norm
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.rows import CertifiedRow

__all__ = ["null_accuracy", "null_answers"]

BLOCK = 256  # inputs whose distances to all others are held at once
MOST_VALUES = 2**28  # of all inputs together: 1 GiB in float32


def null_accuracy(
    rows: Sequence[CertifiedRow], dataset: Dataset, norm: Norm, radii: Iterable[float]
) -> dict[str, float] | None:
    """Certified accuracy that the memory gives to classifiers which each answer one class always.

    Each input has a classifier that answers the class which its own votes certify, and where they
    certify none that of the network without noise. A constant classifier has any radius that one
    asks for, so at radius r every input claims r, in the order of the rows; an input counts that
    keeps all of it and is right. No vote is cast, and nothing is said of robustness: a certified
    accuracy through a memory tells something only by what it is above this.

    Args:
        rows: the certified inputs.
        dataset: where they are.
        norm: of the radii.
        radii: radii to give the accuracy at.

    Returns:
        By radius, as `radius_key` writes it; None without labels, or if inputs cannot be held.
    """
    if not dataset.labelled or not rows or len(rows) * np.prod(dataset.shape) > MOST_VALUES:
        return None
    own = [row.certificate.own_prediction for row in rows]
    pairs = zip(own, rows, strict=True)
    classes = [row.clean_prediction if one == ABSTAIN else one for one, row in pairs]
    x = np.stack([dataset[row.index][0].numpy() for row in rows])
    right = np.array([one == row.label for one, row in zip(classes, rows, strict=True)])
    kept = null_answers(x, classes, norm, list(radii))
    return {key: float((right & whole).mean()) for key, whole in kept.items()}


def null_answers(
    x: npt.NDArray[np.floating], classes: Sequence[int], norm: Norm, radii: Sequence[float]
) -> dict[str, npt.NDArray[np.bool_]]:
    """By radius, `[inputs]` whether each input keeps its class and all of the radius.

    Only inputs that have one of another class closer than 2 r can lose anything, so only these go
    through a memory.

    Args:
        x: `[inputs, *input]` in the order in which they come.
        classes: the class that each claims.
        norm: `"l2"` or `"l1"`.
        radii: the radius that all of them claim, one after another.
    """
    nearest = _nearest_other(x.reshape(len(x), -1), np.asarray(classes), norm)
    found = {}
    for r in radii:
        whole = np.ones(len(x), dtype=bool)
        close = np.flatnonzero(
            nearest < 2 * r * (1 + 1e-6)
        ).tolist()  # more than those does no harm
        if close:
            claims = [classes[i] for i in close]
            with Memory("memory://", norm) as memory:
                answers = memory.resolve_many(x[close], claims, [r] * len(close))
            whole[close] = [
                answer.prediction == claim and answer.radius >= r
                for answer, claim in zip(answers, claims, strict=True)
            ]
        found[radius_key(r)] = whole
    return found


def _nearest_other(
    x: npt.NDArray[np.floating], classes: npt.NDArray[np.int64], norm: Norm
) -> npt.NDArray[np.float64]:
    """`[inputs]` distance to the nearest input of another class; infinite where all agree."""
    from scipy.spatial.distance import cdist

    metric = {"l2": "euclidean", "l1": "cityblock"}[norm]
    found = []
    for low in range(0, len(x), BLOCK):
        distances = cdist(x[low : low + BLOCK], x, metric)
        same = classes[low : low + BLOCK, None] == classes[None]
        found.append(np.where(same, np.inf, distances).min(axis=1))
    return np.concatenate(found)

"""A memory with many entries, of real images and their variants, and the public rule over a list.

Images are those of a dataset, and cuts of them: shifted, mirrored, brighter or darker, all exactly
k/255; one in twenty has float noise on top. A share of the claims has a wrong class, as an attacked
or misjudged input would, so that there are conflicts to settle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Claims", "PublicList", "claims", "images"]

Claims = tuple[npt.NDArray[np.float32], list[int], list[float]]

WRONG, NOISY = 0.01, 0.05  # shares of the claims
SIGMA = 0.25  # radii are those of about this noise: at most 3.8 sigma


def images(spec: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The images `[m, C, H, W]` and labels of a dataset's training split, as bytes."""
    import ddrs.data

    dataset = ddrs.data.load(spec, "train")
    first, _ = dataset[0]
    x = np.empty((len(dataset), *first.shape), np.uint8)
    labels = np.empty(len(dataset), np.int64)
    for i in range(len(dataset)):
        image, labels[i] = dataset[i]
        x[i] = np.rint(image.numpy() * 255)
    return x, labels


def claims(
    x: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], count: int, seed: int, batch: int
) -> Iterator[Claims]:
    """`count` claims in batches: the images as they are first, then variants without end."""
    rng = np.random.default_rng(seed)
    for low in range(0, count, batch):
        size = min(batch, count - low)
        rows = np.arange(low, low + size)
        picked = x[rows % len(x)].astype(np.int16)
        for i in np.flatnonzero(rows >= len(x)):
            picked[i] = _variant(picked[i], rng)
        made = np.clip(picked, 0, 255).astype(np.float32) / np.float32(255)
        noisy = rng.random(size) < NOISY
        made[noisy] += rng.normal(0, 0.02, made[noisy].shape).astype(np.float32)
        wrong = rng.random(size) < WRONG
        classes = (labels[rows % len(x)] + wrong * rng.integers(1, 10, size)) % 10
        radii = np.minimum(rng.exponential(1.2 * SIGMA, size), 3.8 * SIGMA)
        yield made, classes.tolist(), radii.tolist()


def _variant(image: npt.NDArray[np.int16], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    if rng.random() < 0.5:
        image = image[..., ::-1]
    shift = tuple(rng.integers(-4, 5, 2))
    image = np.roll(image, shift, axis=(-2, -1))
    return image + rng.integers(-30, 31)


class PublicList:
    """The rule as research code applies it: tensors in a list, stacked anew for every input."""

    def __init__(self) -> None:
        self.x: list[Any] = []
        self.predictions: list[int] = []
        self.radii: list[float] = []

    def add(self, x: Any, prediction: int, radius: float) -> None:
        """Keep an entry."""
        self.x.append(x)
        self.predictions.append(prediction)
        self.radii.append(radius)

    def resolve(self, x: Any, prediction: int, radius: float) -> tuple[int, float]:
        """The answer for a new input, which is not kept."""
        import torch

        distance = (torch.stack(self.x) - x).flatten(1).norm(dim=1)
        radii, classes = torch.tensor(self.radii), torch.tensor(self.predictions)
        other = classes != prediction
        inside = other & (distance < radii)
        if inside.any():
            room = torch.where(inside, radii - distance, -torch.inf)
            return int(classes[room.argmax()]), float(room.max())
        gap = torch.where(other, distance - radii, torch.inf)
        return prediction, min(radius, float(gap.min()))

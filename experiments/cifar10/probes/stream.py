"""Write a data set that is hard for a memory: test inputs among adversarial and interpolated ones.

    python -m experiments.cifar10.probes.stream --data SPEC --model RUN --inputs 100 --out FILE.npz
    ddrs certify --data npz:FILE.npz --model RUN --policy search --out runs/stream
    ddrs audit runs/stream --orders 20

In random order it holds, with the label of the test input that each comes from:

- input: the first test inputs;
- adversarial: for each of them, a point at a given distance where PGD makes the smoothed classifier
  doubt the class that it gives the input;
- interpolated: for each of them and the nearest other one of another class, two points of the line
  between them, a little before the class of the first one ends and a little behind.

The classes are those of the smoothed classifier at the sigma that the model was trained with, as
a few votes tell them. Beside `x` and `y` the file has `kind`, and `origin`, the test input that a
point comes from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddrs import data, models
from ddrs.display.progress import ProgressBar
from ddrs.errors import ConfigurationError, DDRSError, InputError
from ddrs.files import replacing
from ddrs.networks.frozen import frozen
from ddrs.noise.distributions import NOISES, Noise
from ddrs.smoothing.attack import doubtful, per_row
from ddrs.training.objectives.noisy import draw
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

KINDS = ("input", "adversarial", "interpolated")
COPIES_PER_PASS = 256  # of an attack

Classes = npt.NDArray[np.int64]
Classify = Callable[[Tensor], Classes]


def adversarial(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    sigma: Tensor,
    distance: Tensor,
    *,
    noise: Noise,
    steps: int,
    draws: int,
    seed: int,
    on_passes: Callable[[int], None] = lambda passes: None,
) -> Tensor:
    """Points at given distances where PGD makes the smoothed classifier doubt its classes.

    Args:
        model: the base classifier.
        x: `[batch, *input]` inputs in [0, 1].
        y: `[batch]` classes to get away from.
        sigma: `[batch]` the sigma of each input.
        distance: `[batch]` l2 distances, above 0.
        noise: the smoothing distribution.
        steps: gradients to take.
        draws: noisy copies behind each gradient.
        seed: key of the noise.
        on_passes: is told how many more noisy copies went through the model.

    Returns:
        `[batch, *input]` points in [0, 1].

    Raises:
        InputError: inputs outside [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for rows in torch.arange(len(x)).split(max(1, COPIES_PER_PASS // draws)):
        some = x[rows]
        found.append(
            doubtful(
                model,
                some,
                y[rows],
                sigma[rows],
                distance[rows],
                draw(some, draws, noise, generator),
                steps=steps,
            )
        )
        on_passes(len(rows) * steps * draws)
    return torch.cat(found)


def partners(x: Tensor, classes: Classes) -> npt.NDArray[np.int64]:
    """`[pairs, 2]` inputs with the nearest one of another class, every pair once.

    Raises:
        InputError: all inputs have one class.
    """
    flat = x.flatten(1).double()
    distance = torch.cdist(flat, flat).numpy()
    distance[classes[:, None] == classes] = np.inf
    if np.isinf(distance).all():
        raise InputError(f"all {len(x)} inputs get class {classes[0]}: give more --inputs")
    nearest = np.stack([np.arange(len(x)), distance.argmin(axis=1)], axis=1)
    pairs: npt.NDArray[np.int64] = np.unique(np.sort(nearest, axis=1), axis=0)
    return pairs


def borders(
    classify: Classify, x: Tensor, classes: Classes, pairs: npt.NDArray[np.int64], halvings: int
) -> tuple[Tensor, Tensor]:
    """The points on both sides of where the class of a pair's first input ends.

    Returns:
        `[pairs, *input]` points that have that class, and as many that have another one; the two of
        a pair are 2^-halvings of its distance apart.
    """
    start, end = x[pairs[:, 0]], x[pairs[:, 1]]

    def on_line(share: npt.NDArray[np.float64]) -> Tensor:
        return torch.lerp(start, end, per_row(torch.from_numpy(share).to(x), x)).clamp(0, 1)

    low, high = np.zeros(len(pairs)), np.ones(len(pairs))
    for _ in range(halvings):
        middle = (low + high) / 2
        same = classify(on_line(middle)) == classes[pairs[:, 0]]
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return on_line(low), on_line(high)


def write_stream(asked: argparse.Namespace) -> str:
    """Make the data set, and say what is in it.

    Raises:
        DDRSError: the data or the model cannot be loaded, or do not go together.
        OSError: the file cannot be written; nothing is there then.
    """
    dataset = data.load(asked.data, "test")
    loaded = models.load(asked.model, num_classes=dataset.num_classes)
    sigma = asked.sigma or loaded.sigma
    if not sigma:
        raise ConfigurationError("the model's training noise is not known; give --sigma")
    noise = NOISES[loaded.noise or "gaussian"]
    base = NoisyClassifier(loaded.module, loaded.num_classes or dataset.num_classes, noise)
    x, labels = dataset.batch(0, asked.inputs)

    def classify(points: Tensor) -> Classes:
        inputs = Inputs.of(points, asked.seed)
        return base.count_each(inputs, sigma, asked.votes, "stream").argmax(axis=1)

    with frozen(base.model):
        classes = classify(x)
        pairs = partners(x, classes)
        passes = len(x) * asked.steps * asked.draws + len(pairs) * asked.halvings * asked.votes
        with ProgressBar(f"stream of {dataset.name}", passes, "passes") as bar:
            attacked = adversarial(
                loaded.module,
                x,
                torch.from_numpy(classes),
                torch.full((len(x),), sigma),
                torch.full((len(x),), asked.distance),
                noise=noise,
                steps=asked.steps,
                draws=asked.draws,
                seed=asked.seed,
                on_passes=bar.advance,
            )
            base.on_votes = bar.advance
            before, behind = borders(classify, x, classes, pairs, asked.halvings)
        base.on_votes = lambda votes: None
        changed = int((classify(attacked) != classes).sum())
    origins = np.concatenate([*[np.arange(len(x))] * 2, pairs[:, 0], pairs[:, 1]])
    kinds = np.repeat(KINDS, [len(x), len(x), 2 * len(pairs)])
    order = np.random.default_rng(asked.seed).permutation(len(origins))
    with replacing(asked.out) as partial, partial.open("wb") as file:
        np.savez(
            file,
            x=torch.cat([x, attacked, before, behind]).numpy()[order],
            y=labels.numpy()[origins][order],
            kind=kinds[order],
            origin=origins[order],
        )
    return (
        f"{asked.out}: {len(x)} test inputs; {len(x)} adversarial ones at distance "
        f"{asked.distance:g}, {changed} of another class than their input; "
        f"{2 * len(pairs)} interpolated ones, between {len(pairs)} pairs"
    )


def whole(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def positive(text: str) -> float:
    """An argument that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def new_file(text: str) -> Path:
    """An argument that is the path of a file to make; nothing is overwritten."""
    path = Path(text)
    if path.exists():
        raise argparse.ArgumentTypeError(f"{path} is there already: choose another")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {path.parent}: make it first")
    return path


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, metavar="SPEC", help="as of ddrs certify")
    parser.add_argument("--model", required=True, metavar="SPEC", help="as of ddrs certify")
    parser.add_argument("--inputs", type=whole, default=100, help="how many, from the first")
    parser.add_argument("--sigma", type=positive, help="by default the model's training noise")
    parser.add_argument("--distance", type=positive, default=0.5, help="of adversarial points")
    parser.add_argument("--steps", type=whole, default=20, help="gradients of an attack")
    parser.add_argument("--draws", type=whole, default=16, help="noisy copies behind a gradient")
    parser.add_argument("--votes", type=whole, default=100, help="noisy copies that tell a class")
    parser.add_argument("--halvings", type=whole, default=7, help="of the way between two inputs")
    parser.add_argument("--seed", type=int, default=0, help="key of all randomness")
    parser.add_argument("--out", type=new_file, required=True, metavar="FILE.npz")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    try:
        print(write_stream(arguments().parse_args(words)))
    except (DDRSError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

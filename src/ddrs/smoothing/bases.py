"""The base classifiers that a method votes with."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from operator import index
from typing import Literal

from torch import nn

from ddrs.errors import ConfigurationError
from ddrs.networks.frozen import frozen
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import Noise
from ddrs.noise.streams import check_seed
from ddrs.votes.classifier import NoisyClassifier

__all__ = ["Bases", "base_classifiers", "checked_numbers"]


class Bases:
    """Base classifiers under the same noise and with the same classes.

    Args:
        classifiers: all of them, each once.

    Attributes:
        classifiers: as they were given.
    """

    def __init__(self, classifiers: Sequence[NoisyClassifier]) -> None:
        self.classifiers = classifiers

    def check_unchanged(self) -> None:
        """Raise ModelError unless every classifier is the one that was smoothed."""
        for classifier in self.classifiers:
            classifier.check_unchanged()

    def on_votes(self, call: Callable[[int], None]) -> None:
        """Have every classifier call this with the number of votes after each batch."""
        for classifier in self.classifiers:
            classifier.on_votes = call

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Evaluation mode without parameter gradients; afterwards the models are as they were."""
        with ExitStack() as stack:
            for classifier in self.classifiers:
                stack.enter_context(frozen(classifier.model))
            yield


def base_classifiers(
    models: Sequence[nn.Module | NoisyClassifier],
    num_classes: int,
    noise: Noise,
    *,
    batch_size: int | Literal["auto"],
    precision: Precision,
    compile: bool,
    identity: str | None = None,
) -> list[NoisyClassifier]:
    """A user's models as base classifiers; a `NoisyClassifier` is taken as it is.

    Raises:
        ConfigurationError: a value that can never work, a `NoisyClassifier` of other classes or
            noise, or settings that it has already.
    """
    classifiers = [
        each
        if isinstance(each, NoisyClassifier)
        else NoisyClassifier(
            each,
            num_classes,
            noise,
            batch_size=batch_size,
            precision=precision,
            compile=compile,
            identity=identity,
        )
        for each in models
    ]
    own_way = (batch_size, precision, compile, identity) != ("auto", "fp32", False, None)
    if own_way and any(each is one for each in classifiers for one in models):
        raise ConfigurationError(
            "a NoisyClassifier has its own batch size, precision, compilation and identity: "
            "give it those"
        )
    if any((each.noise, each.num_classes) != (noise, num_classes) for each in classifiers):
        raise ConfigurationError(
            f"every classifier must be one of {num_classes} classes under {noise.name} noise"
        )
    return classifiers


def checked_numbers(
    n0: int, n: int, alpha: float, seed: int | None
) -> tuple[int, int, float, int | None]:
    """The numbers of a method in Python's own types.

    Raises:
        ConfigurationError: one is none, or no seed.
    """
    try:
        n0, n, alpha = index(n0), index(n), float(alpha)
        seed = None if seed is None else index(seed)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"n0, n and seed must be whole numbers and alpha a number: {error}"
        ) from error
    if seed is not None:
        check_seed(seed)
    return n0, n, alpha, seed

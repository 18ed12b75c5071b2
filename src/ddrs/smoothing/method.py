"""What every way to certify inputs offers, whatever its certificates rest on."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ddrs.proof.certificate import Certificate

__all__ = ["Method"]


class Method(Protocol):
    """Answers with certificates; `SmoothedClassifier` is one.

    Attributes:
        alone: whether the certificates of different inputs hold together by themselves. Where not,
            they are sound together only through a memory.
        cost: the most noisy forward passes that one certificate takes.
        digest: SHA-256 of what is certified.
    """

    @property
    def alone(self) -> bool: ...  # noqa: D102
    @property
    def cost(self) -> int: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102

    def certify(
        self,
        x: Tensor,
        *,
        at_radii: Sequence[float] | None = None,
        radius_tolerance: float | None = None,
    ) -> list[Certificate]:
        """One certificate per input of a batch `[batch, *input]`, in order."""

    def predict(self, x: Tensor) -> list[int]:
        """The class of each input of a batch, or `ABSTAIN`."""

    def classify(self, x: Tensor) -> npt.NDArray[np.int64]:
        """`[batch]` classes of the inputs themselves, by the first classifier without noise."""

    def on_votes(self, call: Callable[[int], None]) -> None:
        """Have `call` told the number of votes after each batch, e.g. by a progress bar."""

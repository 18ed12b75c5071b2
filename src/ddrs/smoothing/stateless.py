"""What methods share that are one classifier by themselves, and so need no memory."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from ddrs.errors import ConfigurationError, DDRSError
from ddrs.noise.distributions import Noise
from ddrs.noise.streams import fresh_seed
from ddrs.proof.bounds import Bound
from ddrs.proof.certificate import Certificate
from ddrs.proof.stopping import AtRadii, Estimation, stopping_rule
from ddrs.smoothing.bases import Bases, checked_numbers
from ddrs.votes.requests import Inputs

__all__ = ["Stateless"]


class Stateless(ABC):
    """Certifies by several pieces of evidence; a subclass says which.

    Args:
        noise, n0, n, alpha, bound, seed: as the subclass describes them.

    Attributes:
        alone: true: the certificates hold together without a memory.
        name: what it is called in an error.
        n0: selection votes of one network.
        estimation: how many votes prove something, and how surely all of them together.

    Raises:
        ConfigurationError: an argument that can never work.
    """

    alone = True
    name: str

    def __init__(
        self, noise: Noise, n0: int, n: int, alpha: float, bound: Bound, seed: int | None
    ) -> None:
        self.n0, n, alpha, self.seed = checked_numbers(n0, n, alpha, seed)
        if self.n0 < 1:
            raise ConfigurationError(f"n0 must be at least 1 vote, got n0={n0}")
        self.noise = noise
        self.estimation = Estimation(n, alpha, bound)

    @property
    @abstractmethod
    def _bases(self) -> Bases:
        """The base classifiers, with the digest of all together."""

    @abstractmethod
    def _check_possible(self, estimation: Estimation) -> None:
        """Refuse votes that prove nothing even if all of them agree."""

    @abstractmethod
    def _prove(self, inputs: Inputs, estimation: Estimation) -> list[Certificate]:
        """Vote on inputs and prove; no step has votes of another."""

    def certify(
        self,
        x: Tensor,
        *,
        at_radii: Sequence[float] | None = None,
        radius_tolerance: float | None = None,
    ) -> list[Certificate]:
        """Certify a batch; a certificate has all the evidence that it rests on, its answer's first.

        A network takes no more votes once it is settled: where these could not change the answer,
        or not make the radius of the certificate larger. Arguments and errors are those of
        `SmoothedClassifier.certify`.
        """
        stopping = stopping_rule(at_radii, radius_tolerance)
        return self._certify(x, replace(self.estimation, stopping=stopping))

    def predict(self, x: Tensor) -> list[int]:
        """Predict a batch: the class of each input, or `ABSTAIN`.

        An answer is wrong with probability at most alpha: it is certified, at some radius.
        """
        known = self._certify(x, replace(self.estimation, stopping=AtRadii((0.0,))))
        return [certificate.prediction for certificate in known]

    def on_votes(self, call: Callable[[int], None]) -> None:
        """Have `call` told the number of votes after each batch, e.g. by a progress bar."""
        self._bases.on_votes(call)

    def _certify(self, x: Tensor, estimation: Estimation) -> list[Certificate]:
        self._check_possible(estimation)
        inputs = Inputs.of(x, fresh_seed() if self.seed is None else self.seed)
        if not len(inputs):
            return []
        try:
            with self._bases.frozen():
                certificates = self._prove(inputs, estimation)
                self._bases.check_unchanged()
                return certificates
        except DDRSError as error:
            raise error.saying(
                f"{error} [{len(inputs)} inputs of shape {list(inputs.shape)}, first "
                f"{inputs.digests[0][:12]}; {self.name} under {self.noise.name} noise, "
                f"n0={self.n0}, n={estimation.n}, alpha={estimation.alpha}]"
            ) from error

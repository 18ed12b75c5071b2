"""`SmoothedClassifier`: joins noise, votes, the choice of sigma, proof and memory for one batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import index
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, bfloat16, nn

from ddrs.errors import ConfigurationError, DDRSError, StoreError, StoreMismatchError
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import Gaussian, Noise
from ddrs.noise.streams import check_seed, fresh_seed
from ddrs.proof.bounds import Bound, check_bound
from ddrs.proof.certificate import ABSTAIN, Certificate
from ddrs.proof.certify import certify, predict
from ddrs.proof.stopping import Question, ask, look_times
from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.policy import SigmaPolicy
from ddrs.smoothing.alternatives import Candidates, Chosen
from ddrs.smoothing.selection import Selection
from ddrs.version import __version__
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

__all__ = ["SmoothedClassifier"]

Point = npt.NDArray[np.generic]


class SmoothedClassifier:
    """A base classifier smoothed with noise, whose answers come with a certified radius.

    With a fixed sigma the certificates hold together by themselves (Cohen et al. 2019). With a
    sigma chosen per input they are sound together only through a memory (DDRS, section 3.5), which
    answers from regions certified earlier: pass one, and use this object for every prediction.

    Args:
        model: maps float inputs `[batch, *input]` to scores `[batch, num_classes]`; normalisation
            is its first layer, so that radii are in the units of the input. It is used in
            evaluation mode and comes back as it was. Or several of them: each input gets the one
            that promises it the largest radius (`alternatives`), with a policy as `sigma`.
        num_classes: number of classes.
        sigma: noise scale, in the units of the input, or a policy that chooses it per input.
        noise: the smoothing distribution: `Gaussian()` for l2, `Uniform()` for l1.
        memory: regions certified so far. It is bound to this classifier, noise and norm. A
            read-only one answers from them and stores nothing: outside of them an answer has radius
            0 and the outcome `unrecorded`.
        n0: votes of a model that select the class.
        selection: whose votes select it where there are several models: `"first"`, those of the
            first one given, which should be the one that is most often right under the noise that
            the policy starts from; or `"all"`, those of all together.
        n: votes that certify it; the most of them, where `certify` is asked a question.
        alpha: probability with which one certificate may be wrong.
        bound: `"one-sided"` or `"two-sided"` (`ddrs.proof.bounds.probability_bounds`).
        seed: key of all random streams: the same seed gives the same counts for the same input. By
            default every call draws a fresh one from the operating system; do so wherever an
            adversary could learn a fixed one.
        batch_size: rows of one forward pass, or `"auto"` for the fastest, found while voting. It
            does not decide results.
        precision: `"fp32"` or `"bf16"`; part of the classifier's identity.
        compile: certify a compiled copy of the model, which is faster on a CPU; part of the
            classifier's identity. Needs `pip install 'ddrs[compile]'`.

    Raises:
        ConfigurationError: an argument that can never work.
        StoreMismatchError: the memory belongs to another classifier, noise or norm.
    """

    def __init__(
        self,
        model: nn.Module | Sequence[nn.Module],
        num_classes: int,
        *,
        sigma: float | SigmaPolicy = 0.25,
        noise: Noise = Gaussian(),
        memory: Memory | None = None,
        n0: int = 100,
        selection: Selection = "first",
        n: int = 100_000,
        alpha: float = 0.001,
        bound: Bound = "one-sided",
        seed: int | None = None,
        batch_size: int | Literal["auto"] = "auto",
        precision: Precision = "fp32",
        compile: bool = False,
    ) -> None:
        try:
            n0, n, alpha = index(n0), index(n), float(alpha)
            seed = None if seed is None else index(seed)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"n0, n and seed must be whole numbers and alpha a number: {error}"
            ) from error
        if n0 < 1 or n < 1:
            raise ConfigurationError(f"n0 and n must be at least 1 vote, got n0={n0}, n={n}")
        if seed is not None:
            check_seed(seed)
        if not 0 < alpha < 1:
            raise ConfigurationError(f"alpha must be strictly between 0 and 1, got {alpha}")
        check_bound(bound)
        self.noise = noise
        if isinstance(sigma, int | float | np.floating | np.integer):
            sigma = FixedSigma(float(sigma))
        if not hasattr(sigma, "choose"):
            raise ConfigurationError(f"sigma must be a number or a sigma policy, got {sigma!r}")
        if memory is not None and not isinstance(memory, Memory):
            raise ConfigurationError(f"memory must be a Memory, got {memory!r}; use Memory(url)")
        self.policy = sigma
        classifiers = [
            NoisyClassifier(
                each,
                num_classes,
                self.noise,
                batch_size=batch_size,
                precision=precision,
                compile=compile,
            )
            for each in (model if isinstance(model, Sequence) else [model])
        ]
        self.candidates = Candidates(classifiers, sigma, n0, selection)
        self.base = classifiers[0]
        self.memory = memory
        self.n0, self.n, self.alpha, self.bound, self.seed = n0, n, alpha, bound, seed
        if memory is not None:
            if memory.norm != noise.norm:
                raise StoreMismatchError(
                    f"the memory holds {memory.norm} balls, but {noise.name} noise certifies "
                    f"{noise.norm}; use Memory(url, norm={noise.norm!r})"
                )
            memory.bind(self.candidates.digest, noise.name)

    @property
    def cost(self) -> int:
        """The most noisy forward passes that one certificate takes."""
        return self.candidates.cost + self.n

    def certify(
        self,
        x: Tensor,
        *,
        at_radii: Sequence[float] | None = None,
        radius_tolerance: float | None = None,
    ) -> list[Certificate]:
        """Certify a batch, with `n` votes an input or with as few as a question takes.

        A question costs no confidence: alpha covers every look at the votes, whenever the sampling
        stops (`ddrs.smoothing.estimation`). The radius is the one proved by then.

        With a memory, the result is as if the inputs came one by one in this order, and every
        answer is durable before this returns.

        Args:
            x: `[batch, *input]` float tensor of finite values.
            at_radii: stop once it is settled which of these radii are certified, in the units of
                the input; radius 0 asks whether any class is.
            radius_tolerance: stop once more votes could add less than this to the radius.

        Returns:
            One certificate an input, in order.

        Raises:
            ConfigurationError: both questions, or one that is none.
            InputError: `x` is not such a tensor.
            ModelError: the model failed or returned something else than one score per class.
            StoreError: the memory cannot be read or written.
        """
        question = ask(at_radii, radius_tolerance)
        inputs = Inputs.of(x, fresh_seed() if self.seed is None else self.seed)
        if not len(inputs):
            return []
        with self._at_work(inputs):
            if self.memory is None:
                return self._own_certificates(inputs, question)
            points = _points(inputs)
            stored = [self.memory.recall(point) for point in points]
            rows = [row for row, known in enumerate(stored) if known is None]
            own = self._own_certificates(inputs.take(rows), question) if rows else []
            fresh = iter(self._resolve(self.memory, [points[row] for row in rows], own))
            return [next(fresh) if known is None else _restore(known) for known in stored]

    def predict(self, x: Tensor) -> list[int]:
        """Predict a batch: the smoothed class of each input, or `ABSTAIN`.

        Without a memory this is PREDICT of Cohen et al.: an answer is the smoothed classifier's
        class with probability at least 1 - alpha. With one, an input inside a stored region gets
        the region's class, and any other is certified and stored.

        Arguments and errors are those of `certify`.
        """
        inputs = Inputs.of(x, fresh_seed() if self.seed is None else self.seed)
        if not len(inputs):
            return []
        with self._at_work(inputs):
            if self.memory is None:
                chosen = self.candidates.choose(inputs)
                counts = self.candidates.count_each(inputs, chosen, self.n, "prediction")
                return [predict(row, alpha=self.alpha) for row in counts]
            return self._predict_from(self.memory, inputs)

    def _predict_from(self, memory: Memory, inputs: Inputs) -> list[int]:
        points = _points(inputs)
        rows = [row for row, point in enumerate(points) if memory.lookup(point) is None]
        own = self._own_certificates(inputs.take(rows), None) if rows else []
        candidates = dict(zip(rows, own, strict=True))
        answers = []
        for row, point in enumerate(points):
            region = memory.lookup(point)  # again: an input before this one may cover it by now
            if region is not None:
                answers.append(region.prediction)
            else:
                # Regions are never deleted, so what is uncovered now was uncovered before.
                answers.append(self._resolve(memory, [point], [candidates[row]])[0].prediction)
        return answers

    def _own_certificates(self, inputs: Inputs, question: Question | None) -> list[Certificate]:
        chosen = self.candidates.choose(inputs)
        counts = self.candidates.sample(
            inputs, chosen, question, n=self.n, alpha=self.alpha, bound=self.bound
        )
        looks = len(look_times(self.n, question))
        return [
            self._certificate(inputs, row, chosen, counts[row], looks) for row in range(len(inputs))
        ]

    def _certificate(
        self, inputs: Inputs, row: int, chosen: Chosen, counts: npt.NDArray[np.int64], looks: int
    ) -> Certificate:
        sigma = float(chosen.sigma[row])
        claim = certify(
            counts,
            int(chosen.selected[row]),
            sigma=sigma,
            noise=self.noise,
            alpha=self.alpha,
            bound=self.bound,
            looks=looks,
        )
        n = int(counts.sum())
        return Certificate(
            prediction=claim.prediction,
            radius=claim.radius,
            outcome="abstained" if claim.prediction == ABSTAIN else "own",
            own_prediction=claim.prediction,
            own_radius=claim.radius,
            sigma=sigma,
            norm=self.noise.norm,
            bound=self.bound,
            p_lower=claim.p_lower,
            p_upper=claim.p_upper,
            count=claim.count,
            runner_up=claim.runner_up,
            n=n,
            looks=looks,
            n0=self.n0,
            alpha=self.alpha,
            votes=int(chosen.votes[row]) + n,
            input_digest=inputs.digests[row],
            model_digest=self.candidates.digest_of(chosen, row),
            seed=inputs.seed,
            version=__version__,
        )

    def _resolve(
        self, memory: Memory, points: list[Point], own: list[Certificate]
    ) -> list[Certificate]:
        """Let the memory store and, where it must, change what the inputs' own votes prove."""
        resolutions = memory.resolve_many(
            points,
            [certificate.prediction for certificate in own],
            [certificate.radius for certificate in own],
            evidence=[certificate.to_json() for certificate in own],
        )
        return [
            certificate if resolution.outcome == "abstained" else _restore(resolution)
            for certificate, resolution in zip(own, resolutions, strict=True)
        ]

    @contextmanager
    def _at_work(self, inputs: Inputs) -> Iterator[None]:
        """Freeze the model, and tell an error what was being certified."""
        try:
            with self.candidates.frozen():
                yield
        except DDRSError as error:
            raise type(error)(
                f"{error} [{len(inputs)} inputs of shape {list(inputs.shape)}, first "
                f"{inputs.digests[0][:12]}; {self.noise.name} noise from sigma "
                f"{self.policy.initial}, n0={self.n0}, n={self.n}, alpha={self.alpha}]"
            ) from error


def _points(inputs: Inputs) -> list[Point]:
    x = inputs.x.cpu()
    return list((x.float() if x.dtype == bfloat16 else x).numpy())  # NumPy has no bfloat16


def _restore(resolution: Resolution) -> Certificate:
    """The certificate of a stored answer: its evidence, with the memory's verdict on it."""
    if resolution.evidence is None:
        raise StoreError(
            "the memory holds an answer for this input that no classifier stored; certify with a "
            "memory that only this classifier writes"
        )
    return replace(
        Certificate.from_json(resolution.evidence),
        prediction=resolution.prediction,
        radius=resolution.radius,
        outcome=resolution.outcome,
    )

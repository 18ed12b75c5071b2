"""`SmoothedClassifier`: CERTIFY and PREDICT on one page, for one batch of inputs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ddrs.errors import ConfigurationError, DDRSError, InputError, StoreMismatchError
from ddrs.memory.memory import Memory
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import Gaussian, Noise
from ddrs.noise.streams import fresh_seed
from ddrs.proof.bounds import Bound
from ddrs.proof.certificate import ABSTAIN, Certificate
from ddrs.proof.certify import certify, predict
from ddrs.proof.check import certificate_faults
from ddrs.proof.stopping import Estimation, stopping_rule
from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.policy import SigmaPolicy
from ddrs.smoothing.advice import model_advice, note_scale
from ddrs.smoothing.alternatives import Alternatives, Choice
from ddrs.smoothing.answers import left, points, recall, resolve
from ddrs.smoothing.bases import base_classifiers, checked_numbers
from ddrs.smoothing.selection import Selection
from ddrs.version import __version__
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

__all__ = ["SmoothedClassifier"]

Batch = Tensor | npt.NDArray[Any]


class SmoothedClassifier:
    """A base classifier smoothed with noise, whose answers come with a certified radius.

    With a fixed sigma the certificates hold together by themselves (Cohen et al. 2019). With a
    sigma chosen per input they are sound together only through a memory (DDRS, section 3.5), which
    answers from regions certified earlier: pass one, and use this object for every prediction.

    `certify` has two halves, which can be done apart: `own` certifies inputs by their own votes,
    anywhere and in any order; `resolve` lets the memory answer, in one order.

    Args:
        model: maps float inputs `[batch, *input]` to scores `[batch, num_classes]`; normalisation
            is its first layer, so that radii are in the units of the input. It is used in
            evaluation mode and comes back as it was. Or several of them: each input gets the one
            that promises it the largest radius (`alternatives`), with a policy as `sigma`. A
            `NoisyClassifier` is taken as it is, with its own noise and arithmetic.
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
        n: votes that certify it; the most of them, where `certify` is told when to stop.
        alpha: probability with which one certificate may be wrong; with a memory, all certificates
            that are tried for at one input, in whatever call, process or run. An abstention is
            remembered and spends it; a call with a larger alpha has the difference left.
        bound: `"one-sided"` or `"two-sided"` (`proof.bounds.Confidence`).
        seed: key of all random streams: the same seed gives the same counts for the same input. By
            default every call draws a fresh one from the operating system; do so wherever an
            adversary could learn a fixed one.
        batch_size: rows of one forward pass, or `"auto"` for the fastest, found while voting. It
            does not decide results.
        precision: `"fp32"` or `"bf16"`; part of the classifier's identity.
        compile: certify a compiled copy of the model, which is faster on a CPU; part of the
            classifier's identity. Needs `pip install 'ddrs[compile]'`.
        identity: a name for all that decides the answers of the model beside its modules with their
            settings, parameters and buffers. By default that is found and digested; with a name
            you vouch that another name is given wherever any of it differs.

    Example:
        >>> import torch, ddrs
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> smoothed = ddrs.SmoothedClassifier(model, 2, sigma=0.5, n=1000, seed=0)
        >>> certificate, = smoothed.certify(torch.zeros(1, 1, 2, 2))
        >>> certificate.radius == ddrs.recompute_radius(certificate)
        True

    Attributes:
        alternatives: the base classifiers, and what chooses among them and their sigmas.
        estimation: how many votes certify an input, and how surely.
        memory: as it was given.
        noise: the smoothing distribution.
        seed: as it was given.

    Raises:
        ConfigurationError: an argument that can never work.
        ModelError: a model keeps what has no digest.
        StoreMismatchError: the memory belongs to another classifier, noise or norm.
    """

    def __init__(
        self,
        model: nn.Module | NoisyClassifier | Sequence[nn.Module | NoisyClassifier],
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
        identity: str | None = None,
    ) -> None:
        n0, n, alpha, seed = checked_numbers(n0, n, alpha, seed)
        if isinstance(sigma, int | float | np.floating | np.integer):
            sigma = FixedSigma(float(sigma))
        if not hasattr(sigma, "choose"):
            raise ConfigurationError(f"sigma must be a number or a sigma policy, got {sigma!r}")
        if memory is not None and not isinstance(memory, Memory):
            raise ConfigurationError(f"memory must be a Memory, got {memory!r}; use Memory(url)")
        self.noise = noise
        self.seed = seed
        self.estimation = Estimation(n, alpha, bound)
        classifiers = base_classifiers(
            model if isinstance(model, Sequence) else [model],
            num_classes,
            noise,
            batch_size=batch_size,
            precision=precision,
            compile=compile,
            identity=identity,
        )
        self._scale_noted = False
        self.alternatives = Alternatives(classifiers, sigma, n0, selection)
        self.memory = memory
        if memory is not None:
            if memory.norm != noise.norm:
                raise StoreMismatchError(
                    f"the memory holds {memory.norm} balls, but {noise.name} noise certifies "
                    f"{noise.norm}; use Memory(url, norm={noise.norm!r})"
                )
            memory.bind(self.digest, noise.name, told=self.alternatives.told)

    @property
    def alone(self) -> bool:
        """Whether certificates of different inputs hold together without a memory."""
        return self.alternatives.alone

    @property
    def cost(self) -> int:
        """The most noisy forward passes that one certificate takes."""
        return self.alternatives.cost + self.estimation.n

    @property
    def digest(self) -> str:
        """SHA-256 of what is certified."""
        return self.alternatives.digest

    def certify(
        self,
        x: Batch,
        *,
        at_radii: Sequence[float] | None = None,
        radius_tolerance: float | None = None,
    ) -> list[Certificate]:
        """Certify a batch, with `n` votes per input or with as few as a stopping rule needs.

        Stopping early costs no confidence: alpha covers every look at the votes, whenever the
        estimation stops (`proof.stopping`). The radius is the one proved by then.

        With a memory, the result is as if the inputs came one by one in this order, and every
        answer is durable before this returns.

        Args:
            x: `[batch, *input]` float tensor, or NumPy array, of finite values, in the units that
                sigma and radii are meant in.
            at_radii: stop once it is settled which of these radii are certified, in the units of
                the input; radius 0 asks whether any class is.
            radius_tolerance: stop once more votes could add less than this to the radius.

        Returns:
            One certificate per input, in order.

        Raises:
            ConfigurationError: both stopping rules, a value that is none, or an `n` too small for
                `alpha` to certify anything.
            InputError: `x` is not such a tensor.
            ModelError: the model failed or returned something else than one score per class.
            StoreError: the memory cannot be read or written.

        Warns:
            DDRSWarning: images whose pixels are not in [0, 1], once.
        """
        estimation, inputs = self._estimation(at_radii, radius_tolerance), self._inputs(x)
        with self._named(inputs):
            return self._certify(inputs, estimation, self.memory)

    def own(
        self,
        x: Batch,
        *,
        at_radii: Sequence[float] | None = None,
        radius_tolerance: float | None = None,
    ) -> list[Certificate]:
        """What the inputs' own votes prove: the half of `certify` that needs no memory.

        It can be done anywhere, and in any order. Unless `alone`, these certificates do not hold
        together until `resolve` has let a memory answer. Arguments and errors are those of
        `certify`.
        """
        estimation, inputs = self._estimation(at_radii, radius_tolerance), self._inputs(x)
        with self._named(inputs):
            return self._certify(inputs, estimation, None)

    def resolve(self, x: Batch, own: Sequence[Certificate]) -> list[Certificate]:
        """What the memory answers: the half of `certify` that knows one order.

        Args:
            x: `[batch, *input]` float tensor of finite values.
            own: what `own` returned for these inputs.

        Returns:
            One certificate per input, in order; those given where there is no memory. Where other
            tries have spent alpha meanwhile it is the abstention that is remembered.

        Raises:
            InputError: `x` is not such a tensor, or `own` is of other inputs, of another classifier
                or confidence, or claims more than its counts prove.
            StoreError: the memory cannot be read or written; nothing is stored.
        """
        inputs = self._inputs(x)
        if [one.input_digest for one in own] != list(inputs.digests):
            raise InputError("these certificates are of other inputs: give each input its own")
        for certificate in own:
            self._check_own(certificate)
        if self.memory is None or not len(inputs):
            return list(own)
        with self._named(inputs):
            return resolve(self.memory, inputs, own, self.estimation.alpha)

    def predict(self, x: Batch) -> list[int]:
        """Predict a batch: the smoothed class of each input, or `ABSTAIN`.

        Without a memory this is PREDICT of Cohen et al.: an answer is the smoothed classifier's
        class with probability at least 1 - alpha. With one, an input inside a stored region gets
        the region's class, and any other is certified and stored.

        Arguments and errors are those of `certify`.
        """
        inputs = self._inputs(x)
        if not len(inputs):
            return []
        if self.memory is not None:
            self.estimation.check_possible()
            with self._named(inputs):
                return self._predict_from(self.memory, inputs)
        with self._named(inputs), self.alternatives.frozen():
            selected = self.alternatives.select(inputs)
            choice = self.alternatives.choose(inputs, selected)
            n, alpha = self.estimation.n, self.estimation.alpha
            counts = self.alternatives.count_each(inputs, choice, n, "prediction")
            self.alternatives.check_unchanged()
            return [predict(row, alpha=alpha) for row in counts]

    def classify(self, x: Tensor) -> npt.NDArray[np.int64]:
        """`[batch]` classes of the inputs themselves, by the first model and without noise."""
        with self.alternatives.frozen():
            return self.alternatives.classifiers[0].classify(x)

    def on_votes(self, call: Callable[[int], None]) -> None:
        """Have `call` told the number of votes after each batch, e.g. by a progress bar."""
        self.alternatives.on_votes(call)

    def _check_own(self, certificate: Certificate) -> None:
        """Refuse what this classifier cannot have certified: it comes from elsewhere."""
        digests = {classifier.digest for classifier in self.alternatives.classifiers}
        if certificate.model_digest not in digests or certificate.norm != self.noise.norm:
            raise InputError("a certificate is of another classifier or noise: certify it again")
        if (certificate.alpha, certificate.bound) != (self.estimation.alpha, self.estimation.bound):
            raise InputError("a certificate is of another alpha or bound: certify it again")
        for fault in certificate_faults(certificate):
            raise InputError(f"a certificate is not sound: {fault}")

    def _certify(
        self, inputs: Inputs, estimation: Estimation, memory: Memory | None
    ) -> list[Certificate]:
        """CERTIFY (Cohen et al. 2019), sigma per input (DDRS, Algorithm 1), memory (section 3.5).

        An input that was answered before gets that answer.
        """
        with self.alternatives.frozen():
            answers = {} if memory is None else recall(memory, inputs)
            fresh = inputs.take([row for row in range(len(inputs)) if row not in answers])
            own = self._own(fresh, estimation, memory)
            if memory is not None and own:
                own = resolve(memory, fresh, own, estimation.alpha)
            certified = iter(own)
            return [answers.get(row) or next(certified) for row in range(len(inputs))]

    def _own(
        self, inputs: Inputs, estimation: Estimation, memory: Memory | None
    ) -> list[Certificate]:
        """What the inputs' own votes prove, at what earlier tries in the memory leave of alpha.

        Each step has votes of its own: none selects, chooses and proves with the same.
        """
        own: dict[int, Certificate] = {}
        shares = {estimation: list(range(len(inputs)))}
        if memory is not None:
            own, shares = left(memory, inputs, estimation)
        for share, rows in shares.items():
            if rows:
                fresh = inputs.take(rows)
                selected = self.alternatives.select(fresh)
                choice = self.alternatives.choose(fresh, selected)
                counts = self.alternatives.estimate(fresh, choice, share)
                self.alternatives.check_unchanged()
                own |= zip(rows, self._prove(fresh, choice, counts, share), strict=True)
        return [own[row] for row in range(len(inputs))]

    def _prove(
        self,
        inputs: Inputs,
        choice: Choice,
        counts: npt.NDArray[np.int64],
        estimation: Estimation,
    ) -> list[Certificate]:
        """One certificate per input: what its counts `[batch, num_classes]` prove."""
        found = []
        for row in range(len(inputs)):
            sigma = float(choice.sigma[row])
            claim = certify(
                counts[row],
                int(choice.selected[row]),
                sigma=sigma,
                noise=self.noise,
                confidence=estimation.confidence,
            )
            n = int(counts[row].sum())
            found.append(
                Certificate(
                    prediction=claim.prediction,
                    radius=claim.radius,
                    outcome="abstained" if claim.prediction == ABSTAIN else "own",
                    own_prediction=claim.prediction,
                    own_radius=claim.radius,
                    sigma=sigma,
                    norm=self.noise.norm,
                    bound=estimation.bound,
                    p_lower=claim.p_lower,
                    p_upper=claim.p_upper,
                    count=claim.count,
                    runner_up=claim.runner_up,
                    n=n,
                    looks=estimation.looks,
                    n0=self.alternatives.n0,
                    alpha=estimation.alpha,
                    votes=int(choice.votes[row]) + n,
                    input_digest=inputs.digests[row],
                    model_digest=self.alternatives.digest_of(choice, row),
                    seed=inputs.seed,
                    version=__version__,
                )
            )
        return found

    def _predict_from(self, memory: Memory, inputs: Inputs) -> list[int]:
        places = points(inputs)
        uncovered = [row for row, point in enumerate(places) if memory.lookup(point) is None]
        with self.alternatives.frozen():
            own = self._own(inputs.take(uncovered), self.estimation, memory)
        claims = dict(zip(uncovered, own, strict=True))
        answers = []
        for row, point in enumerate(places):
            region = memory.lookup(point)  # again: an input before this one may cover it by now
            if region is not None:
                answers.append(region.prediction)
            else:
                # Regions are never deleted, so what is uncovered now was uncovered before.
                share = self.estimation.alpha
                (answer,) = resolve(memory, inputs.take([row]), [claims[row]], share)
                answers.append(answer.prediction)
        return answers

    def _inputs(self, x: Batch) -> Inputs:
        inputs = Inputs.of(x, fresh_seed() if self.seed is None else self.seed)
        if not self._scale_noted:
            self._scale_noted = note_scale(inputs.x)
        return inputs

    def _estimation(
        self, at_radii: Sequence[float] | None, radius_tolerance: float | None
    ) -> Estimation:
        estimation = replace(self.estimation, stopping=stopping_rule(at_radii, radius_tolerance))
        estimation.check_possible()
        return estimation

    @contextmanager
    def _named(self, inputs: Inputs) -> Iterator[None]:
        """Tell an error what was being certified."""
        try:
            yield
        except DDRSError as error:
            raise error.saying(
                f"{error}{model_advice(error, inputs.x)} [{len(inputs)} inputs of shape "
                f"{list(inputs.shape)}, first "
                f"{inputs.digests[0][:12]}; {self.noise.name} noise from sigma "
                f"{self.alternatives.policy.initial}, n0={self.alternatives.n0}, "
                f"n={self.estimation.n}, alpha={self.estimation.alpha}]"
            ) from error

"""`Cascade`: certificates that hold by themselves, from several noise levels (docs/cascade.md)."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ddrs.errors import ConfigurationError, DDRSError
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import Gaussian, Noise
from ddrs.proof.bounds import Bound, lower_bound
from ddrs.proof.cascade import Plan, plan, proving
from ddrs.proof.certificate import Certificate, Evidence
from ddrs.proof.stopping import Estimation
from ddrs.smoothing.bases import Bases, base_classifiers
from ddrs.smoothing.levels import Levels
from ddrs.smoothing.pieces import Piece, certificate_of, estimate_pieces
from ddrs.smoothing.stateless import Stateless
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

__all__ = ["Cascade", "LevelClassifiers"]


class LevelClassifiers(Bases):
    """The base classifiers of a cascade: one for all levels, or one for each.

    Args:
        classifiers: one or as many as there are levels.
        policy: the levels.

    Attributes:
        alone: true: the certificates of a cascade hold together without a memory.

    Raises:
        ConfigurationError: another number of classifiers.
    """

    alone = True

    def __init__(self, classifiers: Sequence[NoisyClassifier], policy: Levels) -> None:
        super().__init__(list(dict.fromkeys(classifiers)))
        self.policy = policy
        self.by_level = policy.per_level(classifiers)

    @property
    def digest(self) -> str:
        """SHA-256 of the cascade: of its classifiers, sigmas and p0."""
        return self.policy.joint_digest([classifier.digest for classifier in self.by_level])


class Cascade(Stateless):
    """Several smoothed classifiers that are asked one after the other, from the largest sigma down.

    A level answers the class whose probability under its noise is above its p0; if there is none,
    the next level is asked, and after the last one the answer is `ABSTAIN`. That is one classifier,
    whatever was asked before: its certificates hold together by themselves, in any order, and no
    memory is needed. Theorem and proof: docs/cascade.md.

    Args:
        levels: (model, sigma, p0) of each level, sigma falling and p0 from 1/2 to below 1. A model
            is as for `SmoothedClassifier`; levels may share it.
        num_classes: number of classes.
        noise: the smoothing distribution: `Gaussian()` for l2, `Uniform()` for l1.
        n0: votes of each level that select the class, and how many levels are to be proved.
        n: votes of a level that prove something; the most of them, where `certify` is told when to
            stop. Levels after the one that is to answer take none.
        alpha: probability with which one certificate may be wrong; the levels that are voted on
            share it equally.
        bound: `"one-sided"`: a bound for each level, on the class where it is to answer and on the
            others where it is to pass. `"two-sided"`: both, each at half the level; any level may
            then turn out to answer.
        seed, batch_size, precision, compile, identity: as for `SmoothedClassifier`.

    Example:
        >>> import torch, ddrs
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> levels = [(model, 0.5, 0.6), (model, 0.25, 0.5)]
        >>> cascade = ddrs.Cascade(levels, 2, n=1000, seed=0)
        >>> certificate, = cascade.certify(torch.ones(1, 1, 2, 2))
        >>> certificate.radius == ddrs.recompute_radius(certificate)
        True

    Attributes:
        base: the base classifiers and the levels.
        estimation: how many votes certify a level, and how surely all of them together.
        noise: the smoothing distribution.
        seed: as it was given.

    Raises:
        ConfigurationError: an argument that can never work.
    """

    name = "a cascade"

    def __init__(
        self,
        levels: Sequence[tuple[nn.Module | NoisyClassifier, float, float]],
        num_classes: int,
        *,
        noise: Noise = Gaussian(),
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        bound: Bound = "one-sided",
        seed: int | None = None,
        batch_size: int | Literal["auto"] = "auto",
        precision: Precision = "fp32",
        compile: bool = False,
        identity: str | None = None,
    ) -> None:
        try:
            models = [model for model, _, _ in levels]
            policy = Levels(
                tuple(float(sigma) for _, sigma, _ in levels),
                tuple(float(p0) for _, _, p0 in levels),
            )
        except (TypeError, ValueError) as error:
            if isinstance(error, DDRSError):
                raise
            raise ConfigurationError(f"levels must be (model, sigma, p0): {error}") from error
        super().__init__(noise, n0, n, alpha, bound, seed)
        distinct = {id(model): model for model in models}
        made = base_classifiers(
            list(distinct.values()),
            num_classes,
            noise,
            batch_size=batch_size,
            precision=precision,
            compile=compile,
            identity=identity,
        )
        classifier = dict(zip(distinct, made, strict=True))
        self.base = LevelClassifiers([classifier[id(model)] for model in models], policy)

    @property
    def cost(self) -> int:
        """The most noisy forward passes that one certificate takes."""
        return len(self.base.by_level) * (self.n0 + self.estimation.n)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is certified: classifiers, sigmas and p0 of the levels."""
        return self.base.digest

    def classify(self, x: Tensor) -> npt.NDArray[np.int64]:
        """`[batch]` classes of the inputs themselves, by the first level without noise."""
        with self.base.frozen():
            return self.base.by_level[0].classify(x)

    @property
    def _bases(self) -> Bases:
        return self.base

    def _prove(self, inputs: Inputs, estimation: Estimation) -> list[Certificate]:
        """Select, estimate, prove: no step has votes of another, and no level those of another."""
        found = self._estimate(inputs, self._plan(inputs), estimation)
        return [self._certificate(inputs, row, found[row]) for row in range(len(inputs))]

    def _check_possible(self, estimation: Estimation) -> None:
        """Refuse votes that prove nothing even if all of them agree.

        Raises:
            ConfigurationError: at no level could they.
        """
        n, sides = estimation.n, 1 if estimation.bound == "one-sided" else 2
        share = estimation.alpha / estimation.looks / sides
        for depth, p0 in enumerate(self.base.policy.thresholds, start=1):
            if lower_bound(n, n, share / depth) > p0:
                return
        raise ConfigurationError(
            f"n = {n} votes a level can certify nothing at alpha = {estimation.alpha:g} and p0 = "
            f"{list(self.base.policy.p0)}, even if all agree: give more"
        )

    def _plan(self, inputs: Inputs) -> list[Plan]:
        """What is to be proved of each input, by `n0` votes of each level."""
        policy = self.base.policy
        counts = np.stack(
            [
                classifier.count_each(inputs, sigma, self.n0, f"level-{level}-selection")
                for level, (classifier, sigma) in enumerate(
                    zip(self.base.by_level, policy.sigmas, strict=True)
                )
            ]
        )
        return [
            plan(counts[:, row], policy.sigmas, policy.thresholds, self.noise)
            for row in range(len(inputs))
        ]

    def _estimate(
        self, inputs: Inputs, plans: Sequence[Plan], estimation: Estimation
    ) -> list[list[Piece]]:
        """The planned levels of each input with their votes, drawn until each is settled."""
        levels = [
            [self._level(inputs, row, one, number, estimation) for number in range(one.depth)]
            for row, one in enumerate(plans)
        ]
        estimate_pieces(inputs, levels, estimation)
        return levels

    def _level(
        self, inputs: Inputs, row: int, planned: Plan, number: int, estimation: Estimation
    ) -> Piece:
        classifier, sigma = self.base.by_level[number], self.base.policy.sigmas[number]
        blank = Evidence(
            role="answer" if number == planned.depth - 1 else "pass",
            sigma=sigma,
            norm=self.noise.norm,
            bound=estimation.bound,
            p_lower=0.0,
            p_upper=1.0,
            count=0,
            runner_up=0,
            n=1,
            looks=estimation.looks,
            alpha=estimation.alpha / planned.depth,
            model_digest=classifier.digest,
            p0=self.base.policy.thresholds[number],
        )
        stage = f"level-{number}-estimation"
        return Piece.of(classifier, planned.selected, inputs, row, stage, blank)

    def _certificate(self, inputs: Inputs, row: int, levels: Sequence[Piece]) -> Certificate:
        """What the votes of the planned levels prove of one input."""
        return certificate_of(
            proving([level.evidence for level in levels]),
            levels,
            inputs,
            row,
            n0=self.n0,
            selection=len(self.base.by_level) * self.n0,
        )

"""`Routed`: a router picks the classifier and sigma of each input (docs/routed.md)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ddrs.errors import ConfigurationError, DDRSError
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import Gaussian, Noise
from ddrs.proof.bounds import Bound
from ddrs.proof.certificate import Certificate, Evidence, Role
from ddrs.proof.stopping import Estimation
from ddrs.smoothing.bases import Bases, base_classifiers
from ddrs.smoothing.cells import Cells
from ddrs.smoothing.levels import one_for_each
from ddrs.smoothing.pieces import Piece, certificate_of, estimate_pieces
from ddrs.smoothing.stateless import Stateless
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs, VoteRequest

__all__ = ["CellClassifiers", "Routed"]

Classes = npt.NDArray[np.int64]


class CellClassifiers(Bases):
    """The base classifiers of the cells, one for all or one for each, and the router, last.

    Args:
        classifiers: one or as many as there are cells, then the router.
        policy: the cells.

    Attributes:
        alone: true: the certificates hold together without a memory.
        router: the last of the classifiers; its classes are the cells.

    Raises:
        ConfigurationError: another number of classifiers or scores, or a cell that is there twice.
    """

    alone = True

    def __init__(self, classifiers: Sequence[NoisyClassifier], policy: Cells) -> None:
        *asked, self.router = classifiers
        super().__init__([*dict.fromkeys(asked), self.router])
        self.policy = policy
        self.by_cell = one_for_each(asked, len(policy.sigmas), "router over {} cells")
        if self.router.num_classes != len(policy.sigmas):
            raise ConfigurationError(
                f"the router has {self.router.num_classes} scores for {len(policy.sigmas)} cells: "
                "it takes one for each"
            )
        _ = self.digest  # refuses a cell that is there twice

    @property
    def digest(self) -> str:
        """SHA-256 of the router with its sigma, and of the cells."""
        digests = [classifier.digest for classifier in (*self.by_cell, self.router)]
        return self.policy.joint_digest(digests)


class Routed(Stateless):
    """A smoothed router picks one of several smoothed classifiers, which answers.

    The answer at a point is decided by that point alone, so this is one classifier: its
    certificates hold together by themselves, in any order, and no memory is needed. The radius is
    the lesser one of router and classifier (Dual Randomized Smoothing, arXiv 2512.01782,
    Theorem 4.2). Theorem and proof: docs/routed.md.

    Args:
        router: maps `[batch, *input]` to `[batch, cells]` scores; or a `NoisyClassifier`.
        cells: (model, sigma) of each cell, at least two and no two alike, in the order of the
            router's scores. A model is as for `SmoothedClassifier`; cells may share it.
        num_classes: number of classes.
        router_sigma: noise scale of the router; by default the largest of the cells. A smaller one
            is as sound, and limits every radius.
        noise: the smoothing distribution, of router and cells: `Gaussian()` for l2, `Uniform()`
            for l1.
        n0: votes of the router that select the cell, and votes in that cell that select the class.
        n: votes of each that prove something; the most of them, where `certify` is told when to
            stop.
        alpha: probability with which one certificate may be wrong; router and classifier have half
            of it each.
        bound: `"one-sided"` or `"two-sided"`, for both.
        seed, batch_size, precision, compile, identity: as for `SmoothedClassifier`.

    Example:
        >>> import torch, ddrs
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> router = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> routed = ddrs.Routed(router, [(model, 0.25), (model, 0.5)], 2, n=1000, seed=0)
        >>> certificate, = routed.certify(torch.ones(1, 1, 2, 2))
        >>> certificate.radius == ddrs.recompute_radius(certificate)
        True

    Attributes:
        base: the base classifiers, the router and the cells.
        estimation: how many votes certify, and how surely router and classifier together.
        noise: the smoothing distribution.
        seed: as it was given.

    Raises:
        ConfigurationError: an argument that can never work.
        ModelError: a model keeps what has no digest.
    """

    name = "routed"

    def __init__(
        self,
        router: nn.Module | NoisyClassifier,
        cells: Sequence[tuple[nn.Module | NoisyClassifier, float]],
        num_classes: int,
        *,
        router_sigma: float | None = None,
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
            models = [model for model, _ in cells]
            policy = Cells(
                tuple(float(sigma) for _, sigma in cells),
                router_sigma=None if router_sigma is None else float(router_sigma),
            )
        except (TypeError, ValueError) as error:
            if isinstance(error, DDRSError):
                raise
            raise ConfigurationError(
                f"cells must be (model, sigma) and router_sigma a number: {error}"
            ) from error
        super().__init__(noise, n0, n, alpha, bound, seed)

        def smoothed(some: Sequence[nn.Module | NoisyClassifier], classes: int) -> list[
            NoisyClassifier
        ]:  # fmt: skip
            return base_classifiers(
                some,
                classes,
                noise,
                batch_size=batch_size,
                precision=precision,
                compile=compile,
                identity=identity,
            )

        distinct = {id(model): model for model in models}
        made = dict(zip(distinct, smoothed(list(distinct.values()), num_classes), strict=True))
        by_cell = [made[id(model)] for model in models]
        self.base = CellClassifiers([*by_cell, *smoothed([router], len(models))], policy)

    @property
    def cost(self) -> int:
        """The most noisy forward passes that one certificate takes."""
        return 2 * (self.n0 + self.estimation.n)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is certified: the router with its sigma, and the cells."""
        return self.base.digest

    def classify(self, x: Tensor) -> Classes:
        """`[batch]` classes of the inputs themselves, by router and classifiers without noise."""
        with self.base.frozen():
            return self._by_cell(
                self.base.router.classify(x), lambda classifier, rows: classifier.classify(x[rows])
            )

    @property
    def _bases(self) -> Bases:
        return self.base

    def _check_possible(self, estimation: Estimation) -> None:
        _half(estimation).check_possible()

    def _prove(self, inputs: Inputs, estimation: Estimation) -> list[Certificate]:
        """Route, select, estimate, prove: no step has votes of another, and no network another's.

        With probability at least 1 - alpha over the votes of the third step, the radius is at most
        the one that the probabilities of the selected cell and class give.
        """
        half = _half(estimation)
        cells = self._route(inputs)
        classes = self._select(inputs, cells)
        pieces = [
            self._pieces(inputs, row, int(cells[row]), int(classes[row]), half)
            for row in range(len(inputs))
        ]
        estimate_pieces(inputs, pieces, half)
        return [
            certificate_of(
                [piece.evidence for piece in one],
                one,
                inputs,
                row,
                n0=self.n0,
                selection=2 * self.n0,
            )
            for row, one in enumerate(pieces)
        ]

    def _route(self, inputs: Inputs) -> Classes:
        """`[batch]` the cell of each input, by `n0` votes of the router."""
        scale = self.base.policy.scale
        votes = self.base.router.count_each(inputs, scale, self.n0, "route-selection")
        cells: Classes = votes.argmax(axis=1)
        return cells

    def _select(self, inputs: Inputs, cells: Classes) -> Classes:
        """`[batch]` the class of each input, by `n0` votes in its cell."""
        sigmas = self.base.policy.sigmas

        def votes(classifier: NoisyClassifier, rows: Sequence[int]) -> Classes:
            requests = [
                VoteRequest(
                    row,
                    sigmas[cells[row]],
                    self.n0,
                    inputs.stream(row, f"cell-{cells[row]}-selection"),
                )
                for row in rows
            ]
            classes: Classes = classifier.count(inputs, requests).argmax(axis=1)
            return classes

        return self._by_cell(cells, votes)

    def _by_cell(
        self, cells: Classes, ask: Callable[[NoisyClassifier, list[int]], Classes]
    ) -> Classes:
        """`[batch]` what the classifier of each input's cell says; `ask` has it and its rows."""
        found = np.zeros(len(cells), dtype=np.int64)
        for classifier in dict.fromkeys(self.base.by_cell):
            rows = [row for row, cell in enumerate(cells) if self.base.by_cell[cell] is classifier]
            if rows:
                found[rows] = ask(classifier, rows)
        return found

    def _pieces(
        self, inputs: Inputs, row: int, cell: int, selected: int, half: Estimation
    ) -> list[Piece]:
        """What is to be proved of one input: the class in its cell, and the cell."""

        def piece(
            role: Role, classifier: NoisyClassifier, sigma: float, selected: int, stage: str
        ) -> Piece:
            blank = Evidence(
                role=role,
                sigma=sigma,
                norm=self.noise.norm,
                bound=half.bound,
                p_lower=0.0,
                p_upper=1.0,
                count=0,
                runner_up=0,
                n=1,
                looks=half.looks,
                alpha=half.alpha,
                model_digest=classifier.digest,
            )
            return Piece.of(classifier, selected, inputs, row, stage, blank)

        base, sigma = self.base, self.base.policy.sigmas[cell]
        return [
            piece("answer", base.by_cell[cell], sigma, selected, f"cell-{cell}-estimation"),
            piece("route", base.router, base.policy.scale, cell, "route-estimation"),
        ]


def _half(estimation: Estimation) -> Estimation:
    """What route and class have each: half of alpha."""
    return replace(estimation, alpha=estimation.alpha / 2)

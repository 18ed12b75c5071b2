"""A search that reads the radius off a curve fitted to votes at a few values of sigma."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError
from ddrs.sigma.guard import Guard, limited
from ddrs.sigma.policy import HIGH_OPTION, INITIAL_OPTION, LOW_OPTION, SigmaChoice, check_range

if TYPE_CHECKING:  # they load torch, which takes a second: a policy is described without it
    from ddrs.noise.distributions import Noise
    from ddrs.votes.classifier import NoisyClassifier
    from ddrs.votes.requests import Inputs

__all__ = ["SearchSigma", "nearest_good"]

Float64s = npt.NDArray[np.float64]

GRID_SIGMAS = 16  # over the whole range; they get the first half of the votes
NEAR_SIGMAS = 8  # around the best of them; they get the second half
NEAR_DISTANCE = 0.35  # from the best to the farthest of those, in log sigma
BUMP_WIDTH = 0.35  # width of the bumps and distance between them, in log sigma
FINER_SIGMAS = 97  # values to choose from: steps of 3 % on the default range
PARABOLA_PRIOR = 10.0  # standard deviation of the prior on its terms: 10 is as good as certain
BUMP_PRIOR = 0.5  # and on a bump
MARGIN = 0.005  # relative gain below which a sigma nearer to the start is preferred


@dataclass(frozen=True)
class SearchSigma:
    """A curve fitted to votes, first over the whole range of sigma, then around the best.

    For Gaussian noise R(sigma) = sigma Phi^-1(p(sigma)) is what Cohen et al. (2019) certify. It is
    smooth in sigma, while votes at any one sigma tell it poorly: where it is large, hardly a vote
    is lost. So half of the votes go in equal parts to a geometric grid, and

        Phi^-1(p) = a / sigma + b + c sigma + bumps in log sigma

    is fitted to all of them (probit regression): R is a parabola, from which the bumps may depart
    where the votes ask for it. The votes lost at large sigma then tell what is to be expected at
    small sigma. The other half goes to a few values around the best one, and the fit to all votes
    decides.

    A fitted probability is trusted no further than so many votes at a single sigma could show.
    Among the values within `MARGIN` of the largest radius the one nearest to `initial` is chosen.

    Args:
        initial: the sigma that the classifier was trained with.
        low: least sigma; a quarter of `initial` by default.
        high: largest sigma; four times `initial` by default.
        votes: the most forward passes spent on one input.
        calibration: limits `high` for each classifier (`ddrs.calibrate`); None for no limit.

    Raises:
        ConfigurationError: not 0 < low <= initial <= high, or too few votes.
    """

    initial: float = field(metadata=INITIAL_OPTION)
    low: float | None = field(default=None, metadata=LOW_OPTION)
    high: float | None = field(default=None, metadata=HIGH_OPTION)
    votes: int = field(
        default=2000,
        metadata={"flag": "--search-votes", "metavar": "N", "help": "Votes per input of search."},
    )
    calibration: Guard | None = None
    per_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range(self.initial, self.low, self.high)
        if self.votes < 2 * GRID_SIGMAS:
            raise ConfigurationError(
                f"SearchSigma needs at least {2 * GRID_SIGMAS} votes, got {self.votes}"
            )

    @property
    def cost(self) -> int:
        """Forward passes: the vote budget, as far as it divides into equal parts."""
        first, second = self._parts()
        return GRID_SIGMAS * first + NEAR_SIGMAS * second

    def grid(self) -> Float64s:
        """`[GRID_SIGMAS]` where the first votes are cast: geometric, from `low` to `high`."""
        return np.geomspace(*check_range(self.initial, self.low, self.high), GRID_SIGMAS)

    def finer_grid(self) -> Float64s:
        """`[FINER_SIGMAS + 1]` to choose from: `initial`, then a finer grid of the same range."""
        low, high = check_range(self.initial, self.low, self.high)
        return np.concatenate([[self.initial], np.geomspace(low, high, FINER_SIGMAS)])

    def choose(
        self, classifier: "NoisyClassifier", inputs: "Inputs", selected: npt.NDArray[np.int64]
    ) -> SigmaChoice:
        """Vote, fit, vote around the best, fit again, and take the best sigma of each input."""
        allowed = limited(self, classifier)
        if allowed is not self:
            return allowed.choose(classifier, inputs, selected)
        first, second = self._parts()
        low, high = check_range(self.initial, self.low, self.high)
        grid = np.tile(self.grid(), (len(inputs), 1))
        votes = _votes(classifier, inputs, selected, grid, first, "search")
        best, _ = self._best(classifier.noise, grid, votes, np.full_like(votes, first))
        near = best[:, None] * np.exp(np.linspace(-NEAR_DISTANCE, NEAR_DISTANCE, NEAR_SIGMAS))
        near = np.clip(near, low, high)
        more = _votes(classifier, inputs, selected, near, second, "search-near")
        sigma, radius = self._best(
            classifier.noise,
            np.concatenate([grid, near], axis=1),
            np.concatenate([votes, more], axis=1),
            np.concatenate([np.full_like(votes, first), np.full_like(more, second)], axis=1),
        )
        return SigmaChoice(sigma, np.full(len(inputs), self.cost, dtype=np.int64), radius)

    def _parts(self) -> tuple[int, int]:
        """Votes per sigma, of the first and of the second half."""
        first = self.votes // 2 // GRID_SIGMAS
        return first, (self.votes - first * GRID_SIGMAS) // NEAR_SIGMAS

    def _best(
        self,
        noise: "Noise",
        sigma: Float64s,
        votes: npt.NDArray[np.int64],
        n: npt.NDArray[np.int64],
    ) -> tuple[Float64s, Float64s]:
        """Candidates that the votes speak for, and their radii; arguments `[batch, sigmas]`."""
        from ddrs.sigma.curve import fit_curve, probabilities, soft_radii

        finer = self.finer_grid()
        curve = fit_curve(self._features(sigma), votes, n, self._prior())
        p = probabilities(curve, self._features(finer))
        cast = n.sum(axis=1, keepdims=True)
        radii = soft_radii(noise, finer, (cast * p + 0.5) / (cast + 1))
        best = nearest_good(radii, np.abs(np.log(finer / self.initial)))
        return finer[best], radii[np.arange(len(radii)), best]

    def _features(self, sigma: Float64s) -> Float64s:
        """`[..., features]` terms of Phi^-1(p), each at most 1, for sigmas `[...]`."""
        low, high = check_range(self.initial, self.low, self.high)
        parabola = np.stack([low / sigma, np.ones_like(sigma), sigma / high], axis=-1)
        distance = (np.log(sigma)[..., None] - self._centres()) / BUMP_WIDTH
        return np.concatenate([parabola, np.exp(-(distance**2) / 2)], axis=-1)

    def _centres(self) -> Float64s:
        """The middles of the bumps, in log sigma."""
        low, high = np.log(check_range(self.initial, self.low, self.high))
        return np.linspace(low, high, round((high - low) / BUMP_WIDTH) + 1)

    def _prior(self) -> Float64s:
        """`[features]` standard deviations."""
        return np.concatenate(
            [np.full(3, PARABOLA_PRIOR), np.full(len(self._centres()), BUMP_PRIOR)]
        )


def _votes(
    classifier: "NoisyClassifier",
    inputs: "Inputs",
    selected: npt.NDArray[np.int64],
    sigmas: Float64s,
    n: int,
    stage: str,
) -> npt.NDArray[np.int64]:
    """`[batch, sigmas]` votes for the selected class, n at each of an input's `[batch, sigmas]`.

    Every sigma has draws of its own: the errors of neighbours then average out in the fit.
    """
    from ddrs.votes.requests import VoteRequest

    requests = [
        VoteRequest(row, float(sigma), n, inputs.stream(row, f"{stage}-{k}"))
        for row in range(len(inputs))
        for k, sigma in enumerate(sigmas[row])
    ]
    counts = classifier.count(inputs, requests).reshape(*sigmas.shape, classifier.num_classes)
    return np.take_along_axis(counts, selected[:, None, None], axis=2)[:, :, 0]


def nearest_good(radii: Float64s, distance: Float64s) -> npt.NDArray[np.int64]:
    """`[batch]` index of the least distant candidate whose radius is all but the largest."""
    good = radii >= (1 - MARGIN) * radii.max(axis=1, keepdims=True)
    nearest: npt.NDArray[np.int64] = np.where(good, distance, np.inf).argmin(axis=1)
    return nearest

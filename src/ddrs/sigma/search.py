"""A search that reads the radius off a curve fitted to votes at a few scales."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy import special

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import Noise
from ddrs.sigma.policy import HIGH_OPTION, INITIAL_OPTION, LOW_OPTION, SigmaChoice, check_range
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs, VoteRequest

__all__ = ["SearchSigma", "fit_curve", "nearest_good", "soft_radii"]

Floats = npt.NDArray[np.float64]

SCALES = 16  # scales over the whole range, which get the first half of the votes
NEAR = 8  # scales around the best of them, which get the second half
SPREAD = 0.35  # those are within this factor (a natural logarithm) of it
WIDTH = 0.35  # distance and width of the bumps in log sigma
CANDIDATES = 97  # scales to choose from: steps of 3 % on the default range
PRIOR = 10.0  # standard deviation of the prior on a term of the parabola: 10 is as good as certain
BUMP_PRIOR = 0.5  # and on a bump
MARGIN = 0.005  # relative gain below which a scale nearer to the start is preferred
STEPS = 40  # of Fisher scoring; what a classifier's votes look like is settled after about ten
LARGEST_STEP = 10.0  # in units of Phi^-1(p): wild votes cannot throw a curve out of all bounds


@dataclass(frozen=True)
class SearchSigma:
    """A curve fitted to votes, first over the whole range of sigma, then around the best.

    For Gaussian noise R(sigma) = sigma Phi^-1(p(sigma)) is what Cohen et al. (2019) certify. It is
    smooth in sigma, while votes at any one sigma tell it poorly: where it is large, hardly a vote
    is lost. So half of the votes go in equal parts to a geometric grid, and

        Phi^-1(p) = a / sigma + b + c sigma + bumps in log sigma

    is fitted to all of them (probit regression): R is a parabola, from which the bumps may depart
    where the votes ask for it. The votes lost at large sigma then tell what is to be expected at
    small sigma. The other half goes to a few scales around the best one, and the fit to all votes
    decides.

    A fitted probability is trusted no further than so many votes at a single sigma could show.
    Among the scales within `MARGIN` of the largest radius the one nearest to `initial` is chosen.

    Args:
        initial: the scale the classifier was trained with.
        low: least sigma; a quarter of `initial` by default.
        high: largest sigma; four times `initial` by default.
        votes: the most forward passes spent on one input.

    Raises:
        ConfigurationError: not 0 < low <= initial <= high, or too few votes for the scales.
    """

    initial: float = field(metadata=INITIAL_OPTION)
    low: float | None = field(default=None, metadata=LOW_OPTION)
    high: float | None = field(default=None, metadata=HIGH_OPTION)
    votes: int = field(
        default=2000,
        metadata={"flag": "--search-votes", "metavar": "N", "help": "Votes per input of search."},
    )
    per_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range(self.initial, self.low, self.high)
        if self.votes < 2 * SCALES:
            raise ConfigurationError(
                f"SearchSigma needs at least {2 * SCALES} votes, got {self.votes}"
            )

    @property
    def cost(self) -> int:
        """Forward passes: the vote budget, as far as it divides into equal parts."""
        first, second = self._parts()
        return SCALES * first + NEAR * second

    def scales(self) -> Floats:
        """`[SCALES]` where the first votes are cast: a geometric grid from `low` to `high`."""
        return np.geomspace(*check_range(self.initial, self.low, self.high), SCALES)

    def candidates(self) -> Floats:
        """`[CANDIDATES + 1]` to choose from: `initial`, then a finer grid of the same range."""
        low, high = check_range(self.initial, self.low, self.high)
        return np.concatenate([[self.initial], np.geomspace(low, high, CANDIDATES)])

    def choose(
        self, classifier: NoisyClassifier, inputs: Inputs, selected: npt.NDArray[np.int64]
    ) -> SigmaChoice:
        """Vote, fit, vote around the best, fit again, and take the best candidate of each input."""
        first, second = self._parts()
        low, high = check_range(self.initial, self.low, self.high)
        scales = np.tile(self.scales(), (len(inputs), 1))
        votes = _votes(classifier, inputs, selected, scales, first, "search")
        best, _ = self._best(classifier.noise, scales, votes, np.full_like(votes, first))
        around = best[:, None] * np.exp(np.linspace(-SPREAD, SPREAD, NEAR))
        around = np.clip(around, low, high)
        more = _votes(classifier, inputs, selected, around, second, "search-near")
        sigma, radius = self._best(
            classifier.noise,
            np.concatenate([scales, around], axis=1),
            np.concatenate([votes, more], axis=1),
            np.concatenate([np.full_like(votes, first), np.full_like(more, second)], axis=1),
        )
        return SigmaChoice(sigma, np.full(len(inputs), self.cost, dtype=np.int64), radius)

    def _parts(self) -> tuple[int, int]:
        """Votes a scale, of the first and of the second half."""
        first = self.votes // 2 // SCALES
        return first, (self.votes - first * SCALES) // NEAR

    def _best(
        self,
        noise: Noise,
        sigma: Floats,
        votes: npt.NDArray[np.int64],
        n: npt.NDArray[np.int64],
    ) -> tuple[Floats, Floats]:
        """Candidates that the votes speak for, and their radii; arguments `[batch, scales]`."""
        candidates = self.candidates()
        curve = fit_curve(self._features(sigma), votes, n, self._prior())
        p = special.ndtr(np.einsum("bf,cf->bc", curve, self._features(candidates)))
        cast = n.sum(axis=1, keepdims=True)
        radii = soft_radii(noise, candidates, (cast * p + 0.5) / (cast + 1))
        best = nearest_good(radii, np.abs(np.log(candidates / self.initial)))
        return candidates[best], radii[np.arange(len(radii)), best]

    def _features(self, sigma: Floats) -> Floats:
        """`[..., features]` terms of Phi^-1(p), each at most 1, for `[...]` scales."""
        low, high = check_range(self.initial, self.low, self.high)
        parabola = np.stack([low / sigma, np.ones_like(sigma), sigma / high], axis=-1)
        distance = (np.log(sigma)[..., None] - self._centres()) / WIDTH
        return np.concatenate([parabola, np.exp(-(distance**2) / 2)], axis=-1)

    def _centres(self) -> Floats:
        """The middles of the bumps, in log sigma."""
        low, high = np.log(check_range(self.initial, self.low, self.high))
        return np.linspace(low, high, round((high - low) / WIDTH) + 1)

    def _prior(self) -> Floats:
        """`[features]` standard deviations."""
        return np.concatenate([np.full(3, PRIOR), np.full(len(self._centres()), BUMP_PRIOR)])


def _votes(
    classifier: NoisyClassifier,
    inputs: Inputs,
    selected: npt.NDArray[np.int64],
    scales: Floats,
    n: int,
    stage: str,
) -> npt.NDArray[np.int64]:
    """`[batch, scales]` votes for the selected class, n at each of an input's own scales.

    Every scale has draws of its own: the errors of neighbours then average out in the fit.
    """
    requests = [
        VoteRequest(row, float(sigma), n, inputs.stream(row, f"{stage}-{k}"))
        for row in range(len(inputs))
        for k, sigma in enumerate(scales[row])
    ]
    counts = classifier.count(inputs, requests).reshape(*scales.shape, classifier.num_classes)
    return np.take_along_axis(counts, selected[:, None, None], axis=2)[:, :, 0]


def fit_curve(
    features: Floats, votes: npt.NDArray[np.int64], n: npt.NDArray[np.int64], prior: Floats
) -> Floats:
    """Probit regression for every input: votes ~ Binomial(n, Phi(features @ curve)).

    The normal prior on each coefficient makes the log posterior strictly concave, so the curve is
    unique even where no vote, or every vote, is for the class. Fisher scoring takes the same
    number of steps whatever the input, so that no input's curve depends on the others.

    Args:
        features: `[batch, scales, features]`.
        votes: `[batch, scales]` votes for the selected class.
        n: `[batch, scales]` votes cast at each scale.
        prior: `[features]` standard deviations of the coefficients around 0.

    Returns:
        `[batch, features]` coefficients of largest posterior density.
    """
    curve = np.zeros((len(votes), len(prior)))
    for _ in range(STEPS):
        z = np.einsum("bf,bsf->bs", curve, features)
        log_density = -(z**2 + np.log(2 * np.pi)) / 2
        won = log_density - special.log_ndtr(z)
        lost = log_density - special.log_ndtr(-z)
        slope = votes * np.exp(won) - (n - votes) * np.exp(lost)
        gradient = np.einsum("bs,bsf->bf", slope, features) - curve / prior**2
        weighted = (n * np.exp(won + lost))[..., None] * features
        information = weighted.transpose(0, 2, 1) @ features + np.diag(prior**-2)
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        largest = np.abs(np.einsum("bf,bsf->bs", step, features)).max(axis=1, keepdims=True)
        curve += step * (LARGEST_STEP / np.maximum(largest, LARGEST_STEP))
    return curve


def soft_radii(noise: Noise, sigma: Floats, p: Floats) -> Floats:
    """`[batch, candidates]` radii of class probabilities p, 0 where the class does not win."""
    top = torch.from_numpy(p)
    radii: Floats = noise.soft_radius(torch.from_numpy(sigma), top, 1 - top).numpy()
    return np.maximum(radii, 0.0)


def nearest_good(radii: Floats, distance: Floats) -> npt.NDArray[np.int64]:
    """`[batch]` index of the least distant candidate whose radius is all but the largest."""
    good = radii >= (1 - MARGIN) * radii.max(axis=1, keepdims=True)
    nearest: npt.NDArray[np.int64] = np.where(good, distance, np.inf).argmin(axis=1)
    return nearest

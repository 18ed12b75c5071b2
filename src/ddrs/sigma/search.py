"""A search that spends its votes once, on a few scales, and reads the radius off a fitted curve."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy import special

from ddrs.errors import ConfigurationError
from ddrs.noise import Noise
from ddrs.sigma.policy import SigmaChoice, check_range
from ddrs.votes import Inputs, NoisyClassifier, VoteRequest

__all__ = ["SearchSigma", "fit_curve", "nearest_good", "soft_radii"]

Floats = npt.NDArray[np.float64]

SCALES = 16  # scales that get votes
CANDIDATES = 97  # scales to choose from: steps of 3 % on the default range
PRIOR = 10.0  # standard deviation of the prior on a coefficient: 10 is as good as certain
MARGIN = 0.01  # relative gain below which a scale nearer to the start is preferred
STEPS = 40  # of Fisher scoring; what a classifier's votes look like is settled after about ten
LARGEST_STEP = 10.0  # in units of Phi^-1(p): wild votes cannot throw a curve out of all bounds


@dataclass(frozen=True)
class SearchSigma:
    """A parabola R(sigma) = a + b sigma + c sigma^2, fitted to votes over a geometric grid.

    For Gaussian noise R(sigma) = sigma Phi^-1(p(sigma)) is what Cohen et al. (2019) certify. It is
    smooth in sigma and for most inputs it has one maximum (Kung & Chen 2023), while votes at any
    one sigma tell it poorly: where it is large, hardly a vote is lost. So every scale of the grid
    gets the same few votes for the selected class, and Phi^-1(p) = a / sigma + b + c sigma is
    fitted to all of them (probit regression); the votes lost at large sigma then tell what is to
    be expected at small sigma.

    A fitted probability is trusted no further than so many votes at a single sigma could show.
    Among the scales within `MARGIN` of the largest radius the one nearest to `initial` is chosen.

    Args:
        initial: the scale the classifier was trained with.
        low: least sigma; a quarter of `initial` by default.
        high: largest sigma; four times `initial` by default.
        votes: the most forward passes spent on one input.

    Raises:
        ConfigurationError: not 0 < low <= initial <= high, or fewer votes than scales.
    """

    initial: float
    low: float | None = None
    high: float | None = None
    votes: int = 1600
    per_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range(self.initial, self.low, self.high)
        if self.votes < SCALES:
            raise ConfigurationError(f"SearchSigma needs at least {SCALES} votes, got {self.votes}")

    @property
    def cost(self) -> int:
        """Forward passes: the vote budget, in equal parts for the scales."""
        return self.votes // SCALES * SCALES

    def scales(self) -> Floats:
        """`[SCALES]` where the votes are cast: a geometric grid from `low` to `high`."""
        return np.geomspace(*check_range(self.initial, self.low, self.high), SCALES)

    def candidates(self) -> Floats:
        """`[CANDIDATES + 1]` to choose from: `initial`, then a finer grid of the same range."""
        low, high = check_range(self.initial, self.low, self.high)
        return np.concatenate([[self.initial], np.geomspace(low, high, CANDIDATES)])

    def choose(
        self, classifier: NoisyClassifier, inputs: Inputs, selected: npt.NDArray[np.int64]
    ) -> SigmaChoice:
        """Vote at every scale, fit, and take the best candidate of each input."""
        scales, n = self.scales(), self.votes // SCALES
        # Draws of their own for every scale: the errors of neighbours then average out in the fit.
        requests = [
            VoteRequest(row, float(sigma), n, inputs.stream(row, f"search-{k}"))
            for row in range(len(inputs))
            for k, sigma in enumerate(scales)
        ]
        counts = classifier.count(inputs, requests)
        counts = counts.reshape(len(inputs), SCALES, classifier.num_classes)
        votes = np.take_along_axis(counts, selected[:, None, None], axis=2)[:, :, 0]
        candidates = self.candidates()
        curve = fit_curve(self._features(scales), votes, n)
        p = special.ndtr(np.einsum("bf,cf->bc", curve, self._features(candidates)))
        radii = soft_radii(classifier.noise, candidates, (self.cost * p + 0.5) / (self.cost + 1))
        sigma = candidates[nearest_good(radii, np.abs(np.log(candidates / self.initial)))]
        return SigmaChoice(sigma, np.full(len(inputs), self.cost, dtype=np.int64))

    def _features(self, sigma: Floats) -> Floats:
        """`[sigmas, 3]` terms of Phi^-1(p), each at most 1, so that one prior fits all."""
        low, high = check_range(self.initial, self.low, self.high)
        return np.stack([low / sigma, np.ones_like(sigma), sigma / high], axis=1)


def fit_curve(features: Floats, votes: npt.NDArray[np.int64], n: int) -> Floats:
    """Probit regression for every input: votes ~ Binomial(n, Phi(features @ curve)).

    The prior N(0, PRIOR^2) on each coefficient makes the log posterior strictly concave, so the
    curve is unique even where no vote, or every vote, is for the class. Fisher scoring takes the
    same number of steps whatever the input, so that no input's curve depends on the others.

    Args:
        features: `[scales, features]`.
        votes: `[batch, scales]` votes for the selected class.
        n: votes cast at each scale.

    Returns:
        `[batch, features]` coefficients of largest posterior density.
    """
    curve = np.zeros((len(votes), features.shape[1]))
    prior = np.eye(features.shape[1]) / PRIOR**2
    for _ in range(STEPS):
        z = np.einsum("bf,sf->bs", curve, features)
        log_density = -(z**2 + np.log(2 * np.pi)) / 2
        won = log_density - special.log_ndtr(z)
        lost = log_density - special.log_ndtr(-z)
        slope = votes * np.exp(won) - (n - votes) * np.exp(lost)
        gradient = np.einsum("bs,sf->bf", slope, features) - curve / PRIOR**2
        information = np.einsum("bs,sf,sg->bfg", n * np.exp(won + lost), features, features)
        step = np.linalg.solve(information + prior, gradient[..., None])[..., 0]
        largest = np.abs(np.einsum("bf,sf->bs", step, features)).max(axis=1, keepdims=True)
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

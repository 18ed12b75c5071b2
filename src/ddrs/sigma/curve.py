"""A curve through votes at several values of sigma, and the radii that it promises."""

import numpy as np
import numpy.typing as npt
import torch
from scipy import special

from ddrs.noise.distributions import Noise

__all__ = ["fit_curve", "probabilities", "soft_radii"]

Float64s = npt.NDArray[np.float64]

STEPS = 40  # of Fisher scoring; what a classifier's votes look like is settled after about ten
LARGEST_STEP = 10.0  # in units of Phi^-1(p): wild votes cannot throw a curve out of all bounds


def fit_curve(
    features: Float64s, votes: npt.NDArray[np.int64], n: npt.NDArray[np.int64], prior: Float64s
) -> Float64s:
    """Probit regression for every input: votes ~ Binomial(n, Phi(features @ curve)).

    The normal prior on each coefficient makes the log posterior strictly concave, so the curve is
    unique even where no vote, or every vote, is for the class. Fisher scoring takes the same
    number of steps whatever the input, so that no input's curve depends on the others.

    Args:
        features: `[batch, sigmas, features]`.
        votes: `[batch, sigmas]` votes for the selected class.
        n: `[batch, sigmas]` votes cast at each sigma.
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


def probabilities(curve: Float64s, features: Float64s) -> Float64s:
    """`[batch, sigmas]` probabilities Phi(features @ curve), for `[sigmas, features]` features."""
    p: Float64s = special.ndtr(np.einsum("bf,sf->bs", curve, features))
    return p


def soft_radii(noise: Noise, sigma: Float64s, p: Float64s) -> Float64s:
    """`[batch, sigmas]` radii of class probabilities p, 0 where the class does not win."""
    top = torch.from_numpy(p)
    radii: Float64s = noise.soft_radius(torch.from_numpy(sigma), top, 1 - top).numpy()
    return np.maximum(radii, 0.0)

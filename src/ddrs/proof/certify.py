"""Counts of votes -> what they prove. Pure functions; nothing here draws, stores or prints."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddrs.errors import InputError
from ddrs.noise.distributions import Noise, noise_for_norm
from ddrs.proof.bounds import Confidence, binomial_p_value
from ddrs.proof.certificate import ABSTAIN, Certificate, Evidence

__all__ = ["Claim", "certify", "predict", "proved_radius", "recompute_radius"]

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Claim:
    """What one input's own votes prove; the fields are those of `Certificate`."""

    prediction: int
    radius: float
    p_lower: float
    p_upper: float
    count: int
    runner_up: int


def certify(
    counts: Counts, selected: int, *, sigma: float, noise: Noise, confidence: Confidence
) -> Claim:
    """CERTIFY of Cohen et al. (2019, section 3.2.2), after the votes are in.

    With probability at least 1 - alpha over the estimation votes: if the claim is not an
    abstention, the smoothed classifier g(x) = argmax_c P(f(x + sigma e) = c) answers `prediction`
    at every point closer to x than `radius`, in the norm that the noise certifies.

    The guarantee needs `selected` to be independent of `counts`: it must come from other votes. It
    holds at all looks of `confidence` at once, if their numbers of votes were fixed beforehand.

    Args:
        counts: `[classes]` estimation votes at x.
        selected: the class selected beforehand.
        sigma: scale of the noise under which the votes were cast.
        noise: the smoothing distribution.
        confidence: alpha, the kind of bound, and how often the votes could be looked at.
    """
    n = int(counts.sum())
    count = int(counts[selected])
    runner_up = int(np.delete(counts, selected).max(initial=0))
    p_lower, p_upper = confidence.interval(count, runner_up, n)
    radius = noise.radius(sigma, p_lower, p_upper)
    prediction = int(selected) if radius > 0 else ABSTAIN
    return Claim(prediction, radius, p_lower, p_upper, count, runner_up)


def predict(counts: Counts, *, alpha: float) -> int:
    """PREDICT of Cohen et al. (2019, section 3.2.1): the smoothed class, or ABSTAIN.

    An answer other than ABSTAIN is wrong with probability at most alpha.

    Args:
        counts: `[classes]` votes.
        alpha: failure probability.
    """
    if len(counts) < 2:
        raise InputError(f"a prediction needs votes over two classes or more, got {len(counts)}")
    top = int(counts.argmax())
    runner_up = int(np.delete(counts, top).max())
    return top if binomial_p_value(int(counts[top]), runner_up) <= alpha else ABSTAIN


def recompute_radius(certificate: Certificate) -> float:
    """`own_radius` from the counts in the record alone; 0 where they prove nothing.

    Every piece of evidence must hold, so it is the least of their radii.

    Raises:
        ConfigurationError: the record says what never can be, such as more votes than n.
    """
    return min(proved_radius(part) for part in certificate.parts)


def proved_radius(evidence: Evidence) -> float:
    """The radius that one piece of evidence proves, from its counts alone.

    The classes of a pair move towards each other, so `Noise.radius` is half the distance between
    them; a level of a cascade compares one class with a constant, which stays where it is
    (docs/cascade.md).
    """
    p_lower, p_upper = evidence.interval
    noise = noise_for_norm(evidence.norm)
    if not evidence.p0:
        return noise.radius(evidence.sigma, p_lower, p_upper)
    if evidence.role == "answer":
        return 2 * noise.radius(evidence.sigma, p_lower, evidence.p0)
    return 2 * noise.radius(evidence.sigma, evidence.p0, p_upper)

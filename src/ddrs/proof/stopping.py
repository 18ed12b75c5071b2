"""When the estimation of an input stops: fewer votes for most, and every bound still holds.

The votes of an input may be looked at at times fixed beforehand, and the bounds of each look hold
at level alpha / looks, so all of them hold together and the sampling may stop at any look, for any
reason (`bounds.Confidence`). That it stops in time is a matter of cost alone: giving up
proves less and never something false, so the guess at what more votes could prove needs no
guarantee.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, floor, inf, log2

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import Noise
from ddrs.proof.bounds import Bound, Confidence, lower_bound, upper_bound
from ddrs.proof.certify import Claim, Counts, certify

__all__ = [
    "AtRadii",
    "Estimation",
    "RadiusTolerance",
    "StoppingRule",
    "attainable",
    "hoped_counts",
    "settled",
    "stopping_rule",
]

# Closer looks stop sooner, but share alpha among more of them. Simulated on published certificates
# (Cohen et al. 2019, CIFAR-10) and n = 100 000, a ratio of 1.25 takes a sixth to a quarter fewer
# votes than 2 and costs a tenth of a point of certified accuracy; 1.1 saves little more.
RATIO = (5, 4)

FIRST_LOOK = 100

MOST_VOTES = 2**53  # beyond, a count is no exact float, and no bound could be computed from it

# What has less than this probability is not waited for. A level as strict as that of the bounds
# takes up to half as many votes again, for less than a tenth of a point of certified accuracy.
IMPLAUSIBLE = 0.01


@dataclass(frozen=True)
class AtRadii:
    """Is the input certified at these radii? Settled once each one is proved or out of reach.

    Attributes:
        radii: in the units of the input; radius 0 asks whether any class is certified.

    Raises:
        ConfigurationError: no radii, or one that is not finite and at least 0.
    """

    radii: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.radii or not all(0 <= r < inf for r in self.radii):
            raise ConfigurationError(
                f"at_radii must be one or more radii of at least 0, got {list(self.radii)}"
            )

    def settled(self, radius: float, attainable: float) -> bool:
        """Whether more votes would change no answer, given the radius now and the `attainable`."""
        return all(_reaches(radius, r) or not _reaches(attainable, r) for r in self.radii)

    def __str__(self) -> str:
        radii = ", ".join(f"{r:g}" for r in self.radii)
        return f"until settled at r = {radii}; low at other r"


@dataclass(frozen=True)
class RadiusTolerance:
    """How large is the radius? Settled once more votes could add less than `tolerance`.

    Attributes:
        tolerance: in the units of the input.

    Raises:
        ConfigurationError: the tolerance is not positive and finite.
    """

    tolerance: float

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < inf:
            raise ConfigurationError(
                f"radius_tolerance must be positive and finite, got {self.tolerance}"
            )

    def settled(self, radius: float, attainable: float) -> bool:
        """Whether more votes would hardly add to the radius now, given the `attainable` one."""
        return attainable - radius < self.tolerance

    def __str__(self) -> str:
        return f"until more votes could add less than {self.tolerance:g}"


StoppingRule = AtRadii | RadiusTolerance


def stopping_rule(
    at_radii: Iterable[float] | None, radius_tolerance: float | None
) -> StoppingRule | None:
    """The rule that a user asks for; None for a fixed number of votes.

    Raises:
        ConfigurationError: both are given, or a value that is no radius and no tolerance.
    """
    if at_radii is not None and radius_tolerance is not None:
        raise ConfigurationError("give at_radii or radius_tolerance, not both")
    try:
        radii = None if at_radii is None else tuple(map(float, at_radii))
        tolerance = None if radius_tolerance is None else float(radius_tolerance)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"at_radii takes a sequence of numbers and radius_tolerance a number: {error}"
        ) from error
    if radii is not None:
        return AtRadii(radii)
    return None if tolerance is None else RadiusTolerance(tolerance)


@dataclass(frozen=True)
class Estimation:
    """How the probabilities of one input are estimated: with how many votes, and how surely.

    Args:
        n: the most votes per input.
        alpha: probability with which one certificate may be wrong.
        bound: `"one-sided"` or `"two-sided"`.
        stopping: when an input needs no more votes; None for `n` votes each.

    Raises:
        ConfigurationError: a value that can never work.
    """

    n: int = 100_000
    alpha: float = 0.001
    bound: Bound = "one-sided"
    stopping: StoppingRule | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigurationError(f"n must be at least 1 vote, got n={self.n}")
        if self.n > MOST_VOTES:
            raise ConfigurationError(f"n must be at most {MOST_VOTES} votes, got n={self.n}")
        Confidence(self.alpha, self.bound)  # refuses what never can be

    def check_possible(self) -> None:
        """Refuse votes that prove nothing even if all of them agree.

        All n votes of one class give the lower bound level^(1/n), and a radius needs more than 1/2.

        Raises:
            ConfigurationError: n is too small for this alpha.
        """
        if self.is_possible():
            return
        enough = replace(self, n=self.n + 1)
        while not enough.is_possible():
            enough = replace(enough, n=enough.n + 1)
        raise ConfigurationError(
            f"n = {self.n} votes can certify nothing at alpha = {self.alpha:g}, even if all agree: "
            f"give n of at least {enough.n}"
        )

    def is_possible(self) -> bool:
        """Whether `n` votes of one class prove a radius."""
        sides = 1 if self.bound == "one-sided" else 2
        return self.n > log2(self.looks) + log2(sides) - log2(self.alpha)

    @cached_property
    def times(self) -> tuple[int, ...]:
        """The numbers of votes at which the votes may be looked at; the last is `n`.

        Geometric, ceil(n (4/5)^k) from 100 votes on, so that how far one can overshoot is a share
        of what one spends. Without a stopping rule there is one look, at `n`.
        """
        if self.stopping is None:
            return (self.n,)
        up, down = RATIO
        times = [self.n]
        k = 1
        while (time := -(-self.n * down**k // up**k)) >= FIRST_LOOK:
            times.append(time)
            k += 1
        return tuple(reversed(times))

    @property
    def looks(self) -> int:
        """How often the votes may be looked at."""
        return len(self.times)

    @cached_property
    def confidence(self) -> Confidence:
        """With which the bounds of every look hold, all of them together."""
        return Confidence(self.alpha, self.bound, self.looks)


def settled(
    counts: Counts, selected: int, *, sigma: float, noise: Noise, estimation: Estimation
) -> bool:
    """Whether the votes so far end the estimation of an input.

    Args:
        counts: `[classes]` estimation votes.
        selected: the class to certify.
        sigma: scale of the noise under which the votes are cast.
        noise: the smoothing distribution.
        estimation: says when to stop.
    """
    seen = int(counts.sum())
    if estimation.stopping is None or seen >= estimation.n:
        return seen >= estimation.n
    claim = certify(counts, selected, sigma=sigma, noise=noise, confidence=estimation.confidence)
    best = attainable(claim, seen, sigma=sigma, noise=noise, estimation=estimation)
    return estimation.stopping.settled(claim.radius, best)


def attainable(
    claim: Claim, seen: int, *, sigma: float, noise: Noise, estimation: Estimation
) -> float:
    """The radius that the last look, at `n` votes, gives if all goes as well as is plausible.

    That is, if the class has the largest probability, and the runner-up the smallest, that the
    votes so far do not speak against (Clopper-Pearson bounds at level `IMPLAUSIBLE`), and the votes
    to come show them.

    Args:
        claim: what the votes so far prove.
        seen: how many they are.
        sigma: scale of the noise under which the votes are cast.
        noise: the smoothing distribution.
        estimation: says what the last look is, and how sure its bounds are.
    """
    n = estimation.n
    count, runner_up = hoped_counts(claim.count, claim.runner_up, seen, n)
    return noise.radius(sigma, *estimation.confidence.interval(count, runner_up, n))


def hoped_counts(count: int, runner_up: int, seen: int, n: int) -> tuple[int, int]:
    """Counts of the class and of the runner-up after `n` votes, if all goes as well as plausible.

    Args:
        count: votes for the class among the `seen` ones.
        runner_up: largest number of votes for any other class.
        seen: votes so far.
        n: votes at the last look.
    """
    hoped = min(ceil(n * upper_bound(count, seen, IMPLAUSIBLE)), count + n - seen)
    feared = floor(n * lower_bound(runner_up, seen, IMPLAUSIBLE))
    return hoped, min(max(feared, runner_up), n - hoped)


def _reaches(radius: float, r: float) -> bool:
    """Whether `radius` counts as certified at `r`: an abstention, radius 0, does so nowhere."""
    return radius > 0 and radius >= r

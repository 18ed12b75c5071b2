"""What is wrong with one certificate by itself."""

from collections.abc import Iterator
from math import isclose

from ddrs.errors import ConfigurationError
from ddrs.proof.certificate import ABSTAIN, Certificate
from ddrs.proof.certify import recompute_radius

__all__ = ["TOLERANCE", "certificate_faults"]

TOLERANCE = 1e-9  # relative; builds of SciPy differ in the last digits


def certificate_faults(certificate: Certificate) -> Iterator[str]:
    """What is wrong with one record by itself: nothing, if it is sound."""
    c = certificate
    norms = {part.norm for part in c.parts}
    if len(norms) > 1:
        yield f"its pieces of evidence are of several norms: {', '.join(sorted(norms))}"
        return
    try:
        proved = recompute_radius(c)
        bounds = [part.interval for part in c.parts]
    except ConfigurationError as error:
        yield str(error)
        return
    if not c.own_radius <= proved * (1 + TOLERANCE):
        yield f"own radius {c.own_radius} is more than the {proved} that its counts prove"
    elif not isclose(c.own_radius, proved, rel_tol=TOLERANCE, abs_tol=1e-300):
        yield f"own radius {c.own_radius} is not the {proved} that its counts prove"
    for part, (p_lower, p_upper) in zip(c.parts, bounds, strict=True):
        for name, stated, value in (
            ("p_lower", part.p_lower, p_lower),
            ("p_upper", part.p_upper, p_upper),
        ):
            if not isclose(stated, value, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                yield f"{name} {stated} is not the {value} that its counts prove"
    if c.votes < c.n0 + c.n:
        yield f"it took {c.votes} votes, fewer than its n0 and n, {c.n0} and {c.n}"
    if (c.own_prediction == ABSTAIN) != (c.own_radius == 0):
        yield f"class {c.own_prediction} goes with an own radius of {c.own_radius}"
    same = c.prediction == c.own_prediction
    if c.outcome == "abstained" and not (c.prediction == c.own_prediction == ABSTAIN):
        yield f"it abstained but predicts {c.prediction}"
    if c.outcome == "own" and not (same and c.radius == c.own_radius):
        yield f"its radius {c.radius} is called its own, which is {c.own_radius}"
    if c.outcome == "trimmed" and not (same and 0 <= c.radius <= c.own_radius):
        yield f"its radius {c.radius} is called trimmed from {c.own_radius}"
    if c.outcome == "unrecorded" and not (same and c.radius == 0):
        yield f"it is not recorded, but claims class {c.prediction} with radius {c.radius}"
    if c.prediction == ABSTAIN and c.radius != 0:
        yield f"an abstention claims a radius of {c.radius}"

"""The rule once more, written from the method's text alone, in slow arithmetic."""

import math
from fractions import Fraction

import mpmath
import numpy as np

DIGITS = 420  # more than the sums of squares in these tests span, so that ties are exact


def gap(a, b, norm):
    """|a - b| as an mpf with `DIGITS` digits."""
    differences = [
        abs(mpmath.mpf(float(p)) - mpmath.mpf(float(q))) for p, q in zip(a, b, strict=True)
    ]
    if norm == "l1":
        return mpmath.fsum(differences)
    return mpmath.sqrt(mpmath.fsum(v * v for v in differences))


def disjoint(a, ra, b, rb, norm):
    """Whether two open balls are disjoint, in rational arithmetic."""
    differences = [abs(Fraction(float(p)) - Fraction(float(q))) for p, q in zip(a, b, strict=True)]
    reach = Fraction(ra) + Fraction(rb)
    if norm == "l1":
        return sum(differences) >= reach
    return sum(v * v for v in differences) >= reach * reach


class Reference:
    """Entries (x, class, radius) in order; radii are those that the memory returned."""

    def __init__(self, norm):
        self.norm = norm
        self.entries = []
        self.answers = {}

    def gap(self, a, b):
        """The distance of two points."""
        return gap(a, b, self.norm)

    def expect(self, x, claimed, radius):
        """(class, exact radius, outcome) that the rule gives, or the stored answer."""
        key = tuple(float(v) + 0.0 for v in x)
        if key in self.answers:
            return self.answers[key]
        with mpmath.workdps(DIGITS):
            balls = [(self.gap(x, e), c, mpmath.mpf(r)) for e, c, r in self.entries]
            own = mpmath.mpf(0 if claimed == -1 else radius)
            inside = [(r - d, c) for d, c, r in balls if d < r]
            if not inside and claimed == -1:
                return -1, mpmath.mpf(0), "abstained"
            assert len({c for _, c in inside}) <= 1
            kept = inside[0][1] if inside else claimed
            free = min([d - r for d, c, r in balls if c != kept], default=mpmath.inf)
            if not inside:
                exact = min(own, free)
                return kept, exact, "own" if exact == own else "trimmed"
            inherited = max(room for room, _ in inside)
            if claimed != kept:
                return kept, inherited, "inherited"
            exact = max(inherited, min(own, free))
            if exact == own:
                return kept, exact, "own"
            return kept, exact, "inherited" if exact == inherited else "trimmed"

    def record(self, x, answer):
        """Note the memory's answer, after the invariant has been checked against it."""
        key = tuple(float(v) + 0.0 for v in x)
        if answer.prediction == -1 or key in self.answers:
            return
        for other, c, r in self.entries:
            if c != answer.prediction:
                assert disjoint(x, answer.radius, other, r, self.norm)
        self.entries.append((x, answer.prediction, answer.radius))
        self.answers[key] = (answer.prediction, answer.radius, answer.outcome)


class BruteForce(Reference):
    """The same for thousands of entries: float64 finds those of each class that can be closest.

    Args:
        norm: of the distances.
        count: how many entries there will be at most.
        dimension: of the inputs, whose values are multiples of 2^-GRID.
    """

    GRID = 80

    def __init__(self, norm, count, dimension):
        super().__init__(norm)
        self._x = np.empty((count, dimension))
        self._classes = np.empty(count, int)
        self._radii = np.empty(count)

    def gap(self, a, b):
        p, q = ([int(v) for v in np.ldexp(np.asarray(c, float), self.GRID)] for c in (a, b))
        if self.norm == "l1":
            total = mpmath.mpf(sum(abs(v - w) for v, w in zip(p, q, strict=True)))
        else:
            total = mpmath.sqrt(sum((v - w) ** 2 for v, w in zip(p, q, strict=True)))
        return mpmath.ldexp(total, -self.GRID)

    def expect(self, x, claimed, radius):
        m = len(self.entries)
        apart = np.abs(self._x[:m] - x)
        distance = apart.sum(axis=1) if self.norm == "l1" else np.sqrt((apart**2).sum(axis=1))
        free = distance - self._radii[:m]
        close = np.zeros(m, bool)
        for c in np.unique(self._classes[:m]):
            own = self._classes[:m] == c
            close |= own & (free <= free[own].min() + 1e-6)
        whole, self.entries = self.entries, [self.entries[i] for i in np.flatnonzero(close)]
        try:
            return super().expect(x, claimed, radius)
        finally:
            self.entries = whole

    def record(self, x, answer):
        """Note the memory's answer; the audit of the memory checks the invariant."""
        key = tuple(float(v) + 0.0 for v in x)
        if answer.prediction == -1 or key in self.answers:
            return
        m = len(self.entries)
        self._x[m], self._classes[m], self._radii[m] = x, answer.prediction, answer.radius
        self.entries.append((x, answer.prediction, answer.radius))
        self.answers[key] = (answer.prediction, answer.radius, answer.outcome)


def check(answer, expected):
    """The answer is the expected one, its radius rounded down and by less than one step."""
    prediction, exact, outcome = expected
    assert (answer.prediction, answer.outcome) == (prediction, outcome)
    with mpmath.workdps(DIGITS):
        assert mpmath.mpf(answer.radius) <= exact
        above = math.nextafter(answer.radius, math.inf)
        assert exact == answer.radius or exact < mpmath.mpf(above)

"""The record of one certified prediction, from which anyone can recompute its radius."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from ddrs.proof.bounds import Bound, Confidence, upper_bound

__all__ = ["ABSTAIN", "Certificate", "Evidence", "Outcome", "Role"]

ABSTAIN = -1
"""The prediction that makes no claim."""

Outcome = Literal["own", "inherited", "trimmed", "abstained", "unrecorded"]
"""Where a radius comes from: the input's own votes, the ball that covers it, or a cut between."""

Role = Literal["answer", "pass", "route"]
"""What votes are evidence of; see `Evidence`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Votes of one classifier at one sigma, and what they prove.

    Attributes:
        role: what the votes are evidence of; `"answer"`: the certified class wins within a radius;
            `"pass"`: no other class has a probability above `p0` within a radius; `"route"`: the
            cell of the answer wins within a radius among those that a router picks from, and the
            counts are of its votes for them (docs/routed.md).
        sigma: scale of the noise: standard deviation (l2) or half-width (l1).
        norm: `"l2"` (Gaussian noise) or `"l1"` (uniform noise).
        bound: `"one-sided"` or `"two-sided"`.
        p_lower: lower confidence bound of the selected class's probability under noise.
        p_upper: upper confidence bound of any other class's probability under noise.
        count: votes for the selected class among the `n` estimation votes.
        runner_up: largest number of estimation votes for any other class.
        n: estimation votes, counted until the estimation stopped.
        looks: how often the estimation votes could be looked at, each time at level alpha / looks;
            1 where `n` was fixed beforehand.
        alpha: probability with which the claim of these votes may be wrong.
        model_digest: SHA-256 of the classifier: weights, structure and precision.
        p0: what a level of a cascade compares a probability with (docs/cascade.md); 0 where the
            class wins by having more votes than any other.
    """

    role: Role = "answer"
    sigma: float
    norm: str
    bound: Bound
    p_lower: float
    p_upper: float
    count: int
    runner_up: int
    n: int
    looks: int = 1
    alpha: float
    model_digest: str
    p0: float = 0.0

    @property
    def confidence(self) -> Confidence:
        """How sure the bounds are; ConfigurationError if the record says what never can be."""
        return Confidence(self.alpha, self.bound, self.looks)

    @property
    def interval(self) -> tuple[float, float]:
        """(p_lower, p_upper) that the counts prove.

        One-sided votes for a level to be passed bound the others alone, at the whole level: nothing
        is proved of the selected class.

        Raises:
            ConfigurationError: the record says what never can be, such as more votes than n.
        """
        both = self.confidence.interval(self.count, self.runner_up, self.n)
        if self.role == "pass" and self.bound == "one-sided":
            return 0.0, upper_bound(self.runner_up, self.n, self.alpha / self.looks)
        return both


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Within `radius` of the input, in `norm`, the smoothed classifier answers `prediction`.

    `prediction` and `radius` are the answer; the rest is the evidence. `own_radius` follows from
    `count`, `runner_up`, `n`, `looks`, `alpha`, `bound`, `sigma` and `norm` alone
    (`ddrs.recompute_radius`); `radius` differs from it only where the memory had to cut it or
    could enlarge it (`outcome`).

    Most certificates rest on one piece of evidence, which stands in the fields from `sigma` on. One
    that rests on several has that of the answer there and the others in `further`.

    Attributes:
        prediction: the certified class, or `ABSTAIN`.
        radius: certified radius in `norm`, in the input's units, rounded down; 0 on abstention.
        outcome: `own`, `inherited`, `trimmed`, `abstained` or `unrecorded`.
        own_prediction: the class that the input's own votes certify, or `ABSTAIN`.
        own_radius: the radius that the input's own votes certify; 0 where they certify nothing.
        sigma, norm, bound, p_lower, p_upper, count, runner_up, n, looks: see `Evidence`.
        n0: selection votes.
        alpha: probability with which the claim of the own votes may be wrong; less than was asked
            for where earlier tries at the input had spent some. Of several pieces of evidence it is
            that of the first, and theirs add up.
        votes: noisy forward passes behind it: selection, choice of sigma and estimation.
        input_digest: SHA-256 of the input.
        model_digest: SHA-256 of the classifier: weights, structure and precision.
        seed: seed of the random streams.
        version: version of the library that made the record.
        p0: see `Evidence`.
        further: the other pieces of evidence.
    """

    prediction: int
    radius: float
    outcome: Outcome
    own_prediction: int
    own_radius: float
    sigma: float
    norm: str
    bound: Bound
    p_lower: float
    p_upper: float
    count: int
    runner_up: int
    n: int
    looks: int = 1
    n0: int
    alpha: float
    votes: int
    input_digest: str
    model_digest: str
    seed: int
    version: str
    p0: float = 0.0
    further: tuple[Evidence, ...] = ()

    @property
    def parts(self) -> tuple[Evidence, ...]:
        """Every piece of evidence, that of the answer first."""
        names = {field.name for field in fields(Evidence)} - {"role"}
        deciding = Evidence(**{name: getattr(self, name) for name in names})
        return deciding, *self.further

    def to_row(self) -> dict[str, Any]:
        """The record as a row of `certificates.parquet`, in plain types; floats keep every bit."""
        return {**asdict(self), "further": [asdict(part) for part in self.further]}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The record in a row of `certificates.parquet`, which has more columns."""
        found = {field.name: row[field.name] for field in fields(cls) if field.name in row}
        return cls(**found | _further(found))

    def to_json(self) -> str:
        """The record as one JSON object; floats keep every bit."""
        return json.dumps(self.to_row())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote; TypeError or ValueError if it is not one."""
        try:
            row = dict(json.loads(text))
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
        return cls(**row | _further(row))


def _further(row: Mapping[str, Any]) -> dict[str, tuple[Evidence, ...]]:
    return {"further": tuple(Evidence(**piece) for piece in row.get("further", ()))}

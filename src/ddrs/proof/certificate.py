"""The record of one certified prediction, from which anyone can recompute its radius."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ddrs.proof.bounds import Bound

__all__ = ["ABSTAIN", "Certificate", "Outcome"]

ABSTAIN = -1
"""The prediction that makes no claim."""

Outcome = Literal["own", "inherited", "trimmed", "abstained", "unrecorded"]
"""Where a radius comes from: the input's own votes, the ball that covers it, or a cut between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Within `radius` of the input, in `norm`, the smoothed classifier answers `prediction`.

    `prediction` and `radius` are the answer; the rest is the evidence. `own_radius` follows from
    `count`, `runner_up`, `n`, `looks`, `alpha`, `bound`, `sigma` and `norm` alone
    (`ddrs.recompute_radius`); `radius` differs from it only where the memory had to cut it or
    could enlarge it (`outcome`).

    Attributes:
        prediction: the certified class, or `ABSTAIN`.
        radius: certified radius in `norm`, in the input's units, rounded down; 0 on abstention.
        outcome: `own`, `inherited`, `trimmed`, `abstained` or `unrecorded`.
        own_prediction: the class that the input's own votes certify, or `ABSTAIN`.
        own_radius: the radius that the input's own votes certify; 0 where they certify nothing.
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
        n0: selection votes.
        alpha: probability with which the claim of the own votes may be wrong.
        votes: noisy forward passes behind it: selection, choice of sigma and estimation.
        input_digest: SHA-256 of the input.
        model_digest: SHA-256 of the classifier: weights, structure and precision.
        seed: seed of the random streams.
        version: version of the library that made the record.
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
    looks: int = 1  # records made before there was a choice do not have it
    n0: int
    alpha: float
    votes: int
    input_digest: str
    model_digest: str
    seed: int
    version: str

    def to_json(self) -> str:
        """The record as one JSON object; floats keep every bit."""
        return json.dumps(asdict(self))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Certificate":
        """The record in a row of `certificates.parquet`, which has more columns."""
        return cls(**{field.name: row[field.name] for field in fields(cls) if field.name in row})

    @classmethod
    def from_json(cls, text: str) -> "Certificate":
        """The record that `to_json` wrote; TypeError or ValueError if it is not one."""
        return cls(**json.loads(text))

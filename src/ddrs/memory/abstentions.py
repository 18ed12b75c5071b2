"""Abstentions that a memory remembers: every try at an input takes its share of one alpha.

The tries at one input, told apart by its digest, may together be wrong with the largest alpha that
was asked for. A try that abstains spends its share, and what the next one may spend is what is left
(`proof.tries`). Who asks for no more than was spent gets the abstention again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ddrs.errors import InputError
from ddrs.memory.claims import Claim
from ddrs.proof.certificate import ABSTAIN
from ddrs.proof.tries import alpha_left

__all__ = ["Abstention", "abstention_of", "abstention_row", "new_try", "permitted", "remembered"]


@dataclass(frozen=True, slots=True)
class Abstention:
    """A try that certified nothing, where no region answered either.

    Attributes:
        id: 1, 2, 3, ... in order of entry; abstentions are counted apart from the entries.
        input_digest: SHA-256 of the input.
        alpha: probability with which this try could be wrong.
        spent: the alpha that was asked for, all of which its input has spent with this try.
        evidence: what is given back with it, an opaque string.
    """

    id: int
    input_digest: str
    alpha: float
    spent: float
    evidence: str


def remembered(tries: Sequence[Abstention], asked: float) -> Abstention:
    """The abstention that is the answer for who asks for this alpha and may not try again.

    It is the one with which that alpha was spent, so that later tries at a larger one do not change
    what is answered; the last one where a share is left that can prove nothing.

    Args:
        tries: the abstentions of one input in order, at least one.
        asked: probability with which all tries at the input together may be wrong.
    """
    return next((each for each in tries if each.spent >= asked), tries[-1])


def permitted(claim: Claim, tries: Sequence[Abstention]) -> Claim:
    """The claim, or the abstention in its place if its alpha is more than is left.

    The same try once more, with the same evidence, is permitted: it abstains again.

    Args:
        claim: made from a try at an input.
        tries: the abstentions of that input in order.
    """
    if claim.alpha is None or not tries or _is_among(claim, tries):
        return claim
    if claim.alpha <= alpha_left(claim.asked, tries[-1].spent):
        return claim
    evidence = remembered(tries, claim.asked).evidence
    return replace(claim, prediction=ABSTAIN, radius=0.0, evidence=evidence)


def new_try(claim: Claim, tries: Sequence[Abstention], number: int) -> Abstention | None:
    """What is to be remembered of a permitted claim that abstains; None where nothing is.

    Args:
        claim: as `permitted` gives it.
        tries: the abstentions of its input in order.
        number: that the abstention gets.
    """
    if claim.alpha is None or claim.evidence is None or _is_among(claim, tries):
        return None
    return Abstention(number, claim.point.digest, claim.alpha, claim.asked, claim.evidence)


def abstention_row(abstention: Abstention) -> dict[str, Any]:
    """The columns in the table `abstentions`, but for the place in the chain."""
    return asdict(abstention)


def abstention_of(row: Mapping[Any, Any]) -> Abstention:
    """The abstention that a row holds.

    Raises:
        InputError: the row was altered or damaged.
    """
    for name in ("input_digest", "evidence"):
        if not isinstance(row[name], str):
            raise InputError(f"its {name} {row[name]!r} is no text")
    for name in ("alpha", "spent"):
        if not isinstance(row[name], float) or not 0 < row[name] < 1:
            raise InputError(f"its {name} {row[name]!r} is no probability between 0 and 1")
    names = ("id", "input_digest", "alpha", "spent", "evidence")
    return Abstention(*(row[name] for name in names))


def _is_among(claim: Claim, tries: Sequence[Abstention]) -> bool:
    same = any(each.evidence == claim.evidence for each in tries)
    return same and claim.prediction == ABSTAIN

"""Votes for the several pieces of evidence that one certificate rests on, until it is settled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ddrs.proof.certificate import ABSTAIN, Certificate, Evidence
from ddrs.proof.certify import proved_radius, recompute_radius
from ddrs.proof.stopping import Estimation, hoped_counts
from ddrs.version import __version__
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs, VoteRequest

__all__ = ["Piece", "certificate_of", "estimate_pieces"]


@dataclass
class Piece:
    """One piece of evidence of one input while its votes come in.

    Attributes:
        classifier: whose votes they are.
        selected: the class that they are to prove something of.
        request: where they come from.
        counts: `[classes]` votes so far.
        blank: the evidence before any vote.
    """

    classifier: NoisyClassifier
    selected: int
    request: VoteRequest
    counts: npt.NDArray[np.int64]
    blank: Evidence

    @classmethod
    def of(
        cls, classifier: NoisyClassifier, selected: int, inputs: Inputs, row: int, stage: str,
        blank: Evidence,
    ) -> "Piece":  # fmt: skip
        """A piece without votes, of the input at `row`; they come from the stream of `stage`."""
        request = VoteRequest(row, blank.sigma, 0, inputs.stream(row, stage))
        counts = np.zeros(classifier.num_classes, dtype=np.int64)
        return cls(classifier, selected, request, counts, blank)

    @property
    def evidence(self) -> Evidence:
        """What the votes so far are evidence of."""
        runner_up = int(np.delete(self.counts, self.selected).max(initial=0))
        return _with_counts(
            self.blank, int(self.counts[self.selected]), runner_up, int(self.counts.sum())
        )


def estimate_pieces(
    inputs: Inputs, pieces: Sequence[Sequence[Piece]], estimation: Estimation
) -> None:
    """Draw the votes of all pieces of each input, until each is settled.

    Args:
        inputs: the inputs.
        pieces: those of each input.
        estimation: how many votes of a piece, and when to stop.
    """
    active = [piece for one in pieces for piece in one]
    for before, seen in pairwise((0, *estimation.times)):
        for classifier in dict.fromkeys(piece.classifier for piece in active):
            asked = [piece for piece in active if piece.classifier is classifier]
            for piece in asked:
                piece.request.n = seen - before
            votes = classifier.count(inputs, [piece.request for piece in asked])
            for piece, counts in zip(asked, votes, strict=True):
                piece.counts += counts
        active = _unsettled(active, pieces, estimation)


def certificate_of(
    proving: Sequence[Evidence],
    pieces: Sequence[Piece],
    inputs: Inputs,
    row: int,
    *,
    n0: int,
    selection: int,
) -> Certificate:
    """The certificate of one input, whose radius is the least that its evidence proves.

    Args:
        proving: the evidence that it rests on, that of the answer first.
        pieces: all that was voted on; the first has the selected class.
        inputs: the inputs.
        row: which of them.
        n0: selection votes of one classifier.
        selection: selection votes of all of them.
    """
    answer, *further = proving
    selected = pieces[0].selected
    names = {name: getattr(answer, name) for name in Evidence.__slots__ if name != "role"}
    certificate = Certificate(
        prediction=selected,
        radius=0.0,
        outcome="own",
        own_prediction=selected,
        own_radius=0.0,
        **names,
        n0=n0,
        votes=selection + sum(int(piece.counts.sum()) for piece in pieces),
        input_digest=inputs.digests[row],
        seed=inputs.seed,
        version=__version__,
        further=tuple(further),
    )
    radius = recompute_radius(certificate)
    if radius > 0:
        return replace(certificate, radius=radius, own_radius=radius)
    return replace(certificate, prediction=ABSTAIN, own_prediction=ABSTAIN, outcome="abstained")


def _with_counts(evidence: Evidence, count: int, runner_up: int, n: int) -> Evidence:
    counted = replace(evidence, count=count, runner_up=runner_up, n=n)
    p_lower, p_upper = counted.interval
    return replace(counted, p_lower=p_lower, p_upper=p_upper)


def _unsettled(
    active: Sequence[Piece], pieces: Sequence[Sequence[Piece]], estimation: Estimation
) -> list[Piece]:
    """The pieces whose further votes could change what their input's certificate says.

    The radius is at most the least that one of the pieces can attain, so a piece is settled once
    its own radius is as good as that.
    """
    if estimation.stopping is None:
        return list(active)
    open_rows = {piece.request.row for piece in active}
    attainable = {
        row: min(_attainable(piece, estimation.n) for piece in pieces[row]) for row in open_rows
    }
    return [
        piece
        for piece in active
        if not estimation.stopping.settled(
            proved_radius(piece.evidence), attainable[piece.request.row]
        )
    ]


def _attainable(piece: Piece, n: int) -> float:
    """The radius that all `n` votes of a piece prove if they go as well as is plausible."""
    seen = piece.evidence
    count, runner_up = hoped_counts(seen.count, seen.runner_up, seen.n, n)
    return proved_radius(_with_counts(seen, count, runner_up, n))

"""What is wrong with a row of a run, or with the certificate of an entry of a memory."""

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations

from ddrs.jobs.config import CertifyConfig
from ddrs.memory.abstentions import Abstention
from ddrs.memory.entries import Entry
from ddrs.memory.regions import Resolution
from ddrs.noise.distributions import Norm
from ddrs.proof.certificate import ABSTAIN, Certificate, Evidence
from ddrs.proof.check import certificate_faults
from ddrs.runs.checking import check_values, row_checks, shown
from ddrs.runs.decoding import read_json
from ddrs.runs.rows import CertifiedRow
from ddrs.smoothing.cells import Cells
from ddrs.smoothing.joint import joint_digest
from ddrs.smoothing.levels import Levels

__all__ = ["EvidenceOf", "one_input_faults", "row_faults"]

MOST_CLASSIFIERS = 6  # whose orders are tried: 720


def row_faults(row: CertifiedRow, config: CertifyConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with one row, as the kind of a violation and a text each."""
    certificate = row.certificate
    for fault in certificate_faults(certificate):
        yield "certificate", fault
    for fault in _setting_faults(certificate, config):
        yield "configuration", fault
    classes = {
        "label": row.label,
        "clean_prediction": row.clean_prediction,
        "prediction": row.prediction,
        "own_prediction": certificate.own_prediction,
    }
    for name, number in classes.items():
        least = ABSTAIN if name in ("prediction", "own_prediction") else 0
        if number is not None and not least <= number < config.num_classes:
            yield "class", f"its {name} is {number}, the run has {config.num_classes} classes"
    for part in certificate.parts:
        classes_of = config.num_classes
        if part.role == "route" and isinstance(config.policy, Cells):
            classes_of = len(config.policy.sigmas)
        least = -(-(part.n - part.count) // (classes_of - 1))
        if part.role != "pass" and part.runner_up < least:
            fault = f"its runner_up is {part.runner_up}, but among {classes_of} classes"
            yield "class", f"{fault} one other has at least {least} of {part.n} votes"
    right = None if row.label is None else row.prediction == row.label
    if row.correct != right:
        yield "correct", f"class {row.prediction} for label {row.label} is marked wrongly"
    if config.memory == "none" and certificate.outcome not in ("own", "abstained"):
        yield "outcome", f"it is {certificate.outcome}, but the run had no memory"
    if certificate.outcome == "unrecorded" and not config.read_only:
        yield "outcome", "it is unrecorded, but the run could write to its memory"


def _setting_faults(certificate: Certificate, config: CertifyConfig) -> Iterator[str]:
    """Where a certificate has not the settings of its run; any of a memory that others share has
    those of the run that made it.
    """
    yield from _origin_faults(certificate, config.smoothing_noise.norm, config.model_digests)
    if isinstance(config.policy, Levels):
        yield from _level_faults(certificate, config, config.policy)
    elif isinstance(config.policy, Cells):
        yield from _route_faults(certificate, config, config.policy)
    elif config.memory_is_its_own:
        yield from config.differences(certificate).values()
        yield from _other(certificate, {"seed": config.seed, "p0": 0.0, "further": ()}, "the run's")


def _level_faults(certificate: Certificate, config: CertifyConfig, levels: Levels) -> Iterator[str]:
    """Where the evidence is not that of the first levels of the run's cascade, the last answering.

    As many levels shared alpha equally as were to be proved: those that are there, or with
    two-sided bounds also more of them.
    """
    yield from _other(certificate, {"n0": config.n0, "seed": config.seed}, "the run's")
    answer, *passed = certificate.parts
    pieces = [*passed, answer]
    most = len(levels.sigmas)
    if len(pieces) > most:
        yield f"it has evidence of {len(pieces)} levels, the run's cascade has {most}"
        return
    sharing = [len(pieces)] if config.bound == "one-sided" else range(len(pieces), most + 1)
    if not any(all(one.alpha == config.alpha / k for one in pieces) for k in sharing):
        yield f"its levels do not share the run's alpha {config.alpha}"
    digests = levels.per_level(config.model_digests)
    for number, piece in enumerate(pieces):
        wanted: dict[str, object] = {
            "role": "answer" if piece is answer else "pass",
            "sigma": levels.sigmas[number],
            "p0": levels.thresholds[number],
            "bound": config.bound,
            "looks": config.estimation.looks,
            "model_digest": digests[number],
        }
        yield from _other(piece, wanted, f"that of level {number}")
        if piece.n not in config.estimation.times:
            yield f"its n at level {number} is {piece.n}, where the run never looks"


def _route_faults(certificate: Certificate, config: CertifyConfig, cells: Cells) -> Iterator[str]:
    """Where the evidence is not that of a class in a cell of the run, and of the route to it."""
    yield from _other(certificate, {"n0": config.n0, "seed": config.seed}, "the run's")
    roles = [piece.role for piece in certificate.parts]
    if roles != ["answer", "route"]:
        yield f"its evidence is of {', '.join(roles)}, not of an answer and of the route to it"
        return
    answer, route = certificate.parts
    cell = (answer.model_digest, answer.sigma)
    if cell not in cells.cells(config.model_digests):
        yield f"no cell of the run is the classifier {shown(cell[0])} at sigma {cell[1]}"
    router = {"sigma": cells.scale, "model_digest": config.model_digests[-1]}
    yield from _other(route, router, "that of the router")
    votes = 2 * config.n0 + answer.n + route.n
    yield from _other(certificate, {"votes": votes}, "the sum of those of its evidence")
    for piece in (answer, route):
        wanted: dict[str, object] = {
            "p0": 0.0,
            "bound": config.bound,
            "looks": config.estimation.looks,
            "alpha": config.alpha / 2,
        }
        yield from _other(piece, wanted, f"that of the {piece.role}")
        if piece.n not in config.estimation.times:
            yield f"its n of the {piece.role} is {piece.n}, where the run never looks"


def _other(
    found: Certificate | Evidence, wanted: Mapping[str, object], whose: str
) -> Iterator[str]:
    """Where the settings of a certificate or of a piece of it are others."""
    for name, value in wanted.items():
        if getattr(found, name) != value:
            yield f"its {name} is {getattr(found, name)}, {whose} is {value}"


def _origin_faults(
    certificate: Certificate, norm: Norm, classifiers: Sequence[str]
) -> Iterator[str]:
    """Where votes are of another norm or classifier."""
    for part in certificate.parts:
        if part.norm != norm:
            yield f"its norm is {part.norm}, not {norm}"
        if part.model_digest not in classifiers:
            known = " or ".join(classifiers)
            yield f"its model_digest is {shown(part.model_digest)}, not {known}"


def one_input_faults(rows: Sequence[CertifiedRow]) -> Iterator[tuple[tuple[int, ...], str]]:
    """Where rows of one input contradict each other, or all are of one: indices and a text each."""
    first: dict[str, CertifiedRow] = {}
    for row in rows:
        if row.prediction == ABSTAIN or row.certificate.outcome == "unrecorded":
            continue  # which may be answered otherwise later
        other = first.setdefault(row.certificate.input_digest, row)
        if other.prediction != row.prediction:
            classes = f"{other.prediction} and {row.prediction}"
            yield (other.index, row.index), f"one input has classes {classes}"
    if len(rows) > 1 and len({row.certificate.input_digest for row in rows}) == 1:
        yield (), f"all {len(rows)} rows are of one input"


def _certificate(evidence: str) -> Certificate:
    """The certificate that a memory holds.

    Raises:
        TypeError, ValueError: it is none.
    """
    read_json(evidence)  # refuses what no certificate holds, such as NaN
    own = Certificate.from_json(evidence)
    check_values(own.to_row(), row_checks)
    return own


class EvidenceOf:
    """What an audit of a memory looks at in each entry; given to `Memory.audit`.

    Args:
        norm: the norm of the memory.
        digest: that of what it is bound to: one classifier, or several together; None if to none.
        classifiers: the digest of each, where they are known.
        num_classes: how many classes they have, where that is known.
        wanted: digests of the inputs whose answers to keep.

    Attributes:
        answers: the stored answers that were wanted, by input digest.
        certificates: the certificate of each of them that has a readable one.
        abstentions: those that are remembered of wanted inputs, by input digest.
    """

    def __init__(
        self,
        norm: Norm,
        digest: str | None,
        classifiers: Sequence[str] | None = None,
        num_classes: int | None = None,
        wanted: Container[str] = (),
    ) -> None:
        self.answers: dict[str, Resolution] = {}
        self.certificates: dict[str, Certificate] = {}
        self.abstentions: dict[str, list[Certificate]] = defaultdict(list)
        self._norm = norm
        self._digest = digest
        self._classifiers = classifiers
        self._num_classes = num_classes
        self._wanted = wanted
        self._found: dict[str, list[int]] = defaultdict(list)

    def __call__(self, entry: Entry | Abstention) -> Iterator[str]:
        """What is wrong with one entry, or with one abstention that is remembered."""
        if isinstance(entry, Abstention):
            yield from self._abstention_faults(entry)
            return
        answer = entry.resolution
        if entry.point.digest in self._wanted:
            self.answers[entry.point.digest] = answer
        for number in sorted({answer.prediction, entry.claimed_prediction}):
            if self._num_classes is not None and number >= self._num_classes:
                yield f"its class is {number}, the run has {self._num_classes} classes"
        if answer.evidence is None:
            if self._digest is not None:
                yield "it has no certificate, though the memory belongs to a classifier"
            return
        try:
            own = _certificate(answer.evidence)
        except (TypeError, ValueError) as error:
            yield f"its certificate cannot be read: {error}"
            return
        if entry.point.digest in self._wanted:
            self.certificates[entry.point.digest] = replace(
                own, prediction=answer.prediction, radius=answer.radius, outcome=answer.outcome
            )
        yield from self._faults(own, entry.id)
        claimed = (entry.claimed_prediction, entry.claimed_radius)
        if claimed != (own.own_prediction, own.own_radius):
            proved = (own.own_prediction, own.own_radius)
            yield f"its claim {claimed} is not the {proved} of its certificate"
        if own.input_digest != entry.point.digest:
            yield "its certificate is for another input"

    def _abstention_faults(self, abstention: Abstention) -> Iterator[str]:
        """Where an abstention that a memory remembers is not the one of its certificate."""
        try:
            own = _certificate(abstention.evidence)
        except (TypeError, ValueError) as error:
            yield f"its certificate cannot be read: {error}"
            return
        if abstention.input_digest in self._wanted:
            self.abstentions[abstention.input_digest].append(own)
        yield from self._faults(own, abstention.id)
        if (own.prediction, own.own_prediction) != (ABSTAIN, ABSTAIN):
            yield f"its certificate claims class {own.own_prediction}"
        if own.alpha != abstention.alpha:
            yield f"its alpha {abstention.alpha} is not the {own.alpha} of its certificate"
        if own.input_digest != abstention.input_digest:
            yield "its certificate is for another input"

    def _faults(self, own: Certificate, place: int) -> Iterator[str]:
        """Where a certificate contradicts itself, or is of another norm or classifier."""
        yield from certificate_faults(own)
        found = {part.model_digest for part in own.parts}
        yield from _origin_faults(own, self._norm, self._classifiers or tuple(found))
        for digest in found:
            self._found[digest].append(place)

    @property
    def classifiers_known(self) -> bool:
        """Whether every certificate was held against the classifiers of the memory."""
        known = self._classifiers is not None or self._digest is None or not self._found
        return known or self._digest in self._found or self._joined()

    def strangers(self) -> Iterator[tuple[int, str]]:
        """Entries of another classifier than the one of a memory that is bound to one."""
        if self._classifiers is None and self._digest in self._found:
            for digest, entries in self._found.items():
                if digest != self._digest:
                    message = f"its model_digest is {shown(digest)}, not {self._digest}"
                    yield from ((entry, message) for entry in entries)

    def _joined(self) -> bool:
        """Whether the classifiers of the entries are, in some order, those of the memory."""
        orders = permutations(self._found) if len(self._found) <= MOST_CLASSIFIERS else ()
        return any(joint_digest(order) == self._digest for order in orders)

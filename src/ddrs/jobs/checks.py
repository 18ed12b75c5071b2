"""Whether a run can go on, or be checked: the same inputs, and a memory that keeps its answers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ddrs.errors import RunError
from ddrs.inputs import input_digest
from ddrs.proof.certificate import ABSTAIN, Certificate
from ddrs.runs.rows import CertifiedRow

if TYPE_CHECKING:  # they load torch and SQLAlchemy, which a caller has loaded by then
    from ddrs.data.dataset import Dataset
    from ddrs.memory.memory import Memory

__all__ = ["check_same_data", "check_same_inputs", "keeps_answer"]


def check_same_data(recorded: str | None, found: str | None, name: str) -> None:
    """Refuse data that changed since a run was made, in inputs that it has no row for too.

    Args:
        recorded: `Dataset.digest` then; None where it was not recorded, which nothing contradicts.
        found: the same now.
        name: what the data are called.

    Raises:
        RunError: the two differ.
    """
    if recorded not in (None, found):
        raise RunError(
            f"the inputs or labels of {name} are not those that the run was made for: the data "
            "changed; put them back, or make another run"
        )


def check_same_inputs(done: Iterable[CertifiedRow], dataset: "Dataset") -> None:
    """Refuse data that is not what a run certified.

    Raises:
        RunError: an input or a label is another.
    """
    for row in done:
        x, label = dataset[row.index]
        if row.certificate.input_digest != input_digest(x.numpy()) or row.label != label:
            raise RunError(
                f"input {row.index} of {dataset.name} is not the one that the run certified: "
                "the data changed; put it back, or make another run"
            )


def keeps_answer(memory: "Memory", x: Any, given: Certificate) -> bool:
    """Whether a memory still gives the answer that a run gave for `x`, as far as it must.

    A read-only memory answers from the regions around an input without storing it. Regions are
    only added, so that answer keeps its class, and its radius can only have grown.
    """
    if given.outcome in ("abstained", "unrecorded"):
        return True
    if memory.read_only and given.outcome == "inherited":
        now = memory.resolve(x, ABSTAIN, 0.0)
        return now.prediction == given.prediction and now.radius >= given.radius
    answer = memory.recall(x)
    return answer is not None and (answer.prediction, answer.radius, answer.outcome) == (
        given.prediction,
        given.radius,
        given.outcome,
    )

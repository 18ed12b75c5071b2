"""What is in a memory: entries by class, their radii, and what keeping it sound cost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import fsum, inf
from operator import attrgetter
from statistics import median

from ddrs.memory.entries import Entry
from ddrs.memory.memory import Memory
from ddrs.memory.store.tables import Head
from ddrs.memory.transfer import chained, chained_abstentions, last_of

__all__ = ["Cost", "Group", "Statistics", "statistics"]


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the entries, at least one.

    Attributes:
        entries: how many; of them `own`, `trimmed` and `inherited` by outcome.
        least: the least radius stored, in the units of the input; `median`, `mean` and `largest`
            likewise.
    """

    entries: int
    own: int
    trimmed: int
    inherited: int
    least: float
    median: float
    mean: float
    largest: float


@dataclass(frozen=True, slots=True)
class Cost:
    """How stored answers differ from what was claimed for their inputs.

    Attributes:
        entries: how many answers there are.
        changed: how many have another class than the claim, or one where the claim abstained.
        lost: the sum of claimed minus stored radius where the stored one is smaller.
        most_lost: the largest of these differences.
        gained: the sum of stored minus claimed radius where the stored one is larger.
    """

    entries: int
    changed: int
    lost: float
    most_lost: float
    gained: float

    @property
    def mean_lost(self) -> float:
        """`lost` for each of the entries."""
        return self.lost / self.entries if self.entries else 0.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is in a memory.

    Attributes:
        about: norm, and where the memory has them shape, model digest and noise.
        head: how many entries there are, and the end of their chain as their rows give it.
        classes: by class, in order.
        all: all entries together; None for an empty memory.
        trimmed: what trimming cost.
        inherited: what inheriting changed.
        abstentions: how many are remembered, and the end of their chain as their rows give it.
    """

    about: dict[str, str]
    head: Head
    classes: dict[int, Group]
    all: Group | None
    trimmed: Cost
    inherited: Cost
    abstentions: Head


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is kept of an entry."""

    prediction: int
    radius: float
    outcome: str
    claimed_prediction: int
    claimed_radius: float


def statistics(
    memory: Memory, on_entries: Callable[[int], object] = lambda more: None
) -> Statistics:
    """Count and measure a memory, in one pass over its entries.

    Args:
        memory: may be read-only.
        on_entries: is told how many more entries are done.

    Raises:
        StoreError: an entry is damaged.
    """
    facts: list[_Facts] = []
    head = Head(0, "")
    for entry, chain in chained(memory):
        facts.append(_facts(entry))
        head = Head(entry.id, chain)
        on_entries(1)
    classes: dict[int, list[_Facts]] = {}
    for fact in sorted(facts, key=attrgetter("prediction")):
        classes.setdefault(fact.prediction, []).append(fact)
    return Statistics(
        memory.about(),
        head,
        {prediction: _group(group) for prediction, group in classes.items()},
        _group(facts) if facts else None,
        _cost(fact for fact in facts if fact.outcome == "trimmed"),
        _cost(fact for fact in facts if fact.outcome == "inherited"),
        last_of(chained_abstentions(memory)),
    )


def _facts(entry: Entry) -> _Facts:
    answer = entry.resolution
    return _Facts(
        answer.prediction,
        answer.radius,
        answer.outcome,
        entry.claimed_prediction,
        entry.claimed_radius,
    )


def _group(facts: Sequence[_Facts]) -> Group:
    radii = [fact.radius for fact in facts]
    outcomes = [fact.outcome for fact in facts]
    return Group(
        len(facts),
        outcomes.count("own"),
        outcomes.count("trimmed"),
        outcomes.count("inherited"),
        min(radii),
        median(radii),
        _sum(radii) / len(radii),
        max(radii),
    )


def _cost(facts: Iterable[_Facts]) -> Cost:
    facts = list(facts)
    lost = [fact.claimed_radius - fact.radius for fact in facts]
    return Cost(
        len(facts),
        sum(fact.prediction != fact.claimed_prediction for fact in facts),
        _sum(max(difference, 0.0) for difference in lost),
        max([0.0, *lost]),
        _sum(max(-difference, 0.0) for difference in lost),
    )


def _sum(values: Iterable[float]) -> float:
    try:
        return fsum(values)
    except OverflowError:  # of radii that somebody made up
        return inf

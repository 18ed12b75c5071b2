"""What the commands show, as text: aligned tables in Markdown, and the sentences below them."""

from typing import TYPE_CHECKING

from ddrs.display.foreign import visible
from ddrs.display.markdown import table
from ddrs.display.rounding import rounded_down

if TYPE_CHECKING:
    from ddrs.finished.orders import OrderStudy, Range
    from ddrs.memory.statistics import Group, Statistics

__all__ = ["orders_table", "statistics_table"]

DIGITS = 4
LONGEST = 200  # characters of what a file says of itself
ABOUT = ("norm", "shape", "noise", "model_digest")


def statistics_table(found: "Statistics") -> str:
    """What is in a memory."""
    names = ["class", "entries", "own", "trimmed", "inherited"]
    names += ["least radius", "median", "mean", "largest"]
    groups = [(str(name), group) for name, group in found.classes.items()]
    groups += [("all", found.all)] if found.all else []
    trimmed, inherited = found.trimmed, found.inherited
    lines = [
        table(names, [_group(name, group) for name, group in groups]),
        "",
        f"trimmed: {trimmed.entries} entries lost {trimmed.lost:.{DIGITS}g} of radius in all, "
        f"{trimmed.mean_lost:.{DIGITS}g} on average, {trimmed.most_lost:.{DIGITS}g} at most",
        f"inherited: {inherited.entries} entries, {inherited.changed} of them of another class "
        f"than claimed; {inherited.gained:.{DIGITS}g} of radius gained in all, "
        f"{inherited.lost:.{DIGITS}g} lost",
        *(f"{key.replace('_', ' ')}: {_text(found.about.get(key))}" for key in ABOUT),
        f"head: {found.head.count} entries, chain {_text(found.head.chain)}",
        f"head of the abstentions: {found.abstentions.count}, chain "
        f"{_text(found.abstentions.chain)}",
    ]
    return "\n".join(lines)


def orders_table(found: "OrderStudy") -> str:
    """How a run's figures depend on the order of its inputs."""
    rows = [
        [f"r={radius:g}", *(f"{value:.{DIGITS}f}" for value in _values(s))]
        for radius, s in found.certified_accuracy.items()
    ]
    what, mean = ("certified accuracy", "ACR") if found.labelled else ("answered", "mean radius")
    rows.append([mean, *(rounded_down(value, DIGITS) for value in _values(found.acr))])
    had = "" if found.remembered else "The run had no memory: this is what one would have done.\n"
    return (
        f"{table([what, 'run', 'lowest', 'median', 'highest'], rows)}\n\n"
        f"{had}{found.orders} shuffled orders, seed {found.seed}. Of {found.inputs} inputs, "
        f"{found.changed_class} changed class in some order, {found.changed_outcome} outcome, "
        f"{found.changed_radius} radius."
    )


def _group(name: str, group: "Group") -> list[str]:
    counts = (group.entries, group.own, group.trimmed, group.inherited)
    radii = (group.least, group.median, group.mean, group.largest)
    return [name, *map(str, counts), *(rounded_down(radius, DIGITS) for radius in radii)]


def _text(value: object) -> str:
    """What a file says of itself; it is a stranger's."""
    return visible(str(value or "-"), LONGEST)


def _values(range_: "Range") -> tuple[float, ...]:
    return range_.run, range_.lowest, range_.median, range_.highest

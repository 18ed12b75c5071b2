"""What the columns of a published log are: by their names, or by their number where it has none."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ddrs.runs.checking import shown

__all__ = ["LAYOUTS", "Columns", "named_columns", "norm_named", "separator_of", "split"]

NEEDED = ("label", "predict", "radius")

_NAMES = {
    "index": "idx index id i sampleidx sampleindex sampleid originalidx imageidx imageindex "
    "imageid imgidx exampleidx",
    "label": "label labels truelabel trueclass labeltrue groundtruth gt gtlabel target y ytrue "
    "true",
    "predict": "predict prediction predictions pred preds predicted predictedlabel predictedclass "
    "predlabel predclass smoothedprediction smoothedpred ypred cahat",
    "correct": "correct iscorrect",
    "time": "time times seconds elapsed timeelapsed timeelelapsed runtime",
    "sigma": "sigma sigmas bestsigma chosensigma optimalsigma sigmaopt sigmastar sigmax sigmamin "
    "minsigma noisesd noisestd",
    "norm": "norm",
    "abstain": "abstain abstained abstention",
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}
_NORM = "(l(?:[0-9]|inf|infty|infinity))?"
_RADIUS = re.compile(f"{_NORM}(?:certified|cert|robust)?{_NORM}(?:radius|radii|rad|cr|r){_NORM}")
_NUMERIC = re.compile(r"[-+0-9.:e,\s]*|nan|inf|true|false", re.IGNORECASE)

LAYOUTS = tuple(
    tuple(text.split())
    for text in (
        "index label predict radius correct time",
        "label predict radius correct time",
        "index label predict radius correct",
        "label predict radius correct",
        "index label predict radius",
        "label predict radius",
    )
)
"""What a log without a header may hold, by the number of its columns."""


@dataclass(frozen=True)
class Columns:
    """Where the columns of a log stand.

    Attributes:
        at: role -> position; `label`, `predict` and `radius` are always there.
        width: the number of columns.
        norm: the norm that the name of the radius states; None where it states none.
    """

    at: dict[str, int]
    width: int
    norm: str | None = None


def separator_of(line: str) -> str | None:
    """What separates the cells of a line: tab, comma or semicolon; None for white space."""
    return next((mark for mark in ("\t", ",", ";") if mark in line), None)


def split(line: str, separator: str | None) -> list[str]:
    """The cells of a line, without the spaces around them; quoted ones as a table writes them.

    Raises:
        ValueError: a cell is longer than any of a log.
    """
    if separator is None:
        return line.split()
    if '"' not in line:
        return [cell.strip() for cell in line.split(separator)]
    try:
        (cells,) = csv.reader([line], delimiter=separator, skipinitialspace=True)
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return [cell.strip() for cell in cells]


def named_columns(names: Sequence[str]) -> Columns | None:
    """The columns that a header names; None where the line is no header but numbers.

    Of several names for one thing the field's own (`idx`, `predict`, `radius`, ...) is taken, then
    the first. A radius in l2 is taken before those in other norms; a plain `radius` before all.

    Raises:
        ValueError: a column that a log needs is missing, or is there twice.
    """
    if all(_NUMERIC.fullmatch(name) for name in names):
        return None
    found: dict[str, list[tuple[int, int]]] = {}
    norms: dict[int, str | None] = {}
    plain = [_plain(name) for name in names]
    for position, name in enumerate(plain):
        match = _RADIUS.fullmatch(name)
        if match is not None:
            norm = next((norm_named(part) for part in match.groups() if part), None)
            rank = {None: 0, "l2": 1}.get(norm, 2)
            norms[position] = norm
            found.setdefault("radius", []).append((rank, position))
        elif name in _ROLES:
            role = _ROLES[name]
            rank = _NAMES[role].split().index(name)
            found.setdefault(role, []).append((min(rank, 1), position))
    if names[0] == "" or plain[0] == "unnamed0":  # what pandas writes over its index
        found.setdefault("index", [(1, 0)])
    missing = [role for role in NEEDED if role not in found]
    if missing:
        raise ValueError(
            f"no column {', '.join(missing)}; a log needs label, predict and radius, as in "
            "`idx label predict radius correct time`"
        )
    best = {role: min(places) for role, places in found.items()}
    for role, (_, position) in best.items():
        if role in (*NEEDED, "index") and plain.count(plain[position]) > 1:
            raise ValueError(f"column {role} is there twice")
    at = {role: position for role, (_, position) in best.items()}
    return Columns(at, len(names), norms[at["radius"]])


def _plain(name: str) -> str:
    """A name in small letters and digits alone: `# L2 radius` and `l2_radius` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("ℓ", "l").replace("∞", "inf"))


def norm_named(text: str) -> str:
    """The norm that a text names, in one spelling: `"l2"` for `2`, `L2` and `l_2`.

    Raises:
        ValueError: it names none.
    """
    plain = "l" + _plain(text).removeprefix("l").removesuffix("norm")
    if not re.fullmatch("l(?:[0-9]|inf|infty|infinity)", plain):
        raise ValueError(f"norm is {shown(text)}, expected one such as l2 or linf")
    return "linf" if plain.startswith("linf") else plain

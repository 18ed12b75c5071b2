"""Runs and logs as one page of HTML that needs nothing beside it: figures, and how they came."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddrs.display.plots import picture
from ddrs.display.rounding import radius_key, rounded_down
from ddrs.evaluation.comparison import NOT_TOGETHER, compare, notes
from ddrs.evaluation.curves import draw_certified_accuracy
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.runs.table import EvaluatedRun
from ddrs.version import __version__

__all__ = ["Reported", "describe", "report_page"]

DIGITS = 3
AT_LEAST = "at least"

ONE = (
    "All certificates are about one smoothed classifier. With probability at least 1 - alpha over "
    "the votes of an input it gives the certified class at every point closer to the input than "
    "the certified radius. "
)
REMEMBERED = (
    "Sigma or the classifier may differ between inputs, and a memory of certified regions answers "
    "first. From the moment an input was stored, every point closer to it than its radius gets "
    "its class from whoever answers from that memory; no probability is needed for that. Alpha is "
    "about the class: with probability at least 1 - alpha it is that of the smoothed classifier "
    "at the input that the region comes from. "
)
APART = (
    "Sigma or the classifier differs between inputs, and no memory holds all answers. So each "
    "certificate is about a smoothed classifier of its own, and they do NOT hold together: no one "
    "classifier is known for which all of them are true. "
)
READ_ONLY = (
    "Inputs outside of all regions of a read-only memory are not recorded in it, have radius 0, "
    "and may be answered otherwise later. What the memory has stored holds together. "
)
EACH = "Alpha is for each certificate, not for all of them at once."
LOG = "A log says neither with how many votes nor at which confidence its radii were certified."


@dataclass(frozen=True)
class Reported:
    """A run or a log, as the page shows it.

    Attributes:
        run: name, rows and summary.
        sigmas: of each input; None where they are not recorded.
        asked: the only radii whose accuracy the votes were to settle; None for all.
        guarantee: what its certificates are about, in sentences.
        facts: what it was asked and what it took: a name and a text each.
        command: asked for it; None for a log.
    """

    run: EvaluatedRun
    sigmas: Sequence[float] | None
    asked: Sequence[float] | None
    guarantee: str
    facts: Sequence[tuple[str, str]]
    command: str | None


def describe(
    run: EvaluatedRun,
    sigmas: Sequence[float] | None = None,
    config: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> Reported:
    """What a page says about a finished run, or about a log.

    Args:
        run: name, rows and summary.
        sigmas: of each input; None where they are not recorded.
        config: the configuration of the run; None for a log.
        command: asked for the run.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: configuration or summary are damaged.
    """
    rows, summary = run.rows, None if run.summary is None else run.summary.to_json()
    if config is None or summary is None:
        return Reported(run, None, None, LOG, [("inputs", str(len(rows)))], None)
    asked = None
    if summary.get("question") is not None:
        asked = [float(radius) for radius in config.get("at_radii") or ()]
    facts = [("inputs", str(len(rows))), *_facts(config, summary)]
    return Reported(run, sigmas, asked, _guarantee(summary), facts, command)


def report_page(reported: Sequence[Reported], radii: Iterable[float] = DEFAULT_RADII) -> str:
    """The page.

    Args:
        reported: what it is about.
        radii: radii to give the certified accuracy at.

    Returns:
        HTML with its style and its figure within it.

    Raises:
        InputError: nothing to report, or a run without rows.
        ConfigurationError: a radius that is negative or not a number.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # not for every start

    radii = list(radii)
    table = compare([one.run for one in reported], radii)
    norms = {entry["norm"] for entry in table} - {None}
    curves = [(one.run.name, one.run.rows, one.sigmas) for one in reported]
    figure = draw_certified_accuracy(curves, norm=norms.pop() if len(norms) == 1 else None)
    environment = Environment(
        loader=PackageLoader("ddrs.finished", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    page: str = environment.get_template("report.html").render(
        columns=[*(f"r = {radius_key(radius)}" for radius in radii), "ACR"],
        lines=[
            {
                "name": one.run.name + NOT_TOGETHER * (entry["sound_together"] is False),
                "norm": entry["norm"] or "norm not recorded",
                "figures": [*_figures(one, entry, radii)],
            }
            for one, entry in zip(reported, table, strict=True)
        ],
        notes=notes(table),
        figure=base64.b64encode(picture(figure)).decode("ascii"),
        reported=reported,
        version=__version__,
    )
    return page


def _figures(
    one: Reported, entry: Mapping[str, Any], radii: Iterable[float]
) -> Iterator[tuple[str, str, str]]:
    """Each certified accuracy, then the ACR: whether it is a lower bound, itself, its interval."""
    for radius in radii:
        accuracy = entry["certified_accuracy"][radius_key(radius)]
        low, high = entry["certified_accuracy_interval"][radius_key(radius)]
        at_least = AT_LEAST if one.asked is not None and radius not in one.asked else ""
        yield at_least, f"{accuracy:.{DIGITS}f}", f"{low:.{DIGITS}f} to {high:.{DIGITS}f}"
    yield "" if one.asked is None else AT_LEAST, rounded_down(entry["acr"], DIGITS), ""


def _guarantee(summary: Mapping[str, Any]) -> str:
    if summary["memory"].get("unrecorded"):
        return REMEMBERED + READ_ONLY + EACH
    if not summary["sound_together"]:
        return APART + EACH
    return (REMEMBERED if summary["memory"]["on"] else ONE) + EACH


def _facts(config: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a run was asked and what it took: a name and a text each."""
    yield "data", f"{config['data']}, split {config['split']}"
    others = config.get("alternatives", [])
    yield "classifier", ", ".join([config["model"], *others])
    digests = config["model_digests"] if others else [config["model_digest"]]
    yield "its digest", ", ".join(digests)
    yield "arithmetic", config["precision"] + ", compiled" * bool(config["compile"])
    policy = dict(config["policy"])
    name = policy.pop("name")
    options = ", ".join(f"{key} = {value}" for key, value in policy.items() if value is not None)
    yield "choice of sigma", f"{name}: {options}"
    least, middle, most = (float(summary["sigma"][key]) for key in ("min", "median", "max"))
    spread = f"{least:.{DIGITS}g}"
    if least < most:
        spread += f" to {most:.{DIGITS}g}, median {middle:.{DIGITS}g}"
    yield "sigma", f"{spread}; {config['noise']} noise"
    votes = f"n0 = {config['n0']}, n = {config['n']}"
    if summary.get("question") is not None:
        votes = f"n0 = {config['n0']}, n at most {config['n']}, {summary['question']}"
    yield "votes", f"{votes}; {summary['votes']} in all"
    yield "confidence", f"alpha = {config['alpha']:g}, {config['bound']} bound"
    if summary["alpha"] != config["alpha"] or summary["n0"] != config["n0"]:
        yield "other runs", "made some of these certificates, with votes and alpha of their own"
    which = "the first classifier, " if others else ""
    yield "clean accuracy", f"{summary['clean_accuracy']:.{DIGITS}f} ({which}without noise)"
    yield "abstained", str(summary["abstained"])
    memory = summary["memory"]
    counted = ("own", "trimmed", "inherited", "unrecorded")
    outcomes = ", ".join(
        f"{memory[key]} {key}" for key in counted if memory.get(key) or key == "own"
    )
    held = f"{config['memory']}; {memory['entries']} entries; inputs: {outcomes}"
    yield "memory", held if memory["on"] else "none"
    yield "seed", str(config["seed"])
    yield "made in", f"{summary['seconds']:.1f} s, by ddrs {config['version']}"

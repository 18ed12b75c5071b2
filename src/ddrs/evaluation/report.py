"""Runs and logs as one page of HTML that needs nothing beside it: figures, and how they came."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddrs.evaluation.figures import draw_certified_accuracy, picture
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.evaluation.rounding import rounded_down
from ddrs.evaluation.sources import Run
from ddrs.evaluation.table import compare, notes
from ddrs.version import __version__

__all__ = ["Reported", "report_page"]

NOT_RECORDED = "not recorded"
DIGITS = 3

SOUND = (
    "Each certificate is wrong with probability at most alpha: then the class is not the smoothed "
    "classifier's. "
)
FIXED = SOUND + "One sigma for all inputs, so the certificates hold together."
REMEMBERED = SOUND + (
    "Sigma differs between inputs. The certificates hold together through the memory, and for the "
    "classifier that answers from it."
)
APART = SOUND + (
    "Sigma differs between inputs and no memory held all the answers: each certificate is about a "
    "classifier of its own, and they do NOT hold together."
)
LOG = "A log says neither with how many votes nor at which confidence its radii were certified."


@dataclass(frozen=True)
class Reported:
    """A run or a log, for a report.

    Attributes:
        run: name, rows and summary.
        sigmas: of each input; None where they are not recorded.
        config: what was asked; empty for a log.
        command: makes the run again; None for a log.
    """

    run: Run
    sigmas: Sequence[float] | None
    config: Mapping[str, Any]
    command: str | None


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

    table = compare([one.run for one in reported], radii)
    norms = {entry["norm"] for entry in table} - {None}
    curves = [(one.run[0], one.run[1], one.sigmas) for one in reported]
    figure = draw_certified_accuracy(curves, norm=norms.pop() if len(norms) == 1 else None)
    environment = Environment(
        loader=PackageLoader("ddrs.evaluation", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    page: str = environment.get_template("report.html").render(
        names=[one.run[0] for one in reported],
        columns=[*(f"r = {key}" for key in table[0]["certified_accuracy"]), "ACR"],
        lines=[(entry["run"], [*_figures(entry)]) for entry in table],
        notes=notes(table),
        figure=base64.b64encode(picture(figure)).decode("ascii"),
        runs=[
            {
                "name": one.run[0],
                "guarantee": _guarantee(one),
                "facts": [*_facts(one, entry)],
                "command": one.command,
            }
            for one, entry in zip(reported, table, strict=True)
        ],
        version=__version__,
    )
    return page


def _figures(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each certified accuracy and its interval; the ACR, and whether that is a lower bound."""
    for key, accuracy in entry["certified_accuracy"].items():
        low, high = entry["certified_accuracy_interval"][key]
        yield f"{accuracy:.{DIGITS}f}", f"{low:.{DIGITS}f} to {high:.{DIGITS}f}"
    yield rounded_down(entry["acr"], DIGITS), "" if entry["question"] is None else "at least"


def _guarantee(one: Reported) -> str:
    summary = one.run[2]
    if summary is None or "sound_together" not in summary:
        return LOG
    if not summary["sound_together"]:
        return APART
    return REMEMBERED if summary["memory"]["on"] else FIXED


def _facts(one: Reported, entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a run was asked and what it took, as far as it is recorded: a name and a text each."""
    _, rows, summary = one.run
    config = one.config
    yield "inputs", str(len(rows))
    if summary is None:
        return
    yield "data", f"{config['data']}, split {config['split']}"
    yield "classifier", ", ".join([config["model"], *config.get("alternatives", [])])
    yield "its SHA-256", config["model_digest"]
    arithmetic = config["precision"] + ", compiled" * bool(config["compile"])
    yield "arithmetic", arithmetic
    policy = dict(config["policy"])
    chosen = policy.pop("name")
    options = ", ".join(f"{key} = {value}" for key, value in policy.items() if value is not None)
    yield "choice of sigma", f"{chosen}: {options}"
    least, middle, most = (summary["sigma"][key] for key in ("min", "median", "max"))
    spread = f"{least:.{DIGITS}g}"
    if least < most:
        spread += f" to {most:.{DIGITS}g}, median {middle:.{DIGITS}g}"
    yield "sigma", f"{spread}; {config['noise']} noise, {entry['norm'] or 'mixed'} radii"
    at_most = f"at most {config['n']}" if entry["question"] else str(config["n"])
    question = f", {entry['question']}" if entry["question"] else ""
    yield "votes", f"n0 = {config['n0']}, n = {at_most}{question}; {summary['votes']} in all"
    yield "confidence", f"alpha = {config['alpha']:g}, {config['bound']} bound"
    yield "clean accuracy", f"{summary['clean_accuracy']:.{DIGITS}f}, without noise"
    yield "abstained", str(entry["abstained"])
    memory = summary["memory"]
    outcomes = ", ".join(f"{memory[key]} {key}" for key in ("own", "trimmed", "inherited"))
    yield "memory", f"{memory['entries']} entries: {outcomes}" if memory["on"] else "none"
    yield "seed", str(config["seed"])
    yield "made in", f"{summary['seconds']:.1f} s, by ddrs {config['version']}"

"""Finished runs and published logs as one page of HTML that needs nothing beside it.

The figures that they reached, what their certificates are about, and how they were made. Jinja2 and
matplotlib are imported when a page is made; no other command waits for them.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ddrs.display.foreign import visible
from ddrs.display.plots import picture
from ddrs.display.rounding import radius_key, rounded_down
from ddrs.errors import ConfigurationError, RunError
from ddrs.evaluation.chance import chance_note
from ddrs.evaluation.comparison import NO_LABELS, Comparison, compare, marked, notes, other_settings
from ddrs.evaluation.curves import draw_certified_accuracy
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.evaluation.worth import answer_cells, answer_shares
from ddrs.files import write
from ddrs.finished.reading import read_finished
from ddrs.jobs.config import CertifyConfig
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.rows import CertifiedRow, Row
from ddrs.runs.summary import MemoryUse, Summary
from ddrs.runs.table import EvaluatedRun, readable_runs
from ddrs.smoothing.cells import Cells
from ddrs.smoothing.levels import Levels
from ddrs.version import __version__

__all__ = ["GUARANTEES", "Reported", "describe", "report_page", "write_report"]

SUFFIXES = (".html", ".htm")
DIGITS = 3
AT_LEAST = "at least"

ALPHA_OF_EACH = "Alpha is for each certificate, not for all of them at once."
FROM_MEMORY = (
    "Sigma or the classifier may differ between inputs, and a memory of certified regions answers "
    "first. From the moment an input was stored, every point closer to it than its radius gets "
    "its class from whoever answers from that memory; no probability is needed for that. Alpha is "
    "about the class: with probability at least 1 - alpha it is that of the smoothed classifier "
    "at the input that the region comes from."
)
GUARANTEES = {
    "one classifier": (
        "All certificates are about one smoothed classifier. With probability at least 1 - alpha "
        "over the votes of an input it gives the certified class at every point closer to the "
        f"input than the certified radius. {ALPHA_OF_EACH}"
    ),
    "cascade": (
        "All certificates are about one classifier, a cascade of smoothed ones, which needs no "
        "memory: it answers every point by itself, whatever was asked before. With probability at "
        "least 1 - alpha over the votes of an input it gives the certified class at every point "
        f"closer to the input than the certified radius. {ALPHA_OF_EACH}"
    ),
    "routed": (
        "All certificates are about one classifier, a smoothed router with the smoothed "
        "classifiers that it picks from, which needs no memory: it answers every point by itself, "
        "whatever was asked before. With probability at least 1 - alpha over the votes of an input "
        "router and classifier stay the same, and it gives the certified class, at every point "
        f"closer to the input than the certified radius. {ALPHA_OF_EACH}"
    ),
    "memory": f"{FROM_MEMORY} {ALPHA_OF_EACH}",
    "read-only memory": (
        f"{FROM_MEMORY} Inputs outside of all regions of a read-only memory are not recorded in "
        "it, have radius 0, and may be answered otherwise later. What the memory has stored holds "
        f"together. {ALPHA_OF_EACH}"
    ),
    "apart": (
        "Sigma or the classifier differs between inputs, and no memory holds all answers. So each "
        "certificate is about a smoothed classifier of its own, and they do NOT hold together: no "
        f"one classifier is known for which all of them are true. {ALPHA_OF_EACH}"
    ),
    "log": (
        "A log says neither with how many votes nor at which confidence its radii were certified."
    ),
    "log of sigmas": (
        "Sigma differs between the inputs of this log, so its certificates are not about one "
        "smoothed classifier. They hold together only through a memory of certified regions that "
        "answers first, and a log does not say whether there was one; nor does it say with how "
        "many votes and at which confidence its radii were certified."
    ),
}
"""What the certificates of a run are about, in sentences, by what makes them hold together."""


@dataclass(frozen=True)
class Reported:
    """A run or a log, as the page shows it.

    Attributes:
        run: name, rows and summary.
        settled: the only radii whose accuracy the votes were to settle; None for all.
        guarantee: what its certificates are about: a key of `GUARANTEES`.
        facts: what it was made with and what it took: a name and a text each.
        command: the command that makes it again; None for a log.
    """

    run: EvaluatedRun
    settled: Sequence[float] | None
    guarantee: str
    facts: Sequence[tuple[str, str]]
    command: str | None


def write_report(
    paths: Sequence[Path], out: Path, radii: Iterable[float] = DEFAULT_RADII
) -> dict[Path, str]:
    """Write one page about runs and logs.

    Args:
        paths: run directories of `ddrs certify`, and published logs.
        out: the page; one that is there is replaced once the new one is whole.
        radii: radii to give the certified accuracy at.

    Returns:
        What was passed over, and why (see `readable_runs`); the page says it too.

    Raises:
        ConfigurationError: `out` does not end in .html, or a radius is negative or not a number.
        DataError: rows or a summary that cannot be read.
        InputError: no runs, or a run without rows.
        RunError: a run that is not finished or is damaged, or the page cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f"a report is a page of HTML, but {out} does not end in .html")
    if not out.parent.is_dir():
        raise RunError(f"there is no directory {out.parent} for the report: make it first")
    runs, passed_over = readable_runs(paths)
    reported = [
        describe(run, read_finished(run.path).config, f"runs/{run.path.resolve().name}-again")
        if run.path is not None and run.path.is_dir()
        else describe(run)
        for run in runs
    ]
    write(out, report_page(reported, radii, list(passed_over.values())), "report")
    return passed_over


def describe(run: EvaluatedRun, config: CertifyConfig | None = None, again: str = "") -> Reported:
    """What a page says about a finished run, or about a log.

    Args:
        run: name, rows and summary.
        config: the configuration of the run; None for a log.
        again: the directory that the command on the page is to write.

    Raises:
        RunError: the run has no summary yet.
    """
    inputs = ("inputs", str(len(run.rows)))
    if config is None:
        return _log(run, inputs)
    summary = run.summary
    if summary is None:
        raise RunError(
            f"{run.name} is not finished: run the same `ddrs certify` again, then report"
        )
    settled = None if summary.question is None else config.at_radii or ()
    facts = [inputs, *_made_with(config, summary), *_outcome(config, summary)]
    note = chance_note(
        [row for row in run.rows if isinstance(row, CertifiedRow)], config.num_classes
    )
    if note is not None:
        facts.append(("note", note))
    facts += _answers(run.rows, summary.start)
    return Reported(run, settled, _guarantee(config, summary), facts, config.command(again))


def _log(run: EvaluatedRun, inputs: tuple[str, str]) -> Reported:
    sigmas = run.sigmas or []
    if not sigmas:
        return Reported(run, None, "log", [inputs], None)
    low, high = min(sigmas), max(sigmas)
    text = f"{low:.{DIGITS}g}" + f" to {high:.{DIGITS}g}" * (low < high)
    guarantee = "log of sigmas" if low < high else "log"
    return Reported(run, None, guarantee, [inputs, ("sigma", text)], None)


def report_page(
    reported: Sequence[Reported],
    radii: Iterable[float] = DEFAULT_RADII,
    passed_over: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        reported: what it is about.
        radii: radii to give the certified accuracy at.
        passed_over: what was to be on it and cannot be, and why.

    Returns:
        HTML with its style and its figure within it.

    Raises:
        InputError: nothing to report, or a run without rows.
        ConfigurationError: a radius that is negative or not a number.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    radii = list(radii)
    runs = [one.run for one in reported]
    comparisons = compare(runs, radii)
    norms = {one.norm for one in comparisons} - {None}
    figure = draw_certified_accuracy(runs, norm=norms.pop() if len(norms) == 1 else None)
    environment = Environment(
        loader=PackageLoader("ddrs.finished", ""),
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    page: str = environment.get_template("report.html").render(
        columns=[f"r = {radius_key(radius)}" for radius in radii],
        lines=[
            {
                "name": marked(found),
                "norm": found.norm or "norm not recorded",
                "labelled": found.labelled,
                "figures": [*_figures(one, found, radii)],
                "worth": [*_worth(found)],
            }
            for one, found in zip(reported, comparisons, strict=True)
        ],
        no_labels=NO_LABELS,
        notes=notes(comparisons),
        passed_over=passed_over,
        figure=Markup(base64.b64encode(picture(figure)).decode("ascii")),
        reported=reported,
        guarantees=GUARANTEES,
        version=__version__,
    )
    return page


def _shown(value: object) -> object:
    """A value of the page: a stranger's text becomes visible, and is escaped after that."""
    return visible(value) if type(value) is str else value


def _figures(
    one: Reported, found: Comparison, radii: Iterable[float]
) -> Iterator[tuple[str, str, str]]:
    """Each certified accuracy, then the ACR: whether it is a lower bound, itself, its interval.

    Without labels each share that is answered, then the mean radius.
    """
    for radius in radii:
        at_least = AT_LEAST if one.settled is not None and radius not in one.settled else ""
        key = radius_key(radius)
        if found.labelled:
            low, high = found.certified_accuracy_interval[key]
            interval = f"{low:.{DIGITS}f} to {high:.{DIGITS}f}"
            yield at_least, f"{found.certified_accuracy[key]:.{DIGITS}f}", interval
        else:
            yield at_least, f"{found.answered[key]:.{DIGITS}f}", ""
    mean = found.mean_radius if found.acr is None else found.acr
    yield "" if one.settled is None else AT_LEAST, rounded_down(mean or 0.0, DIGITS), ""


def _worth(found: Comparison) -> Iterator[tuple[str, list[str]]]:
    """Below a run: a name, then a figure for each radius and for the ACR."""
    if found.discounted is not None and found.varied:
        acr = rounded_down(found.discounted_acr or 0.0, DIGITS)
        yield "without constant answers", [*_written(found.discounted.values()), acr]
    yield "certified with a wrong class", [*_written(found.wrong.values()), ""]
    if found.null is not None:
        yield "the null: constant classifiers", [*_written(found.null.values()), ""]


def _written(figures: Iterable[float | None]) -> list[str]:
    return ["-" if value is None else f"{value:.{DIGITS}f}" for value in figures]


def _guarantee(config: CertifyConfig, summary: Summary) -> str:
    if summary.memory.unrecorded:
        return "read-only memory"
    if not summary.sound_together:
        return "apart"
    if isinstance(config.policy, Levels):
        return "cascade"
    if isinstance(config.policy, Cells):
        return "routed"
    return "memory" if summary.memory.on else "one classifier"


def _made_with(config: CertifyConfig, summary: Summary) -> Iterator[tuple[str, str]]:
    """What was asked: a name and a text each."""
    yield "data", f"{config.data}, split {config.split}"
    yield "classifier", ", ".join([config.model, *config.alternatives])
    several = bool(config.alternatives)
    yield "its digest", ", ".join(config.model_digests if several else [config.model_digest])
    yield "arithmetic", config.precision + ", compiled" * config.compile
    policy = {
        each.name: getattr(config.policy, each.name)
        for each in fields(config.policy)
        if each.metadata and getattr(config.policy, each.name) is not None
    }
    options = ", ".join(f"{key} = {value}" for key, value in policy.items())
    yield "choice of sigma", f"{config.policy_name}: {options}"
    if not config.alone:
        guard = config.guard
        yield (
            "calibration",
            (
                "none: nothing keeps a network from answering one class for everything"
                if guard is None
                else ", ".join(
                    f"{one.model_digest[:12]} up to {one.high:.4g}" for one in guard.limits
                )
            ),
        )
    sigma = summary.sigma
    text = f"{sigma.min:.{DIGITS}g}"
    if sigma.min < sigma.max:
        text += f" to {sigma.max:.{DIGITS}g}, median {sigma.median:.{DIGITS}g}"
    yield "sigma", f"{text}; {config.noise} noise"
    votes = f"n = {config.n}"
    if summary.question is not None:
        votes = f"n at most {config.n}, {summary.question}"
    yield "votes", f"n0 = {config.n0}, {votes}; {summary.votes} in all"
    yield "confidence", f"alpha = {config.alpha:g}, {config.bound} bound"
    others = other_settings(summary.other_settings, summary.inputs)
    if others:
        yield "other runs", f"made {others}"


def _outcome(config: CertifyConfig, summary: Summary) -> Iterator[tuple[str, str]]:
    """What came of it: a name and a text each."""
    which = "the first classifier, " if config.alternatives else ""
    if summary.clean_accuracy is None:
        yield "labels", "none, so there is no accuracy"
    else:
        yield "clean accuracy", f"{summary.clean_accuracy:.{DIGITS}f} ({which}without noise)"
    yield "abstained", str(summary.abstained)
    yield "memory", _memory_text(config.memory, summary.memory) if summary.memory.on else "none"
    yield "seed", str(config.seed)
    yield "made in", f"{summary.seconds:.1f} s, by ddrs {config.version}"


def _answers(rows: Sequence[Row], start: float | None) -> Iterator[tuple[str, str]]:
    """What was answered how often, in all and by classifier and sigma."""
    yield "share of each answer", _told(answer_shares(rows))
    certified = [row for row in rows if isinstance(row, CertifiedRow)]
    if start is None or len(certified) < len(rows):
        return
    for cell in answer_cells(certified, start):
        where = f"sigma {cell.low:.3g} to {cell.high:.3g}" if cell.low else "sigma up to the start"
        yield f"answers of {cell.model_digest[:12]}, {where}", _told(cell.answers)


def _told(answers: Mapping[int, float]) -> str:
    """Classes with how often they were answered."""
    names = {answer: "abstained" if answer == ABSTAIN else str(answer) for answer in answers}
    return ", ".join(f"{names[answer]}: {often:.3g}" for answer, often in answers.items())


def _memory_text(url: str, memory: MemoryUse) -> str:
    inputs = {
        "own": memory.own,
        "trimmed": memory.trimmed,
        "inherited": memory.inherited,
        "unrecorded": memory.unrecorded,
    }
    texts = [f"{count} {name}" for name, count in inputs.items() if count or name == "own"]
    return f"{url}; {memory.entries} entries; inputs: {', '.join(texts)}"

"""Finished runs and published logs as one page of HTML that needs nothing beside it.

The figures that they reached, what their certificates are about, and how they were made. Jinja2 and
matplotlib are imported when a page is made; no other command waits for them.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ddrs.display.plots import picture
from ddrs.display.rounding import radius_key, rounded_down
from ddrs.errors import ConfigurationError, RunError
from ddrs.evaluation.comparison import Comparison, compare, marks, notes, other_settings
from ddrs.evaluation.curves import draw_certified_accuracy
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.files import write
from ddrs.finished.reading import read_finished
from ddrs.jobs.config import CertifyConfig
from ddrs.runs.summary import MemoryUse, Summary
from ddrs.runs.table import EvaluatedRun, read_runs
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


def write_report(paths: Sequence[Path], out: Path, radii: Iterable[float] = DEFAULT_RADII) -> None:
    """Write one page about runs and logs.

    Args:
        paths: run directories of `ddrs certify`, and logs in the form of locuslab/smoothing.
        out: the page; one that is there is replaced once the new one is whole.
        radii: radii to give the certified accuracy at.

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
    runs = zip(map(Path, paths), read_runs(paths), strict=True)
    reported = [
        describe(run, read_finished(path).config, f"runs/{path.resolve().name}-again")
        if path.is_dir()
        else describe(run)
        for path, run in runs
    ]
    write(out, report_page(reported, radii), "report")


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
        return Reported(run, None, "log", [inputs], None)
    summary = run.summary
    if summary is None:
        raise RunError(
            f"{run.name} is not finished: run the same `ddrs certify` again, then report"
        )
    settled = None if summary.question is None else config.at_radii or ()
    facts = [inputs, *_made_with(config, summary), *_outcome(config, summary)]
    return Reported(run, settled, _guarantee(summary), facts, config.command(again))


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
    from jinja2 import Environment, PackageLoader, StrictUndefined

    radii = list(radii)
    runs = [one.run for one in reported]
    comparisons = compare(runs, radii)
    norms = {one.norm for one in comparisons} - {None}
    figure = draw_certified_accuracy(runs, norm=norms.pop() if len(norms) == 1 else None)
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
                "name": found.run + marks(found),
                "norm": found.norm or "norm not recorded",
                "figures": [*_figures(one, found, radii)],
            }
            for one, found in zip(reported, comparisons, strict=True)
        ],
        notes=notes(comparisons),
        figure=base64.b64encode(picture(figure)).decode("ascii"),
        reported=reported,
        guarantees=GUARANTEES,
        version=__version__,
    )
    return page


def _figures(
    one: Reported, found: Comparison, radii: Iterable[float]
) -> Iterator[tuple[str, str, str]]:
    """Each certified accuracy, then the ACR: whether it is a lower bound, itself, its interval."""
    for radius in radii:
        accuracy = found.certified_accuracy[radius_key(radius)]
        low, high = found.certified_accuracy_interval[radius_key(radius)]
        at_least = AT_LEAST if one.settled is not None and radius not in one.settled else ""
        yield at_least, f"{accuracy:.{DIGITS}f}", f"{low:.{DIGITS}f} to {high:.{DIGITS}f}"
    yield "" if one.settled is None else AT_LEAST, rounded_down(found.acr, DIGITS), ""


def _guarantee(summary: Summary) -> str:
    if summary.memory.unrecorded:
        return "read-only memory"
    if not summary.sound_together:
        return "apart"
    return "memory" if summary.memory.on else "one classifier"


def _made_with(config: CertifyConfig, summary: Summary) -> Iterator[tuple[str, str]]:
    """What was asked: a name and a text each."""
    yield "data", f"{config.data}, split {config.split}"
    yield "classifier", ", ".join([config.model, *config.alternatives])
    several = bool(config.alternatives)
    yield "its digest", ", ".join(config.model_digests if several else [config.model_digest])
    yield "arithmetic", config.precision + ", compiled" * config.compile
    policy = {key: value for key, value in asdict(config.policy).items() if value is not None}
    options = ", ".join(f"{key} = {value}" for key, value in policy.items())
    yield "choice of sigma", f"{config.policy_name}: {options}"
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
    yield "clean accuracy", f"{summary.clean_accuracy:.{DIGITS}f} ({which}without noise)"
    yield "abstained", str(summary.abstained)
    yield "memory", _memory_text(config.memory, summary.memory) if summary.memory.on else "none"
    yield "seed", str(config.seed)
    yield "made in", f"{summary.seconds:.1f} s, by ddrs {config.version}"


def _memory_text(url: str, memory: MemoryUse) -> str:
    inputs = {
        "own": memory.own,
        "trimmed": memory.trimmed,
        "inherited": memory.inherited,
        "unrecorded": memory.unrecorded,
    }
    texts = [f"{count} {name}" for name, count in inputs.items() if count or name == "own"]
    return f"{url}; {memory.entries} entries; inputs: {', '.join(texts)}"

"""Every table and figure of the CIFAR-10 study, made again from its stored certificates.

    python experiments/cifar10/report.py [--out DIR]

It reads `results/`, `stream/` and `attack/`, and writes `tables.md` and the figures that are in it.
What is not certified yet is named there, and what can be made without it is made. Two questions are
kept apart: what somebody gains who chooses one row by validation data ("deployable"), and the best
row at each radius on the test data ("envelope"), which is how the paper's tables were formed.

Run it from the root of the project: the pictures need the data.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import Picture, draw_all, draw_headline
from probes import attack_section, stream_section
from scipy.stats import bootstrap
from stored import (
    HERE,
    KINDS,
    METHODS,
    SEVERAL,
    Certified,
    Entry,
    Input,
    read_options,
    read_study,
    shared,
)
from texts import aligned, bullets

from ddrs.errors import DDRSError, RunError
from ddrs.evaluation import accuracy_interval, compare, radius_key, rounded_down
from ddrs.evaluation.figures import write_figure
from ddrs.evaluation.files import replace_file
from ddrs.evaluation.rounding import rounded_up

STUDY = HERE / "study.toml"
MADE_BY = "`python experiments/cifar10/report.py`"

RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
HEADLINE_RADII = (*RADII, 1.75, 2.0)
LEVEL, RESAMPLES, SEED = 0.95, 10_000, 0
PERCENT = f"{LEVEL:.0%}".replace("%", " %")
NONE = "-"

NORMS = {"l2": "l2: Gaussian noise", "l1": "l1: uniform noise"}
RULES = {"fixed": "fixed", "gradient": "Algorithm 1", "search": "search"}
OUTCOMES = ("trimmed", "inherited")
ALONE, OTHERWISE = r" \*", " †"

# Alfarra et al. 2022: certified accuracy in % at RADII and 2, then the ACR; l1 without these.
PAPER = """
l2 gaussian  fixed Cohen         79.9 58.3 40.1 29.2 20.2 13.1  7.3 0    0.591
l2 gaussian  DS    Cohen-DS      77.2 64.5 47.8 38.3 27.6 16.5  8.0 1.2  0.784
l2 gaussian  DS2   Cohen-DS2     79.8 66.5 50.4 39.2 29.1 18.3  8.8 1.4  0.764
l2 smoothadv fixed SmoothAdv     76.0 62.4 46.7 34.6 26.5 19.5 12.9 0    0.681
l2 smoothadv DS    SmoothAdv-DS  75.7 66.4 52.1 38.8 30.6 22.2 15.0 4.2  0.799
l2 smoothadv DS2   SmoothAdv-DS2 76.2 66.8 52.8 39.3 30.8 22.6 15.1 4.3  0.812
l2 macer     fixed MACER         78.8 59.3 43.6 34.7 26.6 19.4 13.0 0    0.702
l2 macer     DS    MACER-DS      79.5 66.7 52.3 43.0 30.8 19.5 12.8 3.97 0.841
l2 macer     DS2   MACER-DS2     82.4 68.3 52.7 43.5 31.7 20.6 13.8 3.65 0.807
l1 uniform   fixed Yang          92 83 75 71 46
l1 uniform   DS    Yang-DS       92 89 82 76 58
"""


def best(candidates: Sequence[Entry], radius: float | None, part: str) -> Entry | None:
    """The best at a radius, by ACR for None; None where nobody was asked.

    Of several with one accuracy it is that of the largest ACR, then the first of the study.

    Args:
        candidates: with the results that are asked for.
        radius: None for the ACR.
        part: `test` or `validation`, the results to judge by.
    """
    results = [getattr(entry, part) for entry in candidates]
    inputs = shared(results) if results else []
    scored = [
        ((score, one.mean(None, inputs)), entry)
        for entry, one in zip(candidates, results, strict=True)
        if (score := one.mean(radius, inputs)) is not None
    ]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def interval(differences: npt.NDArray[Any]) -> str:
    """Percentile bootstrap of the mean of paired differences, `[inputs]`; inputs are resampled.

    None of fewer than two inputs, or where nothing differs, of which resampling tells nothing.
    """
    if len(differences) < 2 or not differences.any():
        return NONE
    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=1000,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return f"{found.low:+.3f} to {found.high:+.3f}"


def all_rows(entries: Sequence[Entry]) -> str:
    """What came of each row, on all its inputs."""
    done = [(entry, entry.test) for entry in entries if entry.test is not None]
    if not done:
        return "No row is certified yet."
    lines, widths = [], []
    for entry, test in done:
        (found,) = compare([test.run])
        accuracies = [test.mean(radius, test.right) for radius in RADII]
        widths.append(half_width(accuracies, len(test.right)))
        steps = f", K = {entry.options['steps']}" if "steps" in entry.options else ""
        lines.append(
            [
                entry.title + ALONE * (found["sound_together"] is False),
                entry.model,
                RULES[entry.options["policy"]] + steps,
                f"{'at most ' * (test.grid is not None)}{test.config['n']}",
                f"{test.config['alpha']:g}",
                str(len(test.right)),
                acr_text(found["acr"], [test]),
                *map(number, accuracies),
                str(found["abstained"]),
                f"{found['votes'] / len(test.right):.0f}",
                number(None if len(test.models) > 1 else found["clean_accuracy"]),
                *(NONE if found[key] is None else str(found[key]) for key in OUTCOMES),
            ]
        )
    names = ["row", "model", "policy", "n", "alpha", "inputs", "ACR", *map(at, RADII)]
    names += ["abstained", "votes per input", "clean accuracy", *OUTCOMES]
    alone = any(line[0].endswith(ALONE) for line in lines)
    notes = [
        f"The accuracy at r is the certified one; {PERCENT} Clopper-Pearson intervals reach at "
        f"most {rounded_up(max(widths), 3)} to either side. The clean accuracy is that of the "
        "classifier without noise.",
        "No row is chosen here. Sigma is the one of the training (fixed) or chosen by the policy "
        "for each input, whose label it does not know.",
        *[f"{ALONE.strip()} without a memory: these certificates are not sound together."] * alone,
        sources([test for _, test in done]),
        *trained_again([entry for entry, _ in done]),
        *in_bf16([entry for entry, _ in done]),
    ]
    return aligned(names, lines, left=3) + bullets(notes)


def trained_again(entries: Sequence[Entry]) -> list[str]:
    """Which models stand for several classifiers, and which rows are of which one."""
    rows: dict[str, dict[str, list[str]]] = {}  # model -> digest -> rows
    for entry in entries:
        for model, digest in entry.test.digests.items():
            rows.setdefault(model, {}).setdefault(digest, []).append(f"`{entry.name}`")
    several = [
        f"`{model}` (rows {'; '.join(', '.join(some) for some in classifiers.values())})"
        for model, classifiers in rows.items()
        if len(classifiers) > 1
    ]
    text = (
        "Models that were trained more than once with the same options, which gives other weights "
        "on another processor or in bf16, or that run in two precisions; rows of one classifier "
        f"stand together, others after a semicolon: {', '.join(several)}."
    )
    return [text] * bool(several)


def in_bf16(entries: Sequence[Entry]) -> list[str]:
    """Which rows are of classifiers that compute in bf16."""
    names = [f"`{entry.name}`" for entry in entries if entry.test.config["precision"] == "bf16"]
    which = ", ".join(names) if len(names) < len(entries) else "all rows"
    return [f"Forward passes in bf16 instead of fp32: {which}."] * bool(names)


def deployable(entries: Sequence[Entry], norm: str) -> str:
    """One row chosen on validation inputs, beside the strongest fixed sigma."""
    methods = list(dict.fromkeys(entry.method for entry in entries))
    with_fixed = {entry.method for entry in entries if entry.kind == "fixed"}
    alone = [method for method in methods if method != SEVERAL]
    scopes = {"All methods": methods} if len(methods) > 1 else {}
    if 1 < len(alone) < len(methods):
        scopes["One classifier"] = alone
    scopes |= {METHODS[method]: [method] for method in methods if method in with_fixed}
    fixed, adaptive = candidates(entries, methods)
    notes = [
        "The row with a sigma per input is chosen on validation inputs alone, once, by its ACR. "
        "The strongest with a fixed sigma is that of the very test inputs, anew at each radius, "
        "and of equals the one of the largest ACR: a choice that nobody can make who deploys one, "
        "in favour of the fixed sigma. Which rows there are to choose from was not settled before "
        "test inputs were looked at.",
        "The best by input is an oracle that knows the labels and takes for each input, anew at "
        "each radius, the best of all rows with a fixed sigma.",
        "Figures and differences are of the test inputs that all these have. Intervals are of "
        f"{PERCENT} and of the paired difference: a percentile bootstrap over inputs ({RESAMPLES} "
        f"resamples, seed {SEED}), each line by itself, the choices taken as they are. A "
        'difference of ACRs that are "at least" is one of lower bounds.',
        "The paper's columns are the best of its rows on test data, with a ResNet-18: not chosen "
        "as ours are, so not to be compared line by line.",
    ]
    if fixed and adaptive:
        validated = about([entry.validation for entry in adaptive])
        tests = [entry.test for entry in (*fixed, *adaptive)]
        notes.append(f"Validation: {validated} {sources(tests)}")
    parts = [bullets(notes).strip()]
    for title, scope in scopes.items():
        some = [entry for entry in entries if entry.method in scope]
        parts += [f"#### {title}", deployable_in(some, norm, scope)]
    return "\n\n".join(parts)


def candidates(entries: Sequence[Entry], methods: Sequence[str]) -> tuple[list[Entry], list[Entry]]:
    """Of the rows of some methods those with a fixed sigma, and those to choose from.

    Beside single classifiers one that is chosen for each input is no fixed baseline: what it gains
    depends on the data.
    """
    done = [entry for entry in entries if entry.test and entry.method in methods]
    single = [entry for entry in done if entry.method != SEVERAL or len(methods) == 1]
    fixed = [entry for entry in single if entry.kind == "fixed"]
    return fixed, [entry for entry in done if entry.candidate and entry.validation]


def deployable_in(entries: Sequence[Entry], norm: str, methods: Sequence[str]) -> str:
    """The comparison among the rows of some methods."""
    fixed, adaptive = candidates(entries, methods)
    chosen = best(adaptive, None, "validation")
    if chosen is None:
        return "No row can be chosen: none that may be has validation and test results yet."
    if not fixed:
        return "No row with a fixed sigma is certified yet."
    waiting = [entry for entry in entries if entry.candidate and entry not in adaptive]
    several = len(methods) == 1
    all_fixed = [e for e in entries if e.kind == "fixed" and (several or e.method != SEVERAL)]
    left_out = f" Not yet certified, and left out: {len(waiting)}." * bool(waiting)
    lines = [compared(chosen, fixed, radius, norm, methods) for radius in (*RADII, None)]
    names = ["", "strongest fixed sigma", "inputs", "fixed", "chosen row", "difference"]
    names += [f"{PERCENT} interval", "fixed, best by input", "paper: fixed", "paper: DS or DS2"]
    acr = chosen.validation.mean(None, shared([entry.validation for entry in adaptive]))
    heading = (
        f"The chosen row is **{chosen.title}** (`{chosen.name}`, model `{chosen.model}`; validation"
        f" ACR {acr_text(acr, [chosen.validation])}), of {len(adaptive)} to choose from.{left_out} "
        f"With a fixed sigma there are {len(fixed)} of {len(all_fixed)}."
    )
    return f"{heading}\n\n{aligned(names, lines, left=2)}"


def headline(entries: Sequence[Entry], norm: str) -> Picture | None:
    """The picture of the deployable comparison; None where no row can be chosen.

    Beside the chosen row and the strongest fixed sigma it shows the row that would be chosen among
    single classifiers.
    """
    methods = list(dict.fromkeys(entry.method for entry in entries))
    fixed, adaptive = candidates(entries, methods)
    alone = best([entry for entry in adaptive if entry.method != SEVERAL], None, "validation")
    chosen = chosen_row(entries)
    if chosen is None or not fixed:
        return None
    rows = {entry.title: dict.fromkeys(HEADLINE_RADII, entry) for entry in (chosen, alone) if entry}
    strongest = {radius: best(fixed, radius, "test") for radius in HEADLINE_RADII}
    return draw_headline(rows | {"strongest fixed sigma at each radius": strongest}, chosen, norm)


def chosen_row(entries: Sequence[Entry]) -> Entry | None:
    """The row that is chosen of all."""
    _, adaptive = candidates(entries, [entry.method for entry in entries])
    return best(adaptive, None, "validation")


def compared(
    chosen: Entry, fixed: Sequence[Entry], radius: float | None, norm: str, methods: Sequence[str]
) -> list[str]:
    """A line of that table: at one radius, or of the ACR for None."""
    paper = [
        paper_text([paper_row(norm, method, kind) for method in methods for kind in kinds], radius)
        for kinds in (("fixed",), ("DS", "DS2"))
    ]
    base = best(fixed, radius, "test")
    name = "ACR" if radius is None else at(radius)
    if base is None:
        return [name, *[NONE] * 7, *paper]
    inputs = shared([chosen.test, *(entry.test for entry in fixed)])
    oracle = best_by_input([entry.test for entry in fixed], radius, inputs)
    return [name, base.title, *paired(chosen.test, base.test, radius, inputs), oracle, *paper]


def paired(
    ours: Certified, theirs: Certified, radius: float | None, inputs: Sequence[Input]
) -> list[str]:
    """How many inputs, their figure, ours, the difference and its interval."""
    of_ours, of_theirs = (one.scores(radius, inputs) for one in (ours, theirs))
    if of_ours is None or of_theirs is None:
        return [str(len(inputs)), *[NONE] * 4]
    means = [
        number(scores.mean()) if radius is not None else acr_text(scores.mean(), [one])
        for scores, one in ((of_theirs, theirs), (of_ours, ours))
    ]
    spread = of_ours - of_theirs
    return [str(len(inputs)), *means, f"{spread.mean():+.3f}", interval(spread)]


def confirmation(entries: Sequence[Entry], norm: str) -> str:
    """The deployable comparison on further inputs, which took no part in any choice."""
    asked = [entry for entry in entries if entry.confirm]
    fixed, _ = candidates(entries, [entry.method for entry in entries])
    chosen = chosen_row(entries)
    if chosen is None or chosen.confirmation is None or not fixed:
        return "The chosen row is not certified on confirmation inputs yet."
    lines = []
    for radius in (*RADII, None):
        base = best(fixed, radius, "test")
        cells = [NONE] * 5
        if base is not None and base.confirmation is not None:
            both = chosen.confirmation, base.confirmation
            cells = paired(*both, radius, shared(both))
        name = "ACR" if radius is None else at(radius)
        lines.append([name, base.title if base else NONE, *cells])
    names = ["", "strongest fixed sigma before", "inputs", "fixed", "chosen row", "difference"]
    names.append(f"{PERCENT} interval")
    done = [entry.confirmation for entry in asked if entry.confirmation]
    waiting = [f"`{entry.name}`" for entry in asked if entry.confirmation is None]
    notes = [
        f"The chosen row ({chosen.title}) and the strongest fixed sigma are those of the "
        "comparison above: these inputs were certified after it, and nothing is chosen on them. "
        "Intervals are as above.",
        f"Confirmation: {about(done)} Made again by {MADE_BY}.",
        *[f"Not yet certified on confirmation inputs: {', '.join(waiting)}."] * bool(waiting),
    ]
    return aligned(names, lines, left=2) + bullets(notes)


def best_by_input(
    certified: Sequence[Certified], radius: float | None, inputs: Sequence[Input]
) -> str:
    """What the best of these for each of some inputs reaches at a radius, of the ACR for None."""
    scores = [some for one in certified if (some := one.scores(radius, inputs)) is not None]
    if not scores:
        return NONE
    reached = np.max(scores, axis=0).mean()
    return number(reached) if radius is not None else acr_text(reached, certified)


def differences(entries: Sequence[Entry], pairs: Iterable[Sequence[str]]) -> str:
    """Rows less other rows, on the test inputs that both have."""
    done = {entry.name: entry.test for entry in entries if entry.test is not None}
    lines = []
    for first, second in pairs:
        if first not in done or second not in done:
            continue
        inputs = shared([done[first], done[second]])
        mark = OTHERWISE * made_otherwise(done[first], done[second])
        line = [f"{first} less {second}{mark}", str(len(inputs))]
        for radius in (*RADII, None):
            ours, theirs = (done[name].scores(radius, inputs) for name in (first, second))
            if ours is None or theirs is None:
                line.append(NONE)
            else:
                line.append(f"{(ours - theirs).mean():+.3f} ({interval(ours - theirs)})")
        lines.append(line)
    if not lines:
        return "No two rows to compare are certified yet."
    notes = [
        f"In brackets {PERCENT} intervals of the paired difference, as above. Differences of ACRs "
        "are those of lower bounds where votes stopped once a grid of radii was settled.",
        *[
            f"{OTHERWISE.strip()} part of the difference may be that a model which both rows use "
            "was trained twice, or that only one of the rows is in bf16."
        ]
        * any(line[0].endswith(OTHERWISE) for line in lines),
    ]
    return aligned(["", "inputs", *map(at, RADII), "ACR"], lines, left=1) + bullets(notes)


def made_otherwise(first: Certified, second: Certified) -> bool:
    """Whether two rows differ in the training of a model that both use, or in precision."""
    both = first.digests.keys() & second.digests.keys()
    retrained = any(first.digests[model] != second.digests[model] for model in both)
    return retrained or first.config["precision"] != second.config["precision"]


def envelope(entries: Sequence[Entry], norm: str) -> str:
    """The best of all rows of a method and kind, anew at each radius, on the test inputs."""
    done = [entry.test for entry in entries if entry.test is not None]
    if not done:
        return "No row is certified yet."
    inputs, radii = shared(done), (*RADII, 2.0)
    groups: dict[tuple[str, str], list[Entry]] = {}
    for method in METHODS:
        for kind in KINDS:
            found = [e for e in entries if (e.method, e.kind) == (method, kind)]
            groups |= {(method, kind): found} if found else {}
    lines, accuracies = [], []
    for (method, kind), rows in groups.items():
        tests = [entry.test for entry in rows if entry.test is not None]
        means = [[one.mean(radius, inputs) for one in tests] for radius in (*radii, None)]
        tops = [max((a for a in some if a is not None), default=None) for some in means]
        accuracies += tops[:-1]
        lines.append(
            [
                METHODS[method] + KINDS[kind],
                f"{len(tests)} of {len(rows)}",
                *map(number, tops[:-1]),
                acr_text(tops[-1], tests),
                best_by_input(tests, None, inputs),
            ]
        )
        row = paper_row(norm, method, kind)
        if row:
            cells = [paper_text([row], radius) for radius in (*radii, None)]
            lines.append([f"{row['name']} (paper)", NONE, *cells[:-1], NONE, cells[-1]])
    names = ["best of", "rows", *map(at, radii), "ACR of the best row", "ACR of the best by input"]
    notes = [
        "Each cell is the best of the rows that there are, over sigma, rule and K, chosen on these "
        "very test inputs, for a fixed sigma and for one per input alike: what an oracle reaches "
        "and nobody can deploy. The last column takes the best row for each input, as the paper's "
        "ACR seems to.",
        f"{PERCENT} Clopper-Pearson intervals, which do not know of this choice, reach at most "
        f"{rounded_up(half_width(accuracies, len(inputs)), 3)} to either side on the "
        f"{len(inputs)} inputs that all these rows have.",
        "The paper's rows are of a ResNet-18 with n = 100000, alpha = 0.001.",
        sources(done),
    ]
    return aligned(names, lines, left=1) + bullets(notes)


def paper_row(norm: str, method: str, kind: str) -> dict[Any, Any]:
    """The paper's name for a row, its accuracy by radius, and its ACR by None; {} for no row."""
    for line in PAPER.strip().splitlines():
        *key, name = line.split()[:4]
        numbers = [float(cell) for cell in line.split()[4:]]
        if key == [norm, method, kind]:
            acr = numbers.pop() if len(numbers) > len(RADII) else None
            radii = (*RADII, 2.0)[: len(numbers)]
            accuracies = {r: number / 100 for r, number in zip(radii, numbers, strict=True)}
            return {"name": name, **accuracies, None: acr}
    return {}


def paper_text(rows: Iterable[dict[Any, Any]], radius: float | None) -> str:
    """The largest of the paper's figures at a radius, the ACR for None."""
    figures = [row[radius] for row in rows if row.get(radius) is not None]
    return number(max(figures, default=None))


def acr_text(acr: float | None, certified: Sequence[Certified]) -> str:
    """An ACR, rounded down: a lower bound where votes stopped once a grid of radii was settled."""
    if acr is None:
        return NONE
    return "at least " * any(one.grid is not None for one in certified) + rounded_down(acr, 3)


def half_width(accuracies: Iterable[float | None], inputs: int) -> float:
    """How far the intervals of these accuracies reach to a side at most."""
    widths = [0.0]
    for accuracy in accuracies:
        if accuracy is not None:
            low, high = accuracy_interval(round(accuracy * inputs), inputs, LEVEL)
            widths += [accuracy - low, high - accuracy]
    return max(widths)


def number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def at(radius: float) -> str:
    return f"r={radius_key(radius)}"


def about(certified: Sequence[Certified]) -> str:
    """What these were certified on, and how."""

    def distinct(value: Callable[[Certified], object]) -> str:
        return " / ".join(dict.fromkeys(str(value(one)) for one in certified))

    most = "at most " * any(one.grid is not None for one in certified)
    return (
        f"{distinct(lambda one: one.config['data'])}, {distinct(lambda one: len(one.right))} "
        f"inputs, n {most or '= '}{distinct(lambda one: one.config['n'])}, "
        f"n0 = {distinct(lambda one: one.config['n0'])}, "
        f"alpha = {distinct(lambda one: one.config['alpha'])}."
    )


def sources(certified: Sequence[Certified]) -> str:
    """The same with the models, and how to make it again."""
    models = ", ".join(dict.fromkeys(name for one in certified for name in one.models))
    return f"Test: {about(certified)} Models: {models}. Made again by {MADE_BY}."


def coverage(entries: Sequence[Entry], results: Path) -> str:
    """Which results are there, and which are not yet."""
    parts = []
    candidates = [entry for entry in entries if entry.candidate]
    for part, kind, some in (
        ("test", "rows", entries),
        ("validation", "rows to choose from", candidates),
    ):
        waiting = [f"`{entry.name}`" for entry in some if getattr(entry, part) is None]
        text = f"Certified on {part} inputs: {len(some) - len(waiting)} of {len(some)} {kind}."
        parts.append(text + f" Missing: {', '.join(waiting)}." * bool(waiting))
    unknown = sorted({path.name for path in results.iterdir()} - {entry.name for entry in entries})
    parts += [f"Results of no row, not used: {', '.join(unknown)}."] * bool(unknown)
    return "\n\n".join(parts)


def build(results: Path, out: Path) -> None:
    """Write `tables.md` and the figures that it shows.

    Args:
        results: a folder for each row that is done, as `study.py` keeps them.
        out: where to write; what is there is replaced file by file, once all is made.

    Raises:
        DDRSError: no results, damaged ones, or `out` cannot be written.
    """
    if not results.is_dir():
        raise RunError(f"there are no results in {results}: first certify rows with study.py run")
    entries = read_study(results)
    pairs = read_options(STUDY)["differences"]["pairs"]
    parts = ["# CIFAR-10: the tables", coverage(entries, results)]
    pictures = {}
    for norm, title in NORMS.items():
        some = [entry for entry in entries if entry.norm == norm]
        if not some:
            continue
        parts += [f"## {title}", "### All rows", all_rows(some)]
        parts += ["### Deployable", deployable(some, norm)]
        if any(entry.confirm for entry in some):
            parts += ["### Confirmation", confirmation(some, norm)]
        parts += ["### Differences", differences(some, pairs)]
        parts += ["### The paper's envelope", envelope(some, norm), "### Figures"]
        first = headline(some, norm)
        others = draw_all(some, norm, chosen_row(some))
        for name, caption, figure in (*[first] * bool(first), *others):
            if figure is not None:
                pictures[f"{name}-{norm}.png"] = figure
                parts.append(f"![{name}]({name}-{norm}.png)")
            parts.append(caption)
    text, figure = stream_section(HERE / "stream")
    parts += ["## A stream made hard for the memory", text]
    if figure is not None:
        pictures["stream.png"] = figure
        parts.append("![stream](stream.png)")
    parts += ["## An attack", attack_section(HERE / "attack")]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write in {out}: {error.strerror}; choose another --out") from error
    for name, figure in pictures.items():
        write_figure(figure, out / name)
    replace_file(out / "tables.md", ("\n\n".join(parts) + "\n").encode(), "tables")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE, metavar="DIR")
    try:
        build(HERE / "results", parser.parse_args().out)
    except DDRSError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""The comparison to deploy by: one row chosen on validation inputs, beside a fixed sigma."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ddrs.display import markdown
from experiments.cifar10.report.cells import (
    MADE_BY,
    NONE,
    PERCENT,
    RADII,
    RESAMPLES,
    SEED,
    about,
    acr_text,
    at,
    best_by_input,
    otherwise,
    paired,
    sources,
)
from experiments.cifar10.report.figures import Picture, draw_headline
from experiments.cifar10.report.paper import paper_row, paper_text
from experiments.cifar10.report.stored import METHODS, SEVERAL, Certified, Entry, joined, shared
from experiments.cifar10.report.texts import bullets

HEADLINE_RADII = (*RADII, 1.75, 2.0)


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
        "in favour of the fixed sigma. Beside single classifiers those that are chosen for each "
        "input, with one sigma, do not count as one. Which rows there are to choose from was not "
        "settled before test inputs were looked at.",
        "The best by input is an oracle that knows the labels and takes for each input, anew at "
        "each radius, the best of these rows with a fixed sigma.",
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
    text = f"{heading}\n\n{markdown.table(names, lines, left=2)}"
    return text + (bullets(marks) if (marks := otherwise(lines)) else "")


def compared(
    chosen: Entry, fixed: Sequence[Entry], radius: float | None, norm: str, methods: Sequence[str]
) -> list[str]:
    """A line of that table: at one radius, or of the ACR for None."""
    paper = [
        paper_text([paper_row(norm, method, kind) for method in methods for kind in kinds], radius)
        for kinds in (("fixed",), ("DS", "DS2"))
    ]
    base = best(fixed, radius, "test")
    if base is None:
        return [at(radius), *[NONE] * 7, *paper]
    inputs = shared([chosen.test, *(entry.test for entry in fixed)])
    oracle = best_by_input([entry.test for entry in fixed], radius, inputs)
    return [at(radius), base.title, *paired(chosen.test, base.test, radius, inputs), oracle, *paper]


def candidates(entries: Sequence[Entry], methods: Sequence[str]) -> tuple[list[Entry], list[Entry]]:
    """Of the rows of some methods those with a fixed sigma, and those to choose from.

    Beside single classifiers one that is chosen for each input is no fixed baseline: what it gains
    depends on the data.
    """
    done = [entry for entry in entries if entry.test and entry.method in methods]
    single = [entry for entry in done if entry.method != SEVERAL or len(methods) == 1]
    fixed = [entry for entry in single if entry.kind == "fixed"]
    return fixed, [entry for entry in done if entry.candidate and entry.validation]


def chosen_row(entries: Sequence[Entry]) -> Entry | None:
    """The row that is chosen of all."""
    _, adaptive = candidates(entries, [entry.method for entry in entries])
    return best(adaptive, None, "validation")


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


def confirmation(entries: Sequence[Entry]) -> str:
    """The deployable comparison on further inputs, which took no part in any choice."""
    asked = [entry for entry in entries if entry.confirm]
    fixed, _ = candidates(entries, [entry.method for entry in entries])
    chosen = chosen_row(entries)
    if chosen is None or chosen.confirmation is None or not fixed:
        return "The chosen row is not certified on confirmation inputs yet."

    def table(results: Callable[[Entry], Certified | None]) -> str:
        lines = []
        for radius in (*RADII, None):
            base = best(fixed, radius, "test")
            both = (results(chosen), results(base)) if base else (None, None)
            cells = paired(*both, radius, shared(both)) if all(both) else [NONE] * 5
            lines.append([at(radius), base.title if base else NONE, *cells])
        names = ["", "strongest fixed sigma before", "inputs", "fixed", "chosen row", "difference"]
        return markdown.table([*names, f"{PERCENT} interval"], lines, left=2)

    done = [entry.confirmation for entry in asked if entry.confirmation]
    waiting = [f"`{entry.name}`" for entry in asked if entry.confirmation is None]
    notes = [
        f"The chosen row ({chosen.title}) and the strongest fixed sigma are those of the "
        "comparison above: these inputs were certified after it, and nothing is chosen on them. "
        "Intervals are as above.",
        f"Confirmation: {about(done)} Made again by {MADE_BY}.",
        *[f"Not yet certified on confirmation inputs: {', '.join(waiting)}."] * bool(waiting),
    ]
    together = (
        "The same on these inputs and the test inputs together, on which the rows were compared "
        "before:"
    )
    tables = [table(lambda entry: entry.confirmation), together, table(with_confirmation)]
    marks = otherwise([tables])
    return "\n\n".join(tables) + bullets([*notes, *marks])


def with_confirmation(entry: Entry) -> Certified | None:
    """The results of a row on test inputs and on confirmation inputs; None where one is missing."""
    parts = entry.test, entry.confirmation
    return joined(*parts) if all(parts) else None

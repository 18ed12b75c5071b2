import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest

from ddrs.errors import ConfigurationError, InputError
from ddrs.evaluation.comparison import compare, render
from ddrs.runs.logs import PublishedLog
from ddrs.runs.rows import LoggedRow
from ddrs.runs.summary import MemoryUse, SigmaRange, Summary
from ddrs.runs.table import EvaluatedRun

FIXED = [
    LoggedRow(0, 1, 1, 0.5, True, 2.0),
    LoggedRow(1, 1, 1, 0.25, True, 1.5),
    LoggedRow(2, 1, -1, 0.0, False, 1.0),
]
CHOSEN = [
    LoggedRow(0, 1, 1, 1.0, True),
    LoggedRow(1, 1, 1, 0.4999, True),
    LoggedRow(2, 1, 2, 3.0, False),
]
SUMMARY = Summary(
    inputs=3,
    acr=0.49,  # the comparison forms its own figures from the rows
    certified_accuracy={},
    certified_accuracy_interval={},
    interval_level=0.95,
    clean_accuracy=2 / 3,
    abstained=0,
    votes=330_300,
    seconds=123.456,
    sigma=SigmaRange(0.25, 0.25, 0.5),
    memory=MemoryUse(on=True, entries=3, own=1, trimmed=2, inherited=0, unrecorded=0),
    sound_together=True,
    n=100_000,
    n0=100,
    alpha=0.001,
    norm="l2",
)
LOG = EvaluatedRun("published log", FIXED, None)
RUN = EvaluatedRun("search", CHOSEN, SUMMARY)


def test_compare_keeps_exact_figures() -> None:
    log, run = compare([LOG, RUN], [0.0, 0.5])

    assert log.certified_accuracy == {"0.00": 2 / 3, "0.50": 1 / 3}
    # Clopper-Pearson for 1 of 3: the lower end solves 1 - (1 - p)^3 = 0.025, the upper one
    # (1 - p)^3 + 3 p (1 - p)^2 = 0.025
    low, high = log.certified_accuracy_interval["0.50"]
    assert low == pytest.approx(1 - 0.975 ** (1 / 3))
    assert (1 - high) ** 3 + 3 * high * (1 - high) ** 2 == pytest.approx(0.025)
    assert (log.acr, log.abstained, log.seconds) == (0.25, 1, 4.5)
    unknown = ("clean_accuracy", "votes", "trimmed", "inherited", "n", "alpha", "sound_together")
    assert [log.n_at_most, log.question, run.question] == [None] * 3
    assert [getattr(log, key) for key in unknown] == [None] * len(unknown)
    assert run.acr == pytest.approx(1.4999 / 3)
    assert [getattr(run, key) for key in unknown] == [2 / 3, 330_300, 2, 0, 100_000, 0.001, True]
    assert (run.inputs, run.abstained, run.seconds) == (3, 0, 123.456)


def test_markdown_to_the_letter() -> None:
    text = render(compare([LOG, RUN], [0, 0.5]))

    assert text.splitlines() == [
        "| run           | inputs | clean | r=0.00 | r=0.50 |   ACR | abstained |  votes | seconds"
        " | trimmed | inherited |",
        "| :------------ | -----: | ----: | -----: | -----: | ----: | --------: | -----: | ------:"
        " | ------: | --------: |",
        "| published log |      3 |     - |  0.667 |  0.333 | 0.250 |         1 |      - |     4.5"
        " |       - |         - |",
        # 1.4999 / 3 = 0.49996...: an average radius is not rounded up to 0.500
        "| search        |      3 | 0.667 |  0.667 |  0.333 | 0.499 |         0 | 330300 |   123.5"
        " |       2 |         0 |",
        "",
        "n = not recorded / 100000, alpha = not recorded / 0.001, inputs = 3, norm = not recorded"
        " / l2; 95% intervals of the accuracies at r reach at most 0.573 to either side.",
    ]


@pytest.mark.parametrize("name", ["x", "a name that is wider than its column", "a|b", "two\nlines"])
def test_lines_align_whatever_the_name(name: str) -> None:
    lines = render(compare([EvaluatedRun(name, FIXED, None), RUN])).splitlines()[:4]

    assert len({len(line) for line in lines}) == 1
    assert {line.replace(r"\|", "").count("|") for line in lines} == {18 + 1}  # 18 columns


def test_certificates_that_are_not_sound_together_are_marked() -> None:
    off = replace(SUMMARY.memory, on=False)
    loose = EvaluatedRun("loose", CHOSEN, replace(SUMMARY, memory=off, sound_together=False))

    text = render(compare([RUN, loose], [0.5]))

    assert "| loose* |" in text
    assert "| search |" in text
    assert text.endswith(
        "* sigma or the classifier varies without a memory: these certificates are not sound "
        "together."
    )


STOPPED = replace(SUMMARY, n=None, n_at_most=20_000, question="until enough")
EARLY = EvaluatedRun("early", CHOSEN, STOPPED)
SETTLED = EvaluatedRun("settled", CHOSEN, replace(STOPPED, n=500))


@pytest.mark.parametrize(
    ("runs", "start"),
    [
        ([EARLY], "n at most 20000 (until enough), alpha = 0.001"),
        ([RUN, EARLY], "n = 100000 / at most 20000 (until enough), alpha"),
        ([EARLY, RUN], "n at most 20000 (until enough) / 100000, alpha"),
        # even where all inputs happened to stop at the same number
        (
            [SETTLED],
            "n at most 20000 (until enough), alpha",
        ),
    ],
)
def test_the_footer_says_when_votes_stopped(runs: Sequence[EvaluatedRun], start: str) -> None:
    footer = render(compare(runs, [0.5])).splitlines()[-1]

    assert footer.startswith(start)


def test_runs_on_other_inputs_are_called_out() -> None:
    other = [LoggedRow(9, 1, 1, 0.5, True), *FIXED[1:]]
    table = compare([LOG, EvaluatedRun("other", other, None)], [0.5])

    assert [entry.same_inputs for entry in table] == [True, False]
    assert "NOT all on the same inputs" in render(table)
    assert "NOT" not in render(compare([LOG, RUN], [0.5]))


def test_csv_reads_back_with_intervals() -> None:
    table = compare([LOG, RUN], [0.5])

    log, run = csv.DictReader(io.StringIO(render(table, "csv")))

    low, high = table[1].certified_accuracy_interval["0.50"]
    assert run["run"] == "search"
    assert float(run["certified_0.50"]) == 1 / 3
    assert (float(run["certified_0.50_low"]), float(run["certified_0.50_high"])) == (low, high)
    assert float(run["acr"]) == table[1].acr
    assert (log["votes"], log["clean_accuracy"], log["abstained"]) == ("", "", "1")


def test_json_reads_back_whole() -> None:
    table = compare([LOG, RUN], [0.5, 0.125])

    entries = json.loads(render(table, "json"))
    assert entries == json.loads(json.dumps([asdict(one) for one in table]))  # every digit
    assert [entry["acr"] for entry in entries] == [one.acr for one in table]


def test_a_table_without_radii_still_has_its_other_columns() -> None:
    assert "| 0.250 |" in render(compare([LOG], []))


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(InputError, match="at least one run"):
        compare([])
    with pytest.raises(InputError, match="no rows"):
        compare([EvaluatedRun("empty", [], None)])


def test_another_format_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="use one of markdown, csv, json"):
        render(compare([LOG]), "html")  # type: ignore[arg-type]


def test_the_log_of_other_inputs_is_marked_even_where_it_is_the_first() -> None:
    partial = EvaluatedRun("partial", FIXED[:2], None)
    table = compare([partial, LOG, replace(LOG, name="again")], [0.5])

    assert [one.same_inputs for one in table] == [False, True, True]
    assert "| partial# " in render(table)
    assert "# marks those on others than most here" in render(table)


def test_a_log_without_numbers_is_compared_by_its_labels() -> None:
    form = PublishedLog([], None, False, 3, 3)
    nameless = EvaluatedRun(
        "nameless", [replace(row, index=row.index + 7) for row in FIXED], None, form
    )
    other = replace(nameless, rows=[replace(row, label=2) for row in FIXED])

    assert [one.same_inputs for one in compare([LOG, nameless], [])] == [True, True]
    assert [one.same_inputs for one in compare([LOG, other], [])] == [True, False]


def test_a_log_of_several_sigmas_is_not_one_smoothed_classifier() -> None:
    def log(*sigmas: float | None) -> EvaluatedRun:
        rows = [replace(row, sigma=s) for row, s in zip(FIXED, sigmas, strict=True)]
        return EvaluatedRun("log", rows, None)

    table = compare([log(0.5, 0.25, None), log(0.5, 0.5, 0.5), log(0.5, 0.25, 0.5)], [])

    assert [one.sound_together for one in table] == [False, None, False]

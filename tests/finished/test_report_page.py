"""The page, from runs whose figures are known."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from ddrs.errors import ConfigurationError, InputError
from ddrs.finished import report
from ddrs.finished.report import describe, report_page
from ddrs.jobs.config import CertifyConfig
from ddrs.runs.rows import LoggedRow
from ddrs.runs.summary import MemoryUse, SigmaRange, Summary
from ddrs.runs.table import EvaluatedRun

ROWS = [
    LoggedRow(0, 1, 1, 0.5, True),
    LoggedRow(1, 1, 1, 0.25, True),
    LoggedRow(2, 1, -1, 0.0, False),
]
DATA: dict[str, Any] = {
    "kind": "certify",
    "data": "npz:x.npz",
    "split": "test",
    "model": "runs/<model>",
    "model_digest": "abc123",
    "model_digests": ["abc123"],
    "precision": "bf16",
    "compile": True,
    "policy": {"name": "search", "initial": 0.25, "low": None, "high": None, "votes": 2000},
    "noise": "gaussian",
    "n": 100_000,
    "n0": 100,
    "alpha": 0.001,
    "bound": "one-sided",
    "memory": "run",
    "seed": 7,
    "inputs": 3,
    "num_classes": 2,
    "version": "0.1.0",
}
CONFIG = CertifyConfig.from_json(DATA)
SUMMARY = Summary(
    inputs=3,
    acr=0.25,
    certified_accuracy={},
    certified_accuracy_interval={},
    interval_level=0.95,
    clean_accuracy=2 / 3,
    abstained=1,
    votes=330_300,
    seconds=123.456,
    sigma=SigmaRange(0.125, 0.25, 0.5),
    memory=MemoryUse(on=True, entries=3, own=1, trimmed=2, inherited=0, unrecorded=0),
    sound_together=True,
    n=100_000,
    n0=100,
    alpha=0.001,
    norm="l2",
)
FINISHED = EvaluatedRun("search", ROWS, SUMMARY)
RUN = describe(FINISHED, CONFIG, "a&b")
PUBLISHED = describe(EvaluatedRun("log", ROWS, None))
EARLY = replace(
    SUMMARY, question="until settled at r = 0.5; low at other r", n=None, n_at_most=100_000
)


class Cells(HTMLParser):
    """The texts of all cells and paragraphs, each with its tags taken out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert not self.open  # every tag is closed

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag in ("td", "th", "p", "pre", "h2", "small"):
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] = f"{self.texts[-1]} {data.strip()}".strip()


def test_figures_intervals_facts_and_the_command_are_on_the_page() -> None:
    texts = Cells(report_page([RUN, PUBLISHED], [0.0, 0.5])).texts
    assert texts[texts.index("run") :][:4] == ["run", "r = 0.00", "r = 0.50", "ACR"]
    # Clopper-Pearson for 1 of 3, as in the test of `compare`
    for text in ("0.667", "0.333", "0.008 to 0.906", "0.250"):
        assert texts.count(text) == 2
    facts = dict(pairwise(texts))
    assert facts["choice of sigma"] == "search: initial = 0.25, votes = 2000"
    assert facts["sigma"] == "0.125 to 0.5, median 0.25; gaussian noise"
    assert facts["votes"] == "n0 = 100, n = 100000; 330300 in all"
    assert facts["arithmetic"] == "bf16, compiled"
    assert facts["memory"] == "run; 3 entries; inputs: 1 own, 2 trimmed"
    assert facts["confidence"] == "alpha = 0.001, one-sided bound"
    assert facts["clean accuracy"] == "0.667 (without noise)"
    assert facts["abstained"] == "1"
    assert facts["classifier"] == "runs/<model>"
    assert facts["seed"] == "7"
    assert "other runs" not in facts
    (command,) = [text for text in texts if text.startswith("ddrs certify")]
    assert command == CONFIG.command("a&b")
    assert command.endswith(" --out 'a&b'")
    assert [text for text in texts if text.startswith("A log says neither")]


def test_an_average_radius_is_rounded_down() -> None:
    rows = [ROWS[0], replace(ROWS[1], radius=0.2527), ROWS[2]]  # 0.2509 on average
    texts = Cells(report_page([describe(EvaluatedRun("search", rows, SUMMARY), CONFIG)])).texts
    assert "0.250" in texts
    assert "0.251" not in texts


def test_several_classifiers_are_all_named() -> None:
    config = replace(CONFIG, alternatives=("other",), model_digests=("abc", "def"))
    facts = dict(describe(FINISHED, config).facts)
    assert facts["classifier"] == "runs/<model>, other"
    assert facts["its digest"] == "abc, def"
    assert facts["clean accuracy"] == "0.667 (the first classifier, without noise)"


def test_certificates_of_other_runs_in_a_shared_memory_are_told() -> None:
    shared = EvaluatedRun(
        "search", ROWS, replace(SUMMARY, other_settings={"rows": 2, "n": 2, "bound": 1})
    )
    reported = describe(shared, CONFIG)
    told = "made 2 of 3 certificates, with other settings (n in 2, bound in 1)"
    assert dict(reported.facts)["other runs"] == told
    texts = Cells(report_page([reported])).texts
    assert "search+" in texts
    assert any(f"+ other runs that share the memory {told}" in text for text in texts)


def test_where_votes_stopped_early_only_what_was_asked_is_exact() -> None:
    run = EvaluatedRun("search", ROWS, EARLY)
    page = report_page([describe(run, replace(CONFIG, at_radii=(0.5,)))], [0.25, 0.5])
    texts = Cells(page).texts
    assert "at least 0.667" in texts
    assert "0.333" in texts
    assert "at least 0.250" in texts  # the ACR
    facts = dict(pairwise(texts))
    question = "until settled at r = 0.5; low at other r"
    assert facts["votes"] == f"n0 = 100, n at most 100000, {question}; 330300 in all"
    texts = Cells(report_page([describe(run, replace(CONFIG, radius_tolerance=0.1))])).texts
    assert "at least 0.333" in texts
    assert not [text for text in Cells(report_page([RUN])).texts if text.startswith("at least")]


def test_norms_stand_with_their_runs_and_on_the_axis_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str | None] = []
    draw = report.draw_certified_accuracy

    def drawn(runs: Any, norm: str | None) -> Any:
        seen.append(norm)
        return draw(runs, norm=norm)

    monkeypatch.setattr(report, "draw_certified_accuracy", drawn)
    other = describe(EvaluatedRun("box", ROWS, replace(SUMMARY, norm="l1")), CONFIG)
    texts = Cells(report_page([RUN, other, PUBLISHED])).texts
    lines = texts[texts.index("ACR") :]
    below = [lines[lines.index(name) + 1] for name in ("search", "box", "log")]
    assert below == ["l2", "l1", "norm not recorded"]
    report_page([other])
    assert seen == [None, "l1"]


def test_runs_that_do_not_hold_together_are_marked_as_the_notes_say() -> None:
    apart = EvaluatedRun("loose", ROWS, replace(SUMMARY, sound_together=False))
    loose = describe(apart, CONFIG)
    texts = Cells(report_page([RUN, loose])).texts
    assert {"search", "loose*"} <= set(texts)


def test_the_page_needs_nothing_beside_it_and_takes_no_name_for_a_tag() -> None:
    name = "<script>alert(1)</script>"
    page = report_page([describe(EvaluatedRun(name, ROWS, SUMMARY), replace(CONFIG, model=name))])
    assert "<script" not in page
    assert name in "".join(Cells(page).texts)
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    (figure,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(figure).startswith(b"\x89PNG")


def test_there_must_be_something_to_report() -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        report_page([])
    with pytest.raises(ConfigurationError):
        report_page([RUN], [-1.0])


def test_a_log_of_sigmas_is_not_one_smoothed_classifier() -> None:
    rows = [replace(row, sigma=sigma) for row, sigma in zip(ROWS, (0.25, 0.5, None), strict=True)]
    page = report_page([describe(EvaluatedRun("chosen", rows, None))], passed_over=["x: <empty>"])
    texts = Cells(page).texts
    assert "chosen*" in texts
    assert "0.25 to 0.5" in page
    assert "are not about one smoothed classifier" in page
    assert "Passed over: x: &lt;empty&gt;." in page

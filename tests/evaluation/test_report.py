"""The page, from runs whose figures are known."""

import base64
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from ddrs.errors import ConfigurationError, InputError
from ddrs.evaluation.report import APART, FIXED, LOG, REMEMBERED, Reported, report_page
from ddrs.evaluation.rows import Row

ROWS = [Row(0, 1, 1, 0.5, True), Row(1, 1, 1, 0.25, True), Row(2, 1, -1, 0.0, False)]
CONFIG: dict[str, Any] = {
    "data": "npz:x.npz",
    "split": "test",
    "model": "runs/<model>",
    "model_digest": "abc123",
    "precision": "bf16",
    "compile": True,
    "policy": {"name": "search", "initial": 0.25, "low": None, "votes": 2000},
    "noise": "gaussian",
    "n": 100_000,
    "n0": 100,
    "alpha": 0.001,
    "bound": "one-sided",
    "seed": 7,
    "version": "0.1.0",
}
SUMMARY: dict[str, Any] = {
    "inputs": 3,
    "clean_accuracy": 2 / 3,
    "votes": 330_300,
    "seconds": 123.456,
    "sigma": {"min": 0.125, "median": 0.25, "max": 0.5},
    "memory": {"on": True, "entries": 3, "own": 1, "trimmed": 2, "inherited": 0},
    "n": 100_000,
    "alpha": 0.001,
    "norm": "l2",
    "sound_together": True,
}
RUN = Reported(("search", ROWS, SUMMARY), [0.125, 0.25, 0.5], CONFIG, "ddrs certify --out a&b")
PUBLISHED = Reported(("log", ROWS, None), None, {}, None)


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
            self.texts[-1] += data.strip()


def test_figures_intervals_facts_and_the_command_are_on_the_page() -> None:
    texts = Cells(report_page([RUN, PUBLISHED], [0.0, 0.5])).texts
    # Clopper-Pearson for 1 of 3, as in the test of `compare`
    for text in ("0.667", "0.333", "0.008 to 0.906", "0.250"):
        assert texts.count(text) == 2
    facts = dict(pairwise(texts))
    assert facts["choice of sigma"] == "search: initial = 0.25, votes = 2000"
    assert facts["sigma"] == "0.125 to 0.5, median 0.25; gaussian noise, l2 radii"
    assert facts["votes"] == "n0 = 100, n = 100000; 330300 in all"
    assert facts["arithmetic"] == "bf16, compiled"
    assert facts["memory"] == "3 entries: 1 own, 2 trimmed, 0 inherited"
    assert facts["confidence"] == "alpha = 0.001, one-sided bound"
    assert facts["abstained"] == "1"
    assert facts["classifier"] == "runs/<model>"
    assert facts["Made again by"] == "ddrs certify --out a&b"
    assert facts["search"] == REMEMBERED
    assert facts["log"] == LOG
    assert texts.count("Made again by") == 1


@pytest.mark.parametrize(
    ("memory", "together", "expected"),
    [(False, True, FIXED), (True, True, REMEMBERED), (True, False, APART), (False, False, APART)],
)
def test_what_is_guaranteed_is_said(memory: bool, together: bool, expected: str) -> None:
    summary = SUMMARY | {"sound_together": together, "memory": SUMMARY["memory"] | {"on": memory}}
    run = Reported(("search", ROWS, summary), None, CONFIG, "")
    assert expected in Cells(report_page([run])).texts


def test_where_votes_stopped_early_the_page_says_so() -> None:
    summary = SUMMARY | {"question": "until settled at r = 0.5", "n": None, "n_at_most": 100_000}
    texts = Cells(report_page([Reported(("search", ROWS, summary), None, CONFIG, "")])).texts
    assert "at least" in texts
    assert "n0 = 100, n = at most 100000, until settled at r = 0.5; 330300 in all" in texts
    assert "at least" not in Cells(report_page([RUN])).texts


def test_the_page_needs_nothing_beside_it_and_takes_no_name_for_a_tag() -> None:
    name = "<script>alert(1)</script>"
    page = report_page([Reported((name, ROWS, SUMMARY), None, CONFIG, name)])
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

"""The table from published logs, on logs small enough to know it, and the texts that quote it."""

import json
import re
from pathlib import Path

import pytest

from experiments.published import __main__ as published

ROOT = Path(published.__file__).parent
TABLE = (ROOT / "records" / "table.md").read_text()
HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two trainings of two inputs: the second is answered wrongly at the larger sigma."""
    for training in ("a", "b"):
        folder = tmp_path / "logs" / training
        folder.mkdir(parents=True)
        for sigma, second in ((0.25, "2\t-1\t0.0\t0"), (1.0, "2\t5\t0.8\t0")):
            lines = f"0\t1\t1\t{sigma * 2}\t1\t1.5\n1\t{second}\t1.5\n"
            (folder / f"noise_{sigma}.tsv").write_text(HEADER + lines)
    return tmp_path / "logs"


def test_the_lines_are_those_of_the_logs(logs: Path, tmp_path: Path) -> None:
    published.main(["--logs", str(logs), "--n", "1000", "--out", str(tmp_path / "out")])

    record = json.loads((tmp_path / "out" / "figures.json").read_text())
    lines = {(one["training"], one["kind"], one["sigma"]): one for one in record["lines"]}
    assert len(lines) == 2 * (2 + 3) + 3
    assert (record["n"], record["alpha"]) == (1000, 0.001)
    fixed, large = lines["a", "fixed", 0.25], lines["a", "fixed", 1.0]
    assert (fixed["figures"]["inputs"], fixed["figures"]["acr"]) == (2, 0.25)
    assert (fixed["wrong"]["0.00"], large["wrong"]["0.50"], large["wrong"]["1.00"]) == (0, 0.5, 0)
    choice, null = lines["all", "choice", None], lines["all", "null", None]
    assert choice["sources"] == 4
    assert choice["figures"]["certified_accuracy"] == {
        "0.00": 0.5, "0.25": 0.5, "0.50": 0.5, "0.75": 0.5, "1.00": 0.5, "1.50": 0.5, "2.00": 0.0,
    }  # fmt: skip
    assert choice["wrong"]["0.50"] == 0.5
    # 1000 equal votes at alpha / 4, sigma 1: Phi^-1(0.00025^(1/1000))
    assert null["figures"]["acr"] == pytest.approx(2.397 / 2, abs=1e-3)
    assert null["figures"]["certified_accuracy"]["2.00"] == 0.5
    assert "n = 1000, alpha = 0.001" in (tmp_path / "out" / "table.md").read_text()


def test_the_page_quotes_figures_of_the_table() -> None:
    quoted = re.search(
        "## What it says(.*)## What it is not", (ROOT / "README.md").read_text(), re.S
    )
    assert quoted is not None
    figures = re.findall(r"(?<![\d.])[01]\.\d{3}\b", quoted[1])
    shown = set(re.findall(r"[0-9]\.[0-9]{3}", TABLE))
    gains = {"0.051"}  # 0.626 - 0.575, and 0.618 - 0.567
    assert len(figures) > 10
    assert set(figures) - gains <= shown


def test_the_table_is_the_one_of_the_record() -> None:
    record = json.loads((ROOT / "records" / "figures.json").read_text())
    lines = [published.Line(**one) for one in record["lines"]]
    assert published.page(record, lines) == TABLE

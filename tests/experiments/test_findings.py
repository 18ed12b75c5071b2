"""What the pages say of the study is what its tables say."""

import re

import pytest

from experiments.cifar10.study import HERE

ROOT = HERE.parents[1]
NUMBER = re.compile(r"[+-]?\d\.\d{3}\b")
STUDY = (HERE / "made" / "tables.md").read_text()
TABLES = [NUMBER.findall(line) for line in STUDY.splitlines() if line.startswith("|")]
README = (ROOT / "README.md").read_text().partition("## What it does on CIFAR-10")[2]
README = README.partition("\n## ")[0]
FINDINGS = (ROOT / "docs" / "reproduction.md").read_text()
LINES = [line for line in FINDINGS.splitlines() if line.startswith("|") and NUMBER.search(line)]

# The paper's differences between its rows, the level of confidence.
OTHERS = {"0.077", "0.103", "0.054", "0.061", "0.087", "0.091", "0.001"}


def within(numbers, line):
    """Whether numbers stand in a line in this order."""
    rest = iter(line)
    return all(number in rest for number in numbers)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:60])
def test_a_line_of_a_table_is_one_of_the_study_or_joins_two_of_them(line):
    numbers = NUMBER.findall(line)
    most = max(sum(within(numbers[:k], one) for k in range(1, len(numbers) + 1)) for one in TABLES)
    assert most >= min(4, len(numbers))
    assert any(within(numbers[most:], one) for one in TABLES)


def test_there_are_lines_to_hold_against_the_tables():
    assert len(LINES) > 20


@pytest.mark.parametrize("text", [README, FINDINGS], ids=["README", "findings"])
def test_every_figure_is_one_of_the_tables(text):
    known = OTHERS | {number.lstrip("+-") for number in NUMBER.findall(STUDY)}
    found = [number.lstrip("+-") for number in NUMBER.findall(text)]
    assert len(found) > 10
    assert not sorted({*found} - known)

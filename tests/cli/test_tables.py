import json
from pathlib import Path

import pytest

from ddrs.cli.tables import orders_table, statistics_table
from ddrs.finished.orders import OrderStudy, Range
from ddrs.memory.memory import Memory
from ddrs.memory.statistics import statistics
from support.terminal import run


def test_statistics_are_aligned_and_say_what_was_lost() -> None:
    with Memory("memory://") as memory:
        memory.bind("5e1f", "gaussian")
        memory.resolve([0.0], 0, 1.0)
        memory.resolve([2.0], 12, 2.0)  # trimmed to 1
        memory.resolve([0.5], 12, 0.75)  # inherited by class 0, radius 0.5
        found = statistics(memory)
    table, text = statistics_table(found).split("\n\n")
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0] == [
        "class", "entries", "own", "trimmed", "inherited", "least radius", "median", "mean",
        "largest",
    ]  # fmt: skip
    assert cells[2:] == [
        ["0", "2", "1", "0", "1", "0.5000", "0.7500", "0.7500", "1.0000"],
        ["12", "1", "0", "1", "0", "1.0000", "1.0000", "1.0000", "1.0000"],
        ["all", "3", "1", "1", "1", "0.5000", "1.0000", "0.8333", "1.0000"],
    ]
    assert text.splitlines() == [
        "trimmed: 1 entries lost 1 of radius in all, 1 on average, 1 at most",
        "inherited: 1 entries, 1 of them of another class than claimed; 0 of radius gained in all, "
        "0.25 lost",
        "norm: l2",
        "shape: [1]",
        "noise: gaussian",
        "model digest: 5e1f",
        f"head: 3 entries, chain {found.head.chain}",
        "head of the abstentions: 0, chain -",
    ]


def test_an_empty_memory_has_a_table_too() -> None:
    with Memory("memory://", "l1") as memory:
        text = statistics_table(statistics(memory))
    assert "norm: l1" in text
    assert text.endswith("head: 0 entries, chain -\nhead of the abstentions: 0, chain -")


@pytest.mark.parametrize("remembered", [True, False])
def test_orders_are_aligned_and_name_their_seed(remembered: bool) -> None:
    found = OrderStudy(
        orders=7,
        seed=3,
        inputs=10,
        remembered=remembered,
        labelled=True,
        certified_accuracy={
            0.0: Range(0.9, 0.8, 0.85, 0.9),
            1.25: Range(0.12345678, 0.0, 0.1, 0.2),
        },
        acr=Range(0.99999, 0.5, 0.6, 1.0),
        changed_class=1,
        changed_outcome=2,
        changed_radius=4,
    )
    table, text = orders_table(found).split("\n\n")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert len({len(line) for line in table.splitlines()}) == 1
    assert cells[2:] == [
        ["r=0", "0.9000", "0.8000", "0.8500", "0.9000"],
        ["r=1.25", "0.1235", "0.0000", "0.1000", "0.2000"],
        ["ACR", "0.9999", "0.5000", "0.6000", "1.0000"],  # a radius is rounded down
    ]
    assert ("had no memory" in text) == (not remembered)
    assert text.endswith(
        "7 shuffled orders, seed 3. Of 10 inputs, 1 changed class in some order, 2 outcome, "
        "4 radius."
    )


GOOD = "idx\tlabel\tpredict\tradius\n" + "".join(f"{i}\t3\t3\t0.5{i}\n" for i in range(5))


def test_logs_that_cannot_be_read_are_named_and_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"good": GOOD, **dict.fromkeys(("e1", "e2", "e3", "e4", "e5"), "idx\tlabel\n")}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    logs = [str(tmp_path / name) for name in texts]

    for words in (["table", *logs], ["report", *logs, "--out", str(tmp_path / "page.html")]):
        code, _, err = run(capsys, *words)
        assert code == 0
        first, second, third, rest = err.splitlines()
        assert first.startswith(f"passed over: {logs[1]}, line 1: no column")
        assert logs[2] in second
        assert logs[3] in third
        assert rest == f"passed over too: {logs[4]}, {logs[5]}"


def test_a_choice_is_a_row_of_the_table_and_says_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = [str(tmp_path / f"sigma_{sigma}.tsv") for sigma in (0.25, 0.5)]
    for log in logs:
        Path(log).write_text(GOOD)
    words = ["table", *logs, "--choose", "--n", "100000", "--alpha", "0.001", "--radii", "0.49"]

    code, out, err = run(capsys, *words, "--format", "json")
    rows = {row["run"]: row for row in json.loads(out)}
    assert code == 0
    assert list(rows) == ["sigma_0.25", "sigma_0.5", "choice", "choice, at most"]
    assert rows["choice"]["certified_accuracy"]["0.49"] == 1.0
    assert 0.49 < rows["choice"]["acr"] < rows["sigma_0.5"]["acr"] < 0.6
    assert (rows["choice"]["alpha"], rows["choice"]["n"]) == (0.001, 100_000)
    assert "not one smoothed classifier" in " ".join(err.split())
    assert "only through a memory" in " ".join(run(capsys, *words)[1].split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n", "100"], "for --choose: add it"),
        (["--alpha", "0.1"], "for --choose: add it"),
        (["--choose", "--n", "0"], "n must be"),
        (["--choose", "--n", str(2**60)], "n must be"),
        (["--choose", "--alpha", "1"], "alpha must be"),
        (["--choose", "--alpha", "nan"], "alpha must be"),
    ],
)
def test_a_choice_that_can_never_work_is_wrong_usage(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "table", "gone", "gone too", *words)
    assert (code, out) == (2, "")
    assert message in err

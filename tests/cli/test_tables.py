import pytest

from ddrs.cli.tables import orders_table, statistics_table
from ddrs.finished.orders import OrderStudy, Range
from ddrs.memory.memory import Memory
from ddrs.memory.statistics import statistics


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
    ]


def test_an_empty_memory_has_a_table_too() -> None:
    with Memory("memory://", "l1") as memory:
        text = statistics_table(statistics(memory))
    assert "norm: l1" in text
    assert text.endswith("head: 0 entries, chain -")


@pytest.mark.parametrize("remembered", [True, False])
def test_orders_are_aligned_and_name_their_seed(remembered: bool) -> None:
    found = OrderStudy(
        orders=7,
        seed=3,
        inputs=10,
        remembered=remembered,
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

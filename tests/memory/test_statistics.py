import pytest

from ddrs.memory.chain import genesis, link
from ddrs.memory.entries import region_row
from ddrs.memory.memory import Memory
from ddrs.memory.statistics import Cost, Group, statistics


def test_a_memory_that_was_computed_by_hand():
    with Memory("memory://") as memory:
        memory.bind("model", "gaussian")
        memory.resolve([0.0], 0, 1.0)  # own
        memory.resolve([2.0], 1, 2.0)  # trimmed to 1
        memory.resolve([0.5], 0, 0.25)  # inherited, 0.5: 0.25 gained
        memory.resolve([2.5], 0, 0.75)  # of class 1, 0.5: 0.25 lost
        memory.resolve([1.75], -1, 0.0)  # abstained itself; class 1, 0.75 gained
        memory.resolve([3.5], 0, 1.5)  # trimmed to 0.5
        memory.resolve([9.0], -1, 0.0)  # abstained: no entry
        told = []
        found = statistics(memory, told.append)
        assert sum(told) == len(memory) == 6
        assert found.all == Group(6, 1, 2, 3, 0.5, 0.625, 4.25 / 6, 1.0)
        assert found.classes == {
            0: Group(3, 1, 1, 1, 0.5, 0.5, 2 / 3, 1.0),
            1: Group(3, 0, 1, 2, 0.5, 0.75, 0.75, 1.0),
        }
        assert found.trimmed == Cost(2, 0, lost=2.0, most_lost=1.0, gained=0.0)
        assert found.trimmed.mean_lost == 1.0
        assert found.inherited == Cost(3, 2, lost=0.25, most_lost=0.25, gained=1.0)
        assert found.about["noise"] == "gaussian"


def test_the_head_is_made_from_the_rows_and_is_that_of_the_store():
    with Memory("memory://") as memory:
        memory.resolve([0.0], 0, 1.0, evidence="votes")
        memory.resolve([2.0], 1, 2.0)
        chain = genesis(memory.about())
        for entry in memory.entries():
            chain = link(chain, region_row(entry))
        head = statistics(memory).head
        assert (head.count, head.chain) == (2, chain)
        assert head == memory._store.run(lambda transaction: transaction.head())


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_an_empty_memory(norm):
    with Memory("memory://", norm) as memory:
        found = statistics(memory)
    assert (found.all, found.classes, found.head.count, found.head.chain) == (None, {}, 0, "")
    assert found.trimmed == found.inherited == Cost(0, 0, 0.0, 0.0, 0.0)
    assert found.trimmed.mean_lost == 0.0
    assert found.about["norm"] == norm

import pytest
import torch

from ddrs.errors import ConfigurationError
from ddrs.training.splits import cut, held_out, split


@pytest.mark.parametrize(
    ("validation", "expected"),
    [(0, 0), (0.1, 10), (0.004, 1), (0.126, 13), (1, 1), (37, 37), (37.0, 37)],
)
def test_how_many_are_held_out(validation, expected):
    assert held_out(100, validation) == expected
    trained, kept = split(100, validation, 0)
    assert len(kept) == expected
    assert torch.equal(torch.cat([trained, kept]).sort().values, torch.arange(100))
    assert torch.equal(trained, trained.sort().values)


def test_which_ones_depends_on_the_seed_alone():
    assert torch.equal(split(500, 50, 1)[1], split(500, 0.1, 1)[1])
    assert not torch.equal(split(500, 50, 1)[1], split(500, 50, 2)[1])
    assert 150 < split(500, 250, 1)[1].double().mean() < 350  # not a stretch of them


@pytest.mark.parametrize("validation", [10, 11, 0.99])
def test_something_must_be_left(validation):
    with pytest.raises(ConfigurationError, match="leaves none to train on"):
        split(10, validation, 0)


@pytest.mark.parametrize(
    ("count", "least", "sizes"),
    [
        (8, 2, [4, 4]),
        (9, 2, [4, 5]),
        (10, 2, [4, 4, 2]),
        (11, 4, [4, 7]),
        (3, 2, [3]),
        (2, 2, [2]),
        (5, 2, [5]),
    ],
)
def test_batches(count, least, sizes):
    ids = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    batches = cut(ids, 4, least)
    assert [len(batch) for batch in batches] == sizes
    assert torch.equal(torch.cat(batches), ids)


def test_too_few_for_a_batch():
    with pytest.raises(ConfigurationError, match="1 training examples are too few"):
        cut(torch.arange(1), 4, 2)

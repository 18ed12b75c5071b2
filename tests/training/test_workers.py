"""Two processes train the network that one trains."""

from itertools import chain

import pytest
import torch

from ddrs.noise.distributions import NOISES
from ddrs.training.objectives.methods import METHODS
from ddrs.training.workers import NoiseShare, Workers
from support.nursery import Nursery
from support.toy_training import (
    STOPPED,
    fail_together,
    free_port,
    same,
    train_alone,
    train_together,
)

# In double precision; the sum of two halves is rounded otherwise than the whole.
TOLERANCE = 1e-10


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


def together(nursery, folder, options, layers=False, stop_after=0):
    """How two processes ended, and what they wrote."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    children = [
        nursery.fork(train_together, rank, port, str(folder), options, layers, stop_after)
        for rank in range(2)
    ]
    ends = [nursery.wait(child) for child in children]
    if stop_after:
        return ends
    assert ends == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def alone(folder, options, layers=False):
    folder.mkdir()
    train_alone(str(folder), options, layers, "alone.pt")
    return torch.load(folder / "alone.pt", weights_only=False)


def table(folder):
    return torch.load(folder / "checkpoint.pt")["sigmas"]


OWN = {"data_dependent": {"warmup": 1, "lr": 0.05, "n": 2}}


@pytest.mark.parametrize(
    ("method", "scales"),
    [*((method, scales) for method in METHODS for scales in ({}, OWN)),
     ("gaussian", {"sigma_range": [0.1, 0.4]})],
)  # fmt: skip
def test_two_processes_give_what_one_gives(nursery, tmp_path, method, scales):
    options = {"method": method, "epochs": 3, "augment": True, **scales}
    if method == "macer":
        options["options"] = {"k": 3}
    (one, two), expected = (
        together(nursery, tmp_path / "2", options),
        alone(tmp_path / "1", options),
    )
    history, weights, sizes = expected
    assert sizes == [9, 9, 9, 5] * 3  # shares of 4 and 5, and of 2 and 3
    assert one[2] == sizes
    assert two[2] == []  # only the first process tells
    assert one[0] == two[0]
    assert same(one[1], two[1])
    assert one[1].keys() == weights.keys()
    for name, value in weights.items():
        assert torch.allclose(one[1][name], value, rtol=0, atol=TOLERANCE)
    for ours, theirs in zip(one[0], history, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, abs=TOLERANCE)
        assert ours.noisy_accuracy == theirs.noisy_accuracy
        assert ours.validation_accuracy == theirs.validation_accuracy
        assert ours.sigma_counts == theirs.sigma_counts
    sigmas = table(tmp_path / "2")
    assert torch.allclose(sigmas, table(tmp_path / "1"), rtol=0, atol=TOLERANCE)
    assert len(sigmas.unique()) == (33 if scales else 1)  # 5 are held out


def test_batch_normalisation_and_a_stop(nursery, tmp_path):
    """Both processes hold one state at all times, so that a checkpoint of it is the whole."""
    options = {"method": "smoothadv", "data_dependent": {"warmup": 0}, "epochs": 3}
    one, two = together(nursery, tmp_path / "whole", options, layers=True)
    assert one[0] == two[0]
    assert same(one[1], two[1])
    ends = together(nursery, tmp_path / "stopped", options, layers=True, stop_after=6)
    assert ends[0] == STOPPED
    again, _ = together(nursery, tmp_path / "stopped", options, layers=True)
    assert sum(again[2]) == sum(one[2]) - 32  # the first epoch; steps of the second are told of
    assert again[0] == one[0]
    assert same(again[1], one[1])
    assert torch.equal(table(tmp_path / "stopped"), table(tmp_path / "whole"))


def test_an_error_in_one_process_is_an_error_in_the_other(nursery, tmp_path):
    port = free_port()
    children = [nursery.fork(fail_together, rank, port, str(tmp_path)) for rank in range(2)]
    assert [nursery.wait(child) for child in children] == [0, 0]
    reason, lost = sorted((tmp_path / str(rank)).read_text() for rank in range(2))
    assert reason.startswith("InputError: smoothadv attacks inputs in [0, 1]")
    assert lost.startswith("RunError: another process of this training stopped")


def test_one_process_is_all():
    workers, x = Workers(), torch.rand(4, 3)
    assert (workers.count, workers.rank) == (1, 0)
    assert x[workers.rows(4)] is not None
    assert torch.equal(x[workers.rows(4)], x)
    assert workers.share(NOISES["uniform"], 4) is NOISES["uniform"]
    assert torch.equal(workers.gather(x[:, 0], 4), x[:, 0])


@pytest.mark.parametrize("count", [2, 3, 7])
def test_rows_are_shared_out(count):
    for batch in (14, 15, 17, 64):
        shares = []
        for rank in range(count):
            workers = Workers()
            workers.count, workers.rank = count, rank
            shares.append(list(range(batch))[workers.rows(batch)])
        assert list(chain(*shares)) == list(range(batch))
        sizes = {len(share) for share in shares}
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("copies", [(), (3,)])
def test_shares_of_noise_are_rows_of_the_whole(noise, copies):
    x = torch.rand(7, *copies, 5)
    whole = noise.sample_like(x, torch.Generator().manual_seed(2))
    for rows in (slice(0, 3), slice(3, 7)):
        share = NoiseShare(noise, 7, rows)
        assert torch.equal(
            share.sample_like(x[rows], torch.Generator().manual_seed(2)), whole[rows]
        )
        assert (share.name, share.norm) == (noise.name, noise.norm)
        p = torch.tensor([0.9])
        assert torch.equal(share.soft_radius(p, p, 1 - p), noise.soft_radius(p, p, 1 - p))

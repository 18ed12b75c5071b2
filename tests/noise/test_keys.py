import itertools

import pytest
import torch

from ddrs.noise.keys import key, keyed_generator

NAMES = list(itertools.product([0, 1], ["noise", "order", "views"], range(12), range(12)))


def test_no_two_purposes_epochs_or_steps_share_a_key():
    keys = {key(*name) for name in NAMES}
    assert len(keys) == len(NAMES) == 2 * 3 * 12 * 12
    assert key(1, "noise", 1, 11) != key(1, "noise", 11, 1)
    assert all(0 <= value < 2**56 for value in keys)


def test_no_two_generators_of_a_short_training_share_their_draws():
    draws = {tuple(torch.rand(3, generator=keyed_generator(*name)).tolist()) for name in NAMES}
    assert len(draws) == len(NAMES)


@pytest.mark.parametrize("bit", [0, 31, 32, 55])
def test_a_cpu_keeps_the_lower_32_bits_of_a_key(bit):
    """The chance that two generators share their draws, as `keys` states it, rests on this."""
    known = key(3, "noise", 1)
    draws = torch.rand(5, generator=keyed_generator(3, "noise", 1))
    changed = torch.rand(5, generator=torch.Generator().manual_seed(known ^ (1 << bit)))
    assert torch.equal(draws, changed) == (bit >= 32)


def test_the_same_name_gives_the_same_draws():
    draws = [torch.rand(5, generator=keyed_generator(3, "noise", 1)) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], torch.rand(5, generator=keyed_generator(3, "noise", 2)))


def test_keys_stay_what_they_were():
    """A checkpoint of an earlier version goes on with the same draws."""
    assert key(3, "noise", 1, 2) == 22682934203973111

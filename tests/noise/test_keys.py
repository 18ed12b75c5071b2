import itertools

import torch

from ddrs.noise.keys import key, keyed_generator


def test_no_two_purposes_epochs_or_steps_share_a_key():
    names = itertools.product([0, 1], ["noise", "order", "views"], range(12), range(12))
    keys = {key(*name) for name in names}
    assert len(keys) == 2 * 3 * 12 * 12
    assert key(1, "noise", 1, 11) != key(1, "noise", 11, 1)
    assert all(0 <= value < 2**56 for value in keys)


def test_the_same_name_gives_the_same_draws():
    draws = [torch.rand(5, generator=keyed_generator(3, "noise", 1)) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], torch.rand(5, generator=keyed_generator(3, "noise", 2)))


def test_keys_stay_what_they_were():
    """A checkpoint of an earlier version goes on with the same draws."""
    assert key(3, "noise", 1, 2) == 22682934203973111

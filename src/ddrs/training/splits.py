"""Which examples are trained on in which order, and which are held out."""

import torch
from torch import Tensor

from ddrs.errors import ConfigurationError
from ddrs.noise.keys import keyed_generator

__all__ = ["cut", "held_out", "split"]


def held_out(examples: int, validation: float) -> int:
    """How many of the examples are held out: a share of them below 1, a number from 1 on.

    A share is rounded to the nearest number but holds out one example at least.
    """
    if validation >= 1:
        return int(validation)
    return max(1, round(validation * examples)) if validation > 0 else 0


def split(examples: int, validation: float, seed: int) -> tuple[Tensor, Tensor]:
    """Ids, 0 to `examples` - 1: the ones to train on and the ones held out, each ascending.

    Raises:
        ConfigurationError: nothing would be left to train on.
    """
    number = held_out(examples, validation)
    if number >= examples:
        raise ConfigurationError(
            f"holding out {number} of {examples} examples leaves none to train on: lower validation"
        )
    order = torch.randperm(examples, generator=keyed_generator(seed, "split"))
    return order[number:].sort().values, order[:number].sort().values


def cut(ids: Tensor, batch_size: int, least: int) -> list[Tensor]:
    """Consecutive batches; a last one of fewer than `least` joins the one before it.

    Raises:
        ConfigurationError: there are fewer ids than `least`.
    """
    if len(ids) < least:
        raise ConfigurationError(
            f"{len(ids)} training examples are too few: a batch needs at least {least}"
        )
    batches = list(torch.split(ids, batch_size))
    if len(batches[-1]) < least and len(batches) > 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches

"""Generators of a training, keyed by what they are for, so that no random state has to be kept.

Whatever is random in a step (the order of its epoch, noise, crops, dropout) comes from a generator
made for (seed, purpose, epoch, step). A training that resumes from a checkpoint draws what it would
have drawn, wherever it was stopped.

A key has 56 bits, but a generator on the CPU is started with the lower 32 alone, so two names can
have the same draws: among N generators some two do with a chance of about N^2 / 2^33, which is 10 %
for the 30 000 of a training of a hundred epochs. That is harmless here. It means that two steps,
somewhere in a training, see the same noise at other examples; and the draws of a training are no
part of any certificate, whose votes come from `streams` with all of a 256-bit hash. Stored
trainings could not be made again with other keys, so these stay as they are. For the same reason
the hash of `streams` is not shared: it has another length and another personalisation.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes a second to load: imported where a generator is made
    import torch

__all__ = ["key", "keyed_generator"]


def key(seed: int, *name: str | int) -> int:
    """56 bits for a seed and a name, such as a purpose, an epoch and a step."""
    text = "/".join(map(str, (seed, *name))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest())


def keyed_generator(
    seed: int, *name: str | int, device: "torch.device | str" = "cpu"
) -> "torch.Generator":
    """A new generator on `device`, started with `key`; a CPU keeps the lower 32 bits of it."""
    import torch

    return torch.Generator(device).manual_seed(key(seed, *name))

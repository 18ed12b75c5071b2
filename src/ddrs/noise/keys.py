"""Generators keyed by what they are for, so that no random state has to be kept.

Whatever is random in a step (the order of its epoch, noise, crops, dropout) comes from a generator
made for (seed, purpose, epoch, step). A run that goes on from a checkpoint draws what it would have
drawn, wherever it was stopped.
"""

import hashlib

import torch

__all__ = ["key", "keyed_generator"]


def key(seed: int, *name: str | int) -> int:
    """56 bits for a seed and a name, such as a purpose, an epoch and a step."""
    text = "/".join(map(str, (seed, *name))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest())


def keyed_generator(
    seed: int, *name: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A new generator on `device`, started with `key`."""
    return torch.Generator(device).manual_seed(key(seed, *name))

"""The processes that train together: each takes its rows of every batch.

What a step does is decided by the whole batch. Noise is drawn for all of it, in every process, and
each keeps its own rows, so the weights come out the same, up to rounding, for any number of
processes. Two things are a process's own: what layers such as dropout draw, and the statistics of
batch normalisation, which are taken over a process's rows; those of the first process hold for all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, parse_flag_from_env, reduce
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ddrs.errors import RunError
from ddrs.noise.distributions import Noise

__all__ = ["NoiseShare", "Workers"]

TRANSPORTS = ("gloo", "nccl")  # one of them is named in the error for a process that is gone


class Workers:
    """This process among those that `accelerate launch`, `torchrun` or nobody started with it.

    Attributes:
        count: number of processes.
        rank: number of this one; 0 is the one that writes.
        device: where this one computes.
    """

    def __init__(self) -> None:
        # Without a GPU accelerate must be told, or each process would train on its own.
        cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
        state = PartialState(cpu=cpu)
        self.count: int = state.num_processes
        self.rank: int = state.process_index
        self.device: torch.device = state.device

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network with gradients that are the mean over the processes.

        The same weights must take part in every step; those that never do stay as they are.
        """
        if self.count == 1:
            return network
        return DistributedDataParallel(network, broadcast_buffers=False, static_graph=True)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around what the processes do together.

        Raises:
            RunError: another process stopped.
        """
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not any(name in str(error).lower() for name in TRANSPORTS):
                raise
            raise RunError(
                "another process of this training stopped: what it says is the reason"
            ) from error

    def rows(self, batch: int) -> slice:
        """The rows of a batch that are this process's: equal shares, but for one row."""
        return slice(batch * self.rank // self.count, batch * (self.rank + 1) // self.count)

    def share(self, noise: Noise, batch: int) -> Noise:
        """Noise that is drawn for a whole batch and of which this process keeps its rows."""
        if self.count == 1:
            return noise
        return cast(Noise, NoiseShare(noise, batch, self.rows(batch)))

    def gather(self, mine: Tensor, batch: int) -> Tensor:
        """`[batch]` values of all processes, from this one's rows of them."""
        whole = mine.new_zeros(batch)
        whole[self.rows(batch)] = mine
        return self.total(whole)

    def total(self, values: Tensor) -> Tensor:
        """The sums over all processes of values on the CPU."""
        if self.count == 1:
            return values
        return cast(Tensor, reduce(values.to(self.device), "sum")).cpu()

    def align(self, network: nn.Module) -> None:
        """Give the first process's buffers to all, so that every process holds the whole state."""
        if self.count > 1:
            for buffer in network.buffers():
                buffer.copy_(broadcast(buffer))


class NoiseShare:
    """A noise of which some rows are kept; in all else it is the noise itself."""

    def __init__(self, noise: Noise, batch: int, rows: slice) -> None:
        self._noise = noise
        self._batch = batch
        self._rows = rows

    def sample_like(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Rows of draws for the whole batch, in the shape and dtype and on the device of `x`."""
        whole = x.new_empty(self._batch, *x.shape[1:])
        return self._noise.sample_like(whole, generator)[self._rows]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._noise, name)

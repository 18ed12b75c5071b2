"""The hot loop: noisy forward passes of a base classifier -> class counts.

Noise is drawn straight into the next batch and nothing but counts is kept, so the memory is bounded
by the batch whatever the number of votes. Requests for votes at different inputs and noise levels
are packed into full batches.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddrs.errors import ConfigurationError, ModelError
from ddrs.networks.compiled import CompiledNetwork, check_compilable
from ddrs.networks.forward import EagerNetwork, Network, check_ready, number_type
from ddrs.networks.frozen import check_frozen
from ddrs.networks.identity import Identity, check_identity, identify
from ddrs.networks.independence import ROWS, check_independent, unchanged_buffers
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import Noise
from ddrs.votes.batching import Backlog, BatchSize, check_batch_size
from ddrs.votes.requests import Inputs, VoteRequest

__all__ = ["NoisyClassifier"]

Segments = list[tuple[int, int]]  # a batch: (request, rows)

# Measured once in a process for each classifier, input shape, device and number of threads.
_BATCH_SIZES: dict[tuple[object, ...], BatchSize] = {}

# For each model the digests, input shapes and devices with which its votes were seen to be
# independent by this process. By the model itself: the digest of another may be the same.
_INDEPENDENT: WeakKeyDictionary[nn.Module, set[tuple[object, ...]]] = WeakKeyDictionary()


class NoisyClassifier:
    """A user's classifier under noise: it casts votes and gives scores, and decides nothing.

    Args:
        model: maps `[batch, *input]` to `[batch, num_classes]` scores, normalisation included.
        num_classes: the number of scores.
        noise: the smoothing distribution.
        batch_size: rows of one forward pass, or `"auto"` for the fastest, found while voting.
        precision: `"fp32"` (the model's own) or `"bf16"` (bfloat16 arithmetic).
        compile: vote with a compiled copy of the model (`CompiledNetwork`).
        identity: a name for all that decides the model's answers beside its modules with their
            settings, parameters and buffers; by default that is digested too.

    Attributes:
        digest: SHA-256 of what is certified: weights, buffers, module classes, what else the model
            keeps or its `identity`, precision, and whether it is compiled.
        told: the digest without what else it keeps, as earlier versions had it.
        on_votes: called with the number of votes after each batch, e.g. by a progress bar.

    Raises:
        ConfigurationError: an argument that can never work.
        ModelError: weights of the model have no values yet, or it keeps what has no digest.
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        noise: Noise,
        *,
        batch_size: int | Literal["auto"] = "auto",
        precision: Precision = "fp32",
        compile: bool = False,
        identity: str | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ConfigurationError(
                f"the model must be a torch.nn.Module, got {type(model).__name__}"
            )
        if not isinstance(num_classes, int) or num_classes < 2:
            raise ConfigurationError(f"num_classes must be at least 2, got {num_classes!r}")
        check_batch_size(batch_size)
        if precision not in get_args(Precision):
            raise ConfigurationError(
                f"precision must be one of {get_args(Precision)}, got {precision!r}"
            )
        check_ready(model)
        self.model = model
        self.num_classes = num_classes
        self.noise = noise
        self.precision = precision
        self.batch_size = batch_size
        self.compile = compile
        self.identity = identity
        check_identity(identity)
        if compile:
            check_compilable(self.device, precision)
        self._identity = self._identify()
        self.digest, self.told = self._identity.digest, self._identity.told
        self.on_votes: Callable[[int], None] = lambda votes: None
        self._eager = EagerNetwork(model, num_classes, precision)
        self._compiled: dict[tuple[int, ...], CompiledNetwork] = {}

    def check_unchanged(self) -> None:
        """Raise ModelError unless the model is still the one that `digest` names."""
        now = self._identify()
        if now.digest == self.digest:
            return
        changed = dict(now.kept.items() ^ self._identity.kept.items())
        if changed and now.told == self.told:
            raise ModelError(
                f"{min(changed)} of the model changed since it was smoothed; if the model itself "
                'writes it, and it decides nothing, pass identity="..." and vouch for it'
            )
        raise ModelError(
            "the model changed since it was smoothed, so what is certified is no longer what "
            "its digest names; make a new SmoothedClassifier"
        )

    def _identify(self) -> Identity:
        return identify(self.model, self.precision, compiled=self.compile, identity=self.identity)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    def rows_per_batch(self, shape: tuple[int, ...]) -> int:
        """The batch size for inputs of this shape, as far as it is known by now."""
        return self._batching(shape).rows if self.batch_size == "auto" else self.batch_size

    def _batching(self, shape: tuple[int, ...]) -> BatchSize:
        key = (self.digest, shape, self.device, torch.get_num_threads())
        return _BATCH_SIZES.setdefault(key, BatchSize(shape))

    def scores(self, batch: Tensor) -> Tensor:
        """One differentiable forward pass of the model: `[batch, *input]` -> `[batch, classes]`.

        Raises:
            ModelError: the model raised, or did not return one score per class, or returned NaN or
                whole numbers.
        """
        scores = self._eager(batch)
        if not scores.is_floating_point():
            raise ModelError(
                f"the model returned whole numbers ({scores.dtype}), which have no gradient: "
                "return the scores before they are rounded, or choose sigma by another policy"
            )
        return scores

    @torch.no_grad()
    def classify(self, x: Tensor) -> npt.NDArray[np.int64]:
        """`[batch]` classes of the inputs themselves, without noise."""
        shape = tuple(x.shape[1:])
        parts = torch.split(x, self.rows_per_batch(shape))
        batches = ((None, part.to(self.device)) for part in parts)
        scores = [scores for _, scores in self._network(shape).run(batches)]
        return torch.cat(scores).argmax(dim=1).cpu().numpy()

    @torch.no_grad()
    def count(self, inputs: Inputs, requests: Sequence[VoteRequest]) -> npt.NDArray[np.int64]:
        """`[requests, num_classes]` counts of hard votes; ties go to the lowest class.

        Args:
            inputs: the inputs that the requests' rows point into.
            requests: what to draw; their streams advance.

        Raises:
            ModelError: see `scores`.
        """
        counts = np.zeros((len(requests), self.num_classes), dtype=np.int64)
        if requests:
            self._check_independent(inputs, requests[0])
        network = self._network(inputs.shape)
        backlog = Backlog(request.n for request in requests)
        x = _on_host(inputs)

        def batches(size: int, most: int | None) -> Iterator[tuple[Segments, Tensor]]:
            made = 0
            while backlog.rows and (most is None or made < most):
                segments = backlog.take(size)
                noisy = torch.from_numpy(_noisy(x, requests, segments, self.noise))
                yield segments, noisy.to(self.device, inputs.x.dtype)
                made += 1

        while backlog.rows:
            search = self._batching(inputs.shape) if self.batch_size == "auto" else None
            size = self.rows_per_batch(inputs.shape)
            start, full = time.perf_counter(), 0
            for segments, scores in network.run(batches(size, search.batches if search else None)):
                _tally(counts, segments, scores.argmax(dim=1).cpu().numpy())
                self.on_votes(len(scores))
                full += len(scores) == size
            if search:
                search.record(full, time.perf_counter() - start)
        check_frozen(self.model)
        return counts

    def _check_independent(self, inputs: Inputs, request: VoteRequest) -> None:
        """Before the first vote: refuse a network whose votes are seen not to be independent."""
        seen = _INDEPENDENT.setdefault(self.model, set())
        key = (self.digest, inputs.shape, self.device)
        if key in seen:
            return
        probe = inputs.stream(request.row, "independence")
        rows = [VoteRequest(request.row, request.sigma, ROWS, probe)]
        noisy = torch.from_numpy(_noisy(_on_host(inputs), rows, [(0, ROWS)], self.noise))
        network = self._network(inputs.shape)

        def scores(batch: Tensor) -> Tensor:
            ((_, found),) = network.run([(None, batch)])
            return found

        with unchanged_buffers(self.model):
            check_independent(scores, noisy.to(self.device, inputs.x.dtype), self._arithmetic)
        seen.add(key)

    @property
    def _arithmetic(self) -> Precision:
        """The precision that scores are computed in, by the option or by the weights' type."""
        low = number_type(self.model) in (torch.float16, torch.bfloat16)
        return "bf16" if low else self.precision

    def _network(self, shape: tuple[int, ...]) -> Network:
        if not self.compile:
            return self._eager
        if shape not in self._compiled:
            self._compiled[shape] = CompiledNetwork(
                self.model, self.num_classes, self.precision, shape
            )
        return self._compiled[shape]

    def count_each(
        self, inputs: Inputs, sigma: npt.ArrayLike, n: int, stage: str
    ) -> npt.NDArray[np.int64]:
        """`[batch, num_classes]` counts of `n` votes at every input, from a stage of its own.

        Args:
            inputs: the inputs.
            sigma: noise scale, one for all or `[batch]`.
            n: votes per input.
            stage: the name of the random stream; no two purposes may share it.
        """
        sigmas = np.broadcast_to(np.asarray(sigma, dtype=np.float64), len(inputs))
        return self.count(
            inputs,
            [
                VoteRequest(row, float(sigmas[row]), n, inputs.stream(row, stage))
                for row in range(len(inputs))
            ],
        )


def _on_host(inputs: Inputs) -> npt.NDArray[np.floating]:
    """The inputs where noise is drawn, in float32 at least."""
    x = inputs.x.to("cpu", torch.promote_types(inputs.x.dtype, torch.float32))
    found: npt.NDArray[np.floating] = x.numpy()
    return found


def _noisy(
    x: npt.NDArray[np.floating], requests: Sequence[VoteRequest], segments: Segments, noise: Noise
) -> npt.NDArray[np.floating]:
    """The rows x + sigma e of one batch, `[rows, *input]`, in the precision of `x`."""
    rows = sum(take for _, take in segments)
    draws = np.empty((rows, *x.shape[1:]), dtype=x.dtype)
    end = 0
    for index, take in segments:
        start, end = end, end + take
        request = requests[index]
        request.stream.fill(draws[start:end], noise)
        shifted = draws[start:end]
        np.multiply(shifted, request.sigma, out=shifted, dtype=x.dtype)
        shifted += x[request.row]
    return draws


def _tally(counts: npt.NDArray[np.int64], segments: Segments, votes: npt.NDArray[np.int64]) -> None:
    """Add the votes of one batch to the counts of the requests that they were cast for."""
    classes = counts.shape[1]
    owners = np.repeat([index for index, _ in segments], [take for _, take in segments])
    first, last = segments[0][0], segments[-1][0]
    flat = np.bincount((owners - first) * classes + votes, minlength=(last - first + 1) * classes)
    counts[first : last + 1] += flat.reshape(-1, classes)

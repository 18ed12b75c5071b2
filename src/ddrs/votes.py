"""The hot loop: noisy forward passes of a base classifier -> class counts.

The loop draws noise straight into one batch-sized buffer, adds it to the inputs in place, and keeps
nothing but counts, so its memory is bounded by the batch whatever the number of votes. Requests for
votes at different inputs and noise levels are packed into full batches.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddrs.digests import input_digest
from ddrs.errors import ConfigurationError, InputError, ModelError
from ddrs.noise import Noise
from ddrs.streams import Stream

__all__ = ["Inputs", "NoisyClassifier", "Precision", "VoteRequest"]

Precision = Literal["fp32", "bf16"]

# Rows times features of a batch that keeps the activations of small networks inside the caches.
AUTO_BATCH_ELEMENTS = 3 * 2**17


@dataclass(frozen=True)
class Inputs:
    """A batch of inputs, and the seed that keys the noise for each of them.

    Args:
        x: `[batch, *input]` floating point tensor.
        seed: the seed of all random streams.
        digests: SHA-256 of each input.
    """

    x: Tensor
    seed: int
    digests: tuple[str, ...]

    @classmethod
    def of(cls, x: Tensor, seed: int) -> "Inputs":
        """Check a user's batch and take its digests.

        Raises:
            InputError: not a batch of floating point inputs, empty inputs, NaN or infinite values.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2:
            what = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"inputs must be a float tensor [batch, ...], got {what}")
        if prod(x.shape[1:]) == 0:
            raise InputError(f"inputs of shape {list(x.shape[1:])} have no elements")
        x = x.detach()
        finite = x.isfinite().flatten(1).all(dim=1)
        if not finite.all():
            bad = (~finite).nonzero().flatten().tolist()
            raise InputError(f"inputs {bad[:5]} of the batch hold NaN or infinite values")
        rows = x.to("cpu", torch.float64).numpy()
        return cls(x, seed, tuple(map(input_digest, rows)))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.x.shape[1:])

    def take(self, rows: Sequence[int]) -> "Inputs":
        """The inputs at the given positions."""
        return Inputs(self.x[list(rows)], self.seed, tuple(self.digests[row] for row in rows))

    def stream(self, row: int, stage: str) -> Stream:
        """The noise of one stage for the input at `row`, from its first draw on."""
        return Stream(self.seed, self.digests[row], stage, self.shape)


@dataclass
class VoteRequest:
    """Ask for the next `n` draws of `stream`, scaled by `sigma`, as votes at input `row`."""

    row: int
    sigma: float
    n: int
    stream: Stream


class NoisyClassifier:
    """A user's classifier under noise: it casts votes and gives scores, and decides nothing.

    Args:
        model: maps `[batch, *input]` to `[batch, num_classes]` scores, normalisation included.
        num_classes: the number of scores.
        noise: the smoothing distribution.
        batch_size: rows of one forward pass, or `"auto"`.
        precision: `"fp32"` (the model's own) or `"bf16"` (autocast to bfloat16).

    Attributes:
        digest: SHA-256 of what is certified: weights, buffers, module classes and precision.
        on_votes: called with the number of votes after each batch, e.g. by a progress bar.

    Raises:
        ConfigurationError: an argument that can never work.
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        noise: Noise,
        *,
        batch_size: int | Literal["auto"] = "auto",
        precision: Precision = "fp32",
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ConfigurationError(
                f"the model must be a torch.nn.Module, got {type(model).__name__}"
            )
        if not isinstance(num_classes, int) or num_classes < 2:
            raise ConfigurationError(f"num_classes must be at least 2, got {num_classes!r}")
        if batch_size != "auto" and (not isinstance(batch_size, int) or batch_size < 1):
            raise ConfigurationError(f'batch_size must be "auto" or at least 1, got {batch_size!r}')
        if precision not in get_args(Precision):
            raise ConfigurationError(
                f"precision must be one of {get_args(Precision)}, got {precision!r}"
            )
        self.model = model
        self.num_classes = num_classes
        self.noise = noise
        self.precision = precision
        self.batch_size = batch_size
        self.digest = model_digest(model, precision)
        self.on_votes: Callable[[int], None] = lambda votes: None
        # Convolutions on a CPU are a third faster and more in this layout.
        self._channels_last = any(isinstance(m, nn.Conv2d) for m in model.modules())

    def check_unchanged(self) -> None:
        """Raise ModelError unless the model is still the one that `digest` names."""
        if model_digest(self.model, self.precision) != self.digest:
            raise ModelError(
                "the model changed since it was smoothed, so what is certified is no longer what "
                "its digest names; make a new SmoothedClassifier"
            )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    def rows_per_batch(self, shape: tuple[int, ...]) -> int:
        """The batch size for inputs of this shape."""
        if self.batch_size == "auto":
            return max(8, min(256, AUTO_BATCH_ELEMENTS // prod(shape)))
        return self.batch_size

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Evaluation mode without parameter gradients; afterwards the model is as it was."""
        modes = {module: module.training for module in self.model.modules()}
        wanted = {p: p.requires_grad for p in self.model.parameters()}
        try:
            self.model.eval()
            for parameter in wanted:
                parameter.requires_grad_(False)
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            for parameter, requires_grad in wanted.items():
                parameter.requires_grad_(requires_grad)

    def scores(self, batch: Tensor) -> Tensor:
        """One forward pass, checked: `[batch, *input]` -> `[batch, num_classes]`.

        Raises:
            ModelError: the model raised, or did not return one score per class, or returned NaN.
        """
        try:
            scores = self._forward(batch)
        except Exception as error:
            raise ModelError(
                f"the model failed on a {batch.dtype} batch of shape {list(batch.shape)}: {error}"
            ) from error
        expected = (len(batch), self.num_classes)
        if not isinstance(scores, Tensor) or tuple(scores.shape) != expected:
            got = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ModelError(
                f"the model must return scores of shape {list(expected)} "
                f"([batch, num_classes]), got {got}"
            )
        if scores.detach().isnan().any():
            raise ModelError("the model returned NaN scores; certify a model that is finite")
        return scores

    def _forward(self, batch: Tensor) -> object:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if self._channels_last and batch.ndim == 4:
                try:
                    return self.model(batch.contiguous(memory_format=torch.channels_last))
                except RuntimeError:  # a model may insist on the usual layout, by calling `view`
                    self._channels_last = False
            return self.model(batch)

    @torch.no_grad()
    def classify(self, x: Tensor) -> npt.NDArray[np.int64]:
        """`[batch]` classes of the inputs themselves, without noise."""
        rows = self.rows_per_batch(tuple(x.shape[1:]))
        parts = [
            self.scores(part.to(self.device)).argmax(dim=1).cpu() for part in torch.split(x, rows)
        ]
        return torch.cat(parts).numpy()

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
        size = min(self.rows_per_batch(inputs.shape), sum(request.n for request in requests))
        x = inputs.x.to(torch.promote_types(inputs.x.dtype, torch.float32)).cpu()
        draws = np.empty((size, *inputs.shape), dtype=np.float32)
        noisy = torch.from_numpy(draws)
        if x.dtype != noisy.dtype:
            noisy = torch.empty(noisy.shape, dtype=x.dtype)
        for segments in pack([request.n for request in requests], size):
            owners = np.repeat([index for index, _ in segments], [take for _, take in segments])
            end = 0
            for index, take in segments:
                start, end = end, end + take
                request = requests[index]
                request.stream.fill(draws[start:end], self.noise.sample)
                piece = noisy[start:end]
                torch.mul(torch.from_numpy(draws[start:end]), request.sigma, out=piece)
                piece.add_(x[request.row])
            batch = noisy[:end].to(self.device, inputs.x.dtype)
            votes = self.scores(batch).argmax(dim=1).cpu().numpy()
            first = owners[0]
            width = owners[-1] - first + 1
            flat = np.bincount(
                (owners - first) * self.num_classes + votes, minlength=width * self.num_classes
            )
            counts[first : first + width] += flat.reshape(width, self.num_classes)
            self.on_votes(end)
        return counts

    def count_each(
        self, inputs: Inputs, sigma: npt.ArrayLike, n: int, stage: str
    ) -> npt.NDArray[np.int64]:
        """`[batch, num_classes]` counts of `n` votes at every input, from a stage of its own.

        Args:
            inputs: the inputs.
            sigma: noise scale, one for all or `[batch]`.
            n: votes an input.
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


def pack(sizes: Sequence[int], capacity: int) -> Iterator[list[tuple[int, int]]]:
    """Cut requests of the given sizes, in order, into batches of at most `capacity` rows.

    Yields:
        For each batch its segments (request, rows). Every batch but the last is full.
    """
    batch: list[tuple[int, int]] = []
    room = capacity
    for index, size in enumerate(sizes):
        left = size
        while left > 0:
            take = min(left, room)
            batch.append((index, take))
            left -= take
            room -= take
            if room == 0:
                yield batch
                batch, room = [], capacity
    if batch:
        yield batch


def model_digest(model: nn.Module, precision: Precision) -> str:
    """SHA-256 of a classifier: every module's class and settings, parameters, buffers, precision.

    Settings are what a module's `extra_repr` tells. Constants that it keeps elsewhere outside
    parameters and buffers are not seen: hold normalisation constants in registered buffers.
    """
    digest = hashlib.sha256(f"precision={precision}\n".encode())
    for name, module in model.named_modules(remove_duplicate=False):
        kind = type(module)
        settings = module.extra_repr()  # stride, padding, eps, ...
        digest.update(f"{name}:{kind.__module__}.{kind.__qualname__}({settings})\n".encode())
    tensors = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]  # a module used twice counts twice
    for name, tensor in tensors:
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}\n".encode())
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()

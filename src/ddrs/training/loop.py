"""The training loop: any objective, resumable, the same result whether or not it was interrupted.

Everything random in an epoch (the order of the examples, the noise, dropout) has a generator keyed
by (seed, epoch, purpose), so a checkpoint at the end of an epoch needs no random state to go on
from.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from ddrs.errors import ConfigurationError, RunError
from ddrs.noise import NOISES
from ddrs.training.objectives import OBJECTIVES

__all__ = ["EpochMetrics", "Examples", "TrainingConfig", "train"]


Parts = dict[str, nn.Module | torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler]


class Examples(Protocol):
    """A map-style dataset of (input, label)."""

    def __len__(self) -> int:
        """The number of examples."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One example."""


@dataclass(frozen=True)
class TrainingConfig:
    """What to train, and how: SGD with Nesterov momentum 0.9 under a one-cycle schedule.

    Attributes:
        method: a name in `OBJECTIVES`.
        sigma: noise scale, in the units of the input.
        noise: `"gaussian"` or `"uniform"`.
        epochs: passes over the examples.
        batch_size: examples a step.
        lr: the schedule's highest learning rate.
        weight_decay: l2 penalty on the weights.
        seed: key of all randomness.

    Raises:
        ConfigurationError: a value that can never work.
    """

    method: str = "gaussian"
    sigma: float = 0.25
    noise: str = "gaussian"
    epochs: int = 60
    batch_size: int = 64
    lr: float = 0.1
    weight_decay: float = 5e-4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in OBJECTIVES:
            raise ConfigurationError(
                f"method must be one of {', '.join(OBJECTIVES)}, got {self.method!r}"
            )
        if self.noise not in NOISES:
            raise ConfigurationError(
                f"noise must be one of {', '.join(NOISES)}, got {self.noise!r}"
            )
        if not self.sigma >= 0 or self.sigma == float("inf"):
            raise ConfigurationError(f"sigma must be finite and at least 0, got {self.sigma}")
        if self.epochs < 1 or self.batch_size < 2 or not self.lr > 0:
            raise ConfigurationError(
                "training needs epochs >= 1, batch_size >= 2 and lr > 0, got "
                f"epochs={self.epochs}, batch_size={self.batch_size}, lr={self.lr}"
            )


@dataclass(frozen=True)
class EpochMetrics:
    """How one epoch went; accuracy is that on the noisy training examples as they were seen."""

    epoch: int
    loss: float
    noisy_accuracy: float
    seconds: float = field(compare=False)


def train(
    model: nn.Module,
    examples: Examples,
    config: TrainingConfig,
    *,
    checkpoint: Path | None = None,
    on_batch: Callable[[int], None] = lambda examples: None,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> list[EpochMetrics]:
    """Train `model` in place and leave it in evaluation mode.

    Args:
        model: the base classifier; it is trained on the device that it is on.
        examples: the training set.
        config: what to do.
        checkpoint: a file that is replaced after every epoch and, if it is there already, the place
            to go on from. By default nothing is kept.
        on_batch: called with the number of examples after each step.
        on_epoch: called after each epoch, once its checkpoint is written; on a resume first with
            the last epoch done before.

    Returns:
        One record an epoch, those before a resume included.

    Raises:
        ConfigurationError: fewer examples than one batch.
        RunError: the checkpoint cannot be read or written, or the loss is not finite.
    """
    steps = len(examples) // config.batch_size
    if steps == 0:
        raise ConfigurationError(
            f"a batch of {config.batch_size} is more than the {len(examples)} training examples"
        )
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.lr,
        momentum=0.9,
        nesterov=True,
        weight_decay=config.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=config.lr, total_steps=steps * config.epochs
    )
    parts: Parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    history = _resume(checkpoint, parts, config)
    for metrics in history[-1:]:
        on_epoch(metrics)
    for epoch in range(len(history), config.epochs):
        model.train()
        with _keyed_layers(model, config.seed, epoch):
            metrics = _epoch(model, examples, config, epoch, optimizer, schedule, on_batch)
        history.append(metrics)
        if checkpoint is not None:
            _save(checkpoint, parts, config, history)
        on_epoch(metrics)
    model.eval()
    return history


def _epoch(
    model: nn.Module,
    examples: Examples,
    config: TrainingConfig,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    on_batch: Callable[[int], None],
) -> EpochMetrics:
    device = next(model.parameters()).device
    objective = OBJECTIVES[config.method]().at_epoch(epoch)
    noise = NOISES[config.noise]
    order = torch.randperm(len(examples), generator=_generator(config.seed, epoch, "order"))
    generator = _generator(config.seed, epoch, "noise", device)
    steps = len(examples) // config.batch_size
    loss_sum = correct = 0.0
    start = time.perf_counter()
    for indices in order[: steps * config.batch_size].view(steps, -1).tolist():
        x, y = _collate(examples, indices)
        x, y = x.to(device), y.to(device)
        sigma = torch.full((len(x),), config.sigma, dtype=x.dtype, device=device)
        loss, scores = objective(model, x, y, sigma, noise, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        loss_sum += loss.item()
        correct += (scores.argmax(dim=1) == y).sum().item()
        on_batch(len(x))
    if not loss_sum < float("inf"):
        raise RunError(f"the loss became {loss_sum} in epoch {epoch}; try a smaller lr")
    seconds = time.perf_counter() - start
    return EpochMetrics(epoch, loss_sum / steps, correct / (steps * config.batch_size), seconds)


def _collate(examples: Examples, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    pairs = [examples[index] for index in indices]
    return torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs])


@contextmanager
def _keyed_layers(model: nn.Module, seed: int, epoch: int) -> Iterator[None]:
    """Key what layers such as dropout draw from torch's own generators, and restore those."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_key(seed, epoch, "layers"))
        yield


def _generator(
    seed: int, epoch: int, purpose: str, device: torch.device | str = "cpu"
) -> torch.Generator:
    return torch.Generator(device).manual_seed(_key(seed, epoch, purpose))


def _key(seed: int, epoch: int, purpose: str) -> int:
    name = f"{seed}/{epoch}/{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=7).digest())


def _resume(checkpoint: Path | None, parts: Parts, config: TrainingConfig) -> list[EpochMetrics]:
    if checkpoint is None or not checkpoint.exists():
        return []
    try:
        state = torch.load(checkpoint, weights_only=True)
        if state["config"] != asdict(config):
            raise RunError(f"{checkpoint} belongs to another training configuration")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return [EpochMetrics(**metrics) for metrics in state["history"]]
    except RunError:
        raise
    except Exception as error:
        raise RunError(f"cannot resume from {checkpoint}: {error}; delete it to start over") from (
            error
        )


def _save(
    checkpoint: Path,
    parts: Parts,
    config: TrainingConfig,
    history: Sequence[EpochMetrics],
) -> None:
    state: dict[str, object] = {name: part.state_dict() for name, part in parts.items()}
    state["config"] = asdict(config)
    state["history"] = [asdict(metrics) for metrics in history]
    partial = checkpoint.with_suffix(".partial")
    try:
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, checkpoint)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise RunError(f"cannot write {checkpoint}: {error}") from error

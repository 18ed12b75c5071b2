"""All that changes while a training runs: what a checkpoint holds, and how it gets there."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from ddrs.errors import RunError, one_line
from ddrs.training.checkpoint import check_fits, read_checkpoint, write_checkpoint
from ddrs.training.config import TrainingConfig
from ddrs.training.metrics import EpochMetrics, best_epoch, histogram
from ddrs.training.schedules import make_schedule

__all__ = ["Progress", "TrainingState"]


@dataclass
class Progress:
    """How far the epoch under way is, and sums over what it did so far."""

    epoch: int = 0
    steps: int = 0
    examples: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0


@dataclass
class TrainingState:
    """All state of a training; nothing random is among it (`keys`).

    Attributes:
        model: the base classifier.
        optimizer: with its momentum.
        schedule: of the learning rate.
        sigmas: `[examples]` float64 sigma of each example, by its id.
        progress: of the epoch under way.
        history: the epochs that are over.
        best: the weights of the best of them, where examples are held out.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    sigmas: Tensor
    progress: Progress = field(default_factory=Progress)
    history: list[EpochMetrics] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    @classmethod
    def start(cls, model: nn.Module, config: TrainingConfig, *, examples: int, steps: int) -> Self:
        """The state before the first of `steps` steps per epoch."""
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=0.9,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
        sigmas = torch.full((examples,), config.sigma, dtype=torch.float64)
        return cls(model, optimizer, make_schedule(optimizer, config, steps), sigmas)

    def end_epoch(self, config: TrainingConfig, trained: Tensor, accuracy: float | None) -> None:
        """Note an epoch, and its weights if they are the best.

        Args:
            config: the configuration.
            trained: ids of the training examples.
            accuracy: on the examples held out.
        """
        done, sigmas = self.progress, self.sigmas[trained]
        bounds = config.sigma_bounds
        metrics = EpochMetrics(
            epoch=done.epoch,
            loss=done.loss / done.examples,
            noisy_accuracy=done.correct / done.examples,
            seconds=done.seconds,
            validation_accuracy=accuracy,
            sigma_min=sigmas.min().item(),
            sigma_median=sigmas.quantile(0.5).item(),
            sigma_max=sigmas.max().item(),
            sigma_counts=histogram(sigmas, bounds) if bounds else [],
        )
        self.history.append(metrics)
        if accuracy is not None and best_epoch(self.history) == done.epoch:
            weights = self.model.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self.progress = Progress(done.epoch + 1)

    def save(self, path: Path, config: TrainingConfig) -> None:
        """Replace the checkpoint at `path`.

        Raises:
            RunError: it cannot be written; it is as it was.
        """
        state = {
            "config": config.record(),
            "examples": len(self.sigmas),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "sigmas": self.sigmas,
            "progress": asdict(self.progress),
            "history": [asdict(metrics) for metrics in self.history],
            "best": self.best,
        }
        write_checkpoint(path, state)

    def resume(self, path: Path, config: TrainingConfig) -> None:
        """Take over what the checkpoint at `path` holds, if there is one.

        Raises:
            RunError: it cannot be read, or is of another training; nothing of it is used.
        """
        state = read_checkpoint(path)
        if state is None:
            return
        try:
            check_fits(
                path,
                state,
                config=config.record(),
                examples=len(self.sigmas),
                weights=self.model.state_dict(),
            )
            self.history = [EpochMetrics(**metrics) for metrics in state["history"]]
            self.progress = Progress(**state["progress"])
            self.sigmas, self.best = state["sigmas"], state["best"]
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
        except RunError:
            raise
        except Exception as error:
            raise RunError(
                f"cannot resume from {path}: {one_line(error)}; delete it to start over"
            ) from error

"""How long a training will take here: a few of its steps, timed."""

import copy
import time
from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ddrs.training.config import TrainingConfig
from ddrs.training.examples import Examples
from ddrs.training.loop import Trainer
from ddrs.training.workers import Workers

__all__ = ["Estimate", "estimate_time"]

SECONDS = 5.0  # of steps for each kind of epoch
VALIDATED = 512  # examples at most
LR = 1e-12  # so small that the steps which are timed leave the weights as they were


@dataclass(frozen=True)
class Estimate:
    """How long a training will take.

    Attributes:
        seconds: in all.
        rates: for each kind of epoch, how many epochs are of it and how many examples per
            second they do. Epochs differ where sigmas begin to change.
    """

    seconds: float
    rates: list[tuple[int, float]]


def estimate_time(
    model: nn.Module, examples: Examples, config: TrainingConfig, *, seconds: float = SECONDS
) -> Estimate:
    """Time a few steps of each kind of epoch, and validation, on a copy of the model.

    Args:
        model: the base classifier; it stays as it is.
        examples: the training set.
        config: what would be done.
        seconds: time to take for each kind of epoch, at the least one step.

    Raises:
        ConfigurationError, ModelError, DataError: as `train`.
    """
    workers = Workers()
    objectives = [config.objective().at_epoch(epoch) for epoch in range(config.epochs)]
    kinds = [(one.passes, config.adapts(epoch)) for epoch, one in enumerate(objectives)]
    cuda = [workers.device] if workers.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # Any number of steps will do, and none of them is to change the weights much.
        timed = replace(config, schedule="cosine", milestones=(), lr=LR)
        trainer = Trainer(copy.deepcopy(model).to(workers.device), examples, timed, workers)
        trainer.network = workers.prepare(trainer.network)
        count, held = len(trainer.train_ids), trainer.validation_ids
        total, rates = 0.0, []
        for kind, epochs in Counter(kinds).items():
            rate = _rate(trainer, kinds.index(kind), seconds)
            rates.append((epochs, rate))
            total += epochs * count / rate
        start = time.perf_counter()
        trainer.validate(held[:VALIDATED])
        spent = time.perf_counter() - start
    return Estimate(
        total + config.epochs * spent * len(held) / max(1, len(held[:VALIDATED])), rates
    )


def _rate(trainer: Trainer, epoch: int, seconds: float) -> float:
    """Examples per second in an epoch; the first step, which warms things up, is not counted."""
    objective = trainer.config.objective().at_epoch(epoch)
    trainer.network.train()
    trainer.state.progress.epoch = epoch
    batches = trainer.batches(epoch)

    def timed(batches: list[Tensor]) -> float:
        start = time.perf_counter()
        for batch in batches:
            trainer.step(objective, batch, None)
        return time.perf_counter() - start

    timed(batches[:1])
    # The processes must agree on the number of steps: each waits for all.
    mean = trainer.workers.total(torch.tensor([timed(batches[:1])])).item() / trainer.workers.count
    steps = batches[: max(1, int(seconds / mean))]
    return sum(map(len, steps)) / timed(steps)

"""The training loop: any objective, on any device, with a sigma for each example where asked.

A step draws all that is random in it from generators of its own (`ddrs.noise.keys`), so what a
checkpoint holds is the whole state, and a run that was stopped at any moment ends where it would
have ended.
"""

import json
import time
from collections.abc import Callable
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from ddrs.errors import ConfigurationError, RunError
from ddrs.files import write
from ddrs.networks.forward import Forward, count_classes
from ddrs.networks.precision import check_precision
from ddrs.noise.distributions import NOISES, Noise
from ddrs.noise.keys import key, keyed_generator
from ddrs.training.augment import draw_views, flip_and_crop
from ddrs.training.config import TrainingConfig
from ddrs.training.example_sigmas import ascend, draw_sigmas
from ddrs.training.examples import Examples, ExampleStore, read
from ddrs.training.metrics import EpochMetrics
from ddrs.training.objectives.objective import Objective
from ddrs.training.splits import cut, split
from ddrs.training.state import TrainingState
from ddrs.training.validation import noisy_accuracy
from ddrs.training.workers import Workers

__all__ = ["NOT_FINITE_FILE", "Trainer", "train"]

SAVE_SECONDS = 30.0  # a kill costs about this much work
LEAST_ROWS = 2  # of a batch, in each process: one has no variance for batch normalisation
NOT_FINITE_FILE = "not_finite.json"


def train(
    model: nn.Module,
    examples: Examples,
    config: TrainingConfig,
    *,
    checkpoint: Path | None = None,
    save_seconds: float = SAVE_SECONDS,
    on_batch: Callable[[int], None] = lambda examples: None,
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> list[EpochMetrics]:
    """Train `model` in place and leave it in evaluation mode, on the device that it was on.

    Several processes that call this with the same arguments train together (`workers`); the first
    one writes, and makes the calls.

    Args:
        model: the base classifier.
        examples: the training set; an example's id is its index.
        config: what to do.
        checkpoint: a file that is replaced after every epoch and, if it is there already, resumed
            from. By default nothing is kept.
        save_seconds: within an epoch it is replaced when it is this old.
        on_batch: called with the number of examples after each step; on a resume first with the
            number done before in the epoch under way.
        on_epoch: called after each epoch, once its checkpoint is written; on a resume first with
            the last epoch done before.

    Returns:
        One record per epoch, those before a resume included. The weights are those of the
        `best_epoch` of them.

    Raises:
        ConfigurationError: the configuration does not go with the data or the device.
        ModelError: the model does not go with the data.
        DataError: an example is not an input and a class of the model.
        RunError: the checkpoint cannot be read or written or is of another training; another
            process stopped; or the loss or the weights are not finite: the ids of the step's
            examples are then in `not_finite.json` beside the checkpoint, which is as it was.
    """
    workers = Workers()
    home = next((weight.device for weight in model.parameters()), workers.device)
    cuda = [workers.device] if workers.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):  # layers draw from torch's own generators
        try:
            training = Trainer(model.to(workers.device), examples, config, workers)
            if checkpoint is not None:
                training.state.resume(checkpoint, config)
            if workers.rank > 0:
                checkpoint, on_batch, on_epoch = None, lambda examples: None, lambda metrics: None
            with workers.together():
                training.run(checkpoint, save_seconds, on_batch, on_epoch)
        finally:
            model.to(home)
    model.eval()
    return training.state.history


class Trainer:
    """What a training needs, and its steps, which change `state`.

    Args:
        model: the base classifier, on the device of `workers`.
        examples: the training set.
        config: what to do.
        workers: the processes that train together.

    Raises:
        ConfigurationError: the configuration does not go with the data or the device.
        ModelError: the model does not go with the data.
        DataError: the first example is no input.
    """

    def __init__(
        self, model: nn.Module, examples: Examples, config: TrainingConfig, workers: Workers
    ) -> None:
        check_precision(config.precision, workers.device)
        self.config = config
        self.workers = workers
        self.noise = NOISES[config.noise]
        self.least = LEAST_ROWS * workers.count
        self.train_ids, self.validation_ids = split(len(examples), config.validation, config.seed)
        steps = len(cut(self.train_ids, config.batch_size, self.least))
        self.network: nn.Module = Forward(model, config.precision)
        first = read(examples, 0)[0].unsqueeze(0).to(workers.device)
        if config.augment and first.ndim != 4:
            raise ConfigurationError(
                "flips and crops are for images [channels, height, width], but the inputs have the "
                f"shape {list(first.shape[1:])}: train without augment"
            )
        classes = count_classes(self.network, first, to_train=True)
        self.store = ExampleStore(examples, classes)
        self.state = TrainingState.start(model, config, examples=len(examples), steps=steps)

    def run(
        self,
        checkpoint: Path | None,
        save_seconds: float,
        on_batch: Callable[[int], None],
        on_epoch: Callable[[EpochMetrics], None],
    ) -> None:
        """Do what is left, and end with the weights of the best epoch; arguments as in `train`."""
        state, config = self.state, self.config
        for metrics in state.history[-1:]:
            on_epoch(metrics)
        if state.progress.examples:
            on_batch(state.progress.examples)
        self.network = self.workers.prepare(self.network)
        saved = time.monotonic()
        for epoch in range(state.progress.epoch, config.epochs):
            objective = config.objective().at_epoch(epoch)
            self.network.train()
            for batch in self.batches(epoch)[state.progress.steps :]:
                self.step(objective, batch, checkpoint)
                if checkpoint is not None and time.monotonic() - saved >= save_seconds:
                    state.save(checkpoint, config)
                    saved = time.monotonic()
                on_batch(len(batch))
            state.end_epoch(config, self.train_ids, self.validate(self.validation_ids))
            if checkpoint is not None:
                state.save(checkpoint, config)
                saved = time.monotonic()
            on_epoch(state.history[-1])
        if state.best is not None:
            state.model.load_state_dict(state.best)

    def batches(self, epoch: int) -> list[Tensor]:
        """The ids of each step of an epoch."""
        generator = keyed_generator(self.config.seed, "order", epoch)
        order = torch.randperm(len(self.train_ids), generator=generator)
        return cut(self.train_ids[order], self.config.batch_size, self.least)

    def step(self, objective: Objective, batch: Tensor, checkpoint: Path | None) -> None:
        """One step of the optimizer for the examples `batch` `[batch]`, of all processes."""
        state, config, workers = self.state, self.config, self.workers
        start, size = time.perf_counter(), len(batch)
        epoch, step = state.progress.epoch, state.progress.steps
        x, y = self._examples(batch)
        noise = workers.share(self.noise, size)
        torch.manual_seed(key(config.seed, "layers", epoch, step, workers.rank))
        sigma = self._sigmas(batch, x, noise)
        generator = keyed_generator(config.seed, "noise", epoch, step, device=workers.device)
        loss, scores = objective(self.network, x, y, sigma.to(x), noise, generator)
        correct = (scores.argmax(dim=1) == y).sum()
        sums = torch.tensor([loss.item() * len(x), correct.item()], dtype=torch.float64)
        loss_sum, correct_sum = workers.total(sums).tolist()
        if not isfinite(loss_sum):
            raise _not_finite(loss_sum / size, epoch, step, batch, checkpoint)
        state.optimizer.zero_grad(set_to_none=True)
        # The mean over processes of what each weighs by its rows is the mean over the batch.
        (loss * (workers.count * len(x) / size)).backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        if not get_total_norm(state.model.parameters()).isfinite():
            raise _not_finite(loss_sum / size, epoch, step, batch, checkpoint)
        state.schedule.step()
        workers.align(state.model)
        state.sigmas[batch] = workers.gather(sigma, size)
        state.progress.steps += 1
        state.progress.examples += size
        state.progress.loss += loss_sum
        state.progress.correct += int(correct_sum)
        state.progress.seconds += time.perf_counter() - start

    def _examples(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """This process's rows of a step's examples, as they are seen, and their labels."""
        config, progress, size = self.config, self.state.progress, len(batch)
        rows = self.workers.rows(size)
        x, y = self.store.batch(batch[rows])
        if config.augment:
            name = ("views", progress.epoch, progress.steps)
            views = draw_views(size, x.shape[1:], keyed_generator(config.seed, *name))
            x = flip_and_crop(x, views[rows])
        return x.to(self.workers.device), y.to(self.workers.device)

    def _sigmas(self, batch: Tensor, x: Tensor, noise: Noise) -> Tensor:
        """`[rows]` float64, the sigma of each of this process's examples `x` in this step."""
        config, epoch, step = self.config, self.state.progress.epoch, self.state.progress.steps
        rows, device = self.workers.rows(len(batch)), self.workers.device
        if config.sigma_range is not None:
            generator = keyed_generator(config.seed, "scales", epoch, step)
            low, high = config.sigma_range
            return draw_sigmas(len(batch), low, high, generator)[rows]
        sigma, adaptive = self.state.sigmas[batch[rows]], config.data_dependent
        if adaptive is None or not config.adapts(epoch):
            return sigma
        generator = keyed_generator(config.seed, "ascent", epoch, step, device=device)
        bounds = adaptive.bounds(config.sigma)
        return ascend(self.network, x, sigma, noise, generator, settings=adaptive, bounds=bounds)

    def validate(self, ids: Tensor) -> float | None:
        """The accuracy on some examples under noise; None for none."""
        if not len(ids):
            return None
        return noisy_accuracy(
            self.network,
            self.store,
            ids,
            self.workers,
            noise=self.noise,
            sigma=self.config.sigma,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
        )


def _not_finite(
    loss: float, epoch: int, step: int, batch: Tensor, checkpoint: Path | None
) -> RunError:
    """The error for such a loss, or such weights after it; the ids of the examples go to a file."""
    what = f"loss became {loss}" if not isfinite(loss) else "weights became infinite or NaN"
    where = f"the {what} in epoch {epoch}, step {step}"
    if checkpoint is None:
        return RunError(f"{where}; try a smaller lr")
    advice = "try a smaller lr in another directory"
    path = checkpoint.with_name(NOT_FINITE_FILE)
    record = {"epoch": epoch, "step": step, "loss": str(loss), "ids": batch.tolist()}
    try:
        write(path, json.dumps(record) + "\n", "ids of its examples")
    except RunError as error:
        return RunError(f"{where}; {advice}; {error}")
    return RunError(f"{where}; the ids of its examples are in {path}; {advice}")

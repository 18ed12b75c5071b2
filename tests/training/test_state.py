from dataclasses import replace

import pytest
import torch

from ddrs.errors import RunError
from ddrs.training.checkpoint import read_checkpoint, write_checkpoint
from ddrs.training.config import TrainingConfig
from ddrs.training.sigmas import DataDependent
from ddrs.training.state import Progress, TrainingState
from support.toy_training import network, same, weights

CONFIG = TrainingConfig(sigma=0.5, epochs=4, data_dependent=DataDependent(low=0.0625, high=2.5))


def begun(config=CONFIG, examples=6):
    """A state that has made one step."""
    state = TrainingState.start(network(), config, examples=examples, steps=3)
    state.model(torch.rand(4, 9)).square().sum().backward()
    state.optimizer.step()
    state.schedule.step()
    state.progress = Progress(1, 2, 5, 7.5, 3, 0.25)
    state.sigmas[2] = 0.75
    return state


def test_an_epoch_is_noted():
    state = begun()
    state.sigmas = torch.tensor([0.25, 9.0, 0.5, 1.5, 2.5, 2.5], dtype=torch.float64)
    state.end_epoch(CONFIG, torch.tensor([0, 2, 3, 4, 5]), None)
    (metrics,) = state.history
    assert (metrics.epoch, metrics.loss, metrics.noisy_accuracy) == (1, 1.5, 0.6)
    assert (metrics.seconds, metrics.validation_accuracy) == (0.25, None)
    assert (metrics.sigma_min, metrics.sigma_median, metrics.sigma_max) == (0.25, 1.5, 2.5)
    assert sum(metrics.sigma_counts) == 5  # the one held out is not among them
    assert metrics.sigma_counts[-1] == 2
    assert state.progress == Progress(2)
    assert state.best is None


def test_a_fixed_scale_has_no_histogram():
    config = TrainingConfig(sigma=0.5, epochs=4)
    state = begun(config)
    state.end_epoch(config, torch.tensor([0, 1]), None)
    assert state.history[0].sigma_counts == []


def test_the_weights_of_the_best_epoch_are_kept():
    state, kept = begun(), []
    for accuracy in (0.5, 0.25, 0.5):
        with torch.no_grad():
            state.model[1].weight += 1
        kept.append(weights(state.model))
        state.progress.examples = 1
        state.end_epoch(CONFIG, torch.arange(6), accuracy)
        assert same(state.best, kept[2 if len(kept) == 3 else 0])


def test_a_round_trip(tmp_path):
    path, state = tmp_path / "checkpoint.pt", begun()
    state.end_epoch(CONFIG, torch.arange(6), 0.5)
    state.progress = Progress(2, 1, 4, 0.1, 2, 0.5)
    state.save(path, CONFIG)
    with torch.no_grad():
        state.best["1.weight"] += 1  # what was saved does not follow
    other = TrainingState.start(network(), CONFIG, examples=6, steps=3)
    torch.nn.init.zeros_(other.model[1].weight)
    other.resume(path, CONFIG)
    assert same(weights(other.model), weights(state.model))
    assert torch.equal(other.sigmas, state.sigmas)
    assert (other.progress, other.history) == (state.progress, state.history)
    assert other.history[0].seconds == 0.25
    assert torch.equal(other.best["1.weight"] + 1, state.best["1.weight"])
    assert other.schedule.last_epoch == 1
    for one, two in zip(
        state.optimizer.state.values(), other.optimizer.state.values(), strict=True
    ):
        assert torch.equal(one["momentum_buffer"], two["momentum_buffer"])


def test_without_a_checkpoint_it_starts(tmp_path):
    state = TrainingState.start(network(), CONFIG, examples=6, steps=3)
    before = weights(state.model)
    state.resume(tmp_path / "checkpoint.pt", CONFIG)
    assert same(weights(state.model), before)
    assert state.progress == Progress()
    assert state.sigmas.tolist() == [0.5] * 6


@pytest.mark.parametrize("change", ["config", "examples", "model"])
def test_nothing_of_another_training_is_used(tmp_path, change):
    path = tmp_path / "checkpoint.pt"
    begun().save(path, CONFIG)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2)) if change == "model" else network()
    config = replace(CONFIG, seed=9) if change == "config" else CONFIG
    state = TrainingState.start(model, config, examples=7 if change == "examples" else 6, steps=3)
    before = weights(model)
    with pytest.raises(RunError):
        state.resume(path, config)
    assert same(weights(model), before)
    assert (state.progress, state.history) == (Progress(), [])


def test_a_checkpoint_with_a_part_missing_is_one_error(tmp_path):
    path = tmp_path / "checkpoint.pt"
    begun().save(path, CONFIG)
    state = read_checkpoint(path)
    for part in state:
        write_checkpoint(path, {name: state[name] for name in state if name != part})
        with pytest.raises(RunError) as caught:
            TrainingState.start(network(), CONFIG, examples=6, steps=3).resume(path, CONFIG)
        assert "\n" not in str(caught.value)

import errno
import math
import os
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from scipy import stats
from torch import nn

from ddrs.errors import ConfigurationError, RunError
from ddrs.noise.distributions import Gaussian
from ddrs.training.augment import draw_views
from ddrs.training.config import TrainingConfig
from ddrs.training.loop import train
from ddrs.training.metrics import best_epoch
from ddrs.training.objectives.methods import METHODS
from ddrs.training.sigmas import DataDependent
from ddrs.training.splits import split
from support.classifiers import Normalised
from support.toy_training import Stripes, network, same, weights

CONFIG = TrainingConfig(sigma=0.1, epochs=4, batch_size=8, lr=0.05, seed=3)
SIZES = [8, 8, 8, 8, 4]  # of the 36 examples


class Killed(Exception):
    pass


@dataclass(frozen=True)
class Watching:
    """Notes what the loop gives it, and trains nothing."""

    seen: ClassVar = []
    passes = 1.0

    def __call__(self, model, x, y, sigma, noise, generator):
        self.seen.append((x.clone(), y.clone(), sigma.clone(), generator.get_state()))
        scores = model(x)
        return 0 * scores.sum() + len(x), scores

    def at_epoch(self, epoch):
        return self


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(Watching, "seen", [])
    monkeypatch.setattr("ddrs.training.config.objective_class", lambda method: Watching)
    return Watching.seen


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "step"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_it_learns(schedule, nesterov):
    model = network()
    milestones = (6,) if schedule == "step" else ()
    config = TrainingConfig(
        sigma=0.1, epochs=8, batch_size=16, schedule=schedule, milestones=milestones,
        nesterov=nesterov,
    )  # fmt: skip
    history = train(model, Stripes(120), config)
    assert [metrics.epoch for metrics in history] == list(range(8))
    assert history[-1].loss < 0.45 < history[0].loss
    assert history[-1].noisy_accuracy > 0.9
    assert (history[-1].sigma_min, history[-1].sigma_max) == (0.1, 0.1)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("nesterov", [True, False])
def test_a_step_is_that_of_sgd(nesterov):
    """Two steps by hand: gradients of the mean loss, momentum, decay, and the schedule."""
    config = TrainingConfig(
        sigma=0.0, epochs=1, batch_size=6, schedule="cosine", weight_decay=0.01, nesterov=nesterov
    )
    model, examples = nn.Sequential(nn.Flatten(), nn.Linear(9, 3)).double(), Stripes(10)
    examples.x = examples.x.double()
    weight = model[1].weight.detach().clone()
    bias = model[1].bias.detach().clone()
    batches = []
    model[1].register_forward_pre_hook(lambda _, x: batches.append(x[0].clone()))
    train(model, examples, config)
    momentum = [0, 0]
    labels = {tuple(x.flatten().tolist()): y for x, y in zip(examples.x, examples.y, strict=True)}
    assert [len(x) for x in batches[1:]] == [6, 4]  # after the one that looks at the model
    for x, lr in zip(batches[1:], (0.1, 0.05), strict=True):
        y = torch.tensor([labels[tuple(row)] for row in x.tolist()])
        p = (x @ weight.T + bias).softmax(1) - nn.functional.one_hot(y, 3)
        slopes = p.T @ x / len(x) + 0.01 * weight, p.mean(0) + 0.01 * bias
        momentum = [0.9 * old + slope for old, slope in zip(momentum, slopes, strict=True)]
        steps = momentum
        if nesterov:
            steps = [slope + 0.9 * new for slope, new in zip(slopes, momentum, strict=True)]
        weight, bias = weight - lr * steps[0], bias - lr * steps[1]
    assert torch.allclose(model[1].weight, weight, rtol=0, atol=1e-12)
    assert torch.allclose(model[1].bias, bias, rtol=0, atol=1e-12)


@pytest.mark.parametrize("adaptive", [None, DataDependent(warmup=1)], ids=["fixed", "own"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_method_runs_and_learns(method, adaptive, precision):
    config = TrainingConfig(
        method=method, sigma=0.1, data_dependent=adaptive, precision=precision, epochs=4,
        batch_size=16, lr=0.02 if method == "macer" else 0.1,
        options={"k": 4} if method == "macer" else {},
    )  # fmt: skip
    torch.manual_seed(0)
    history = train(Normalised().train(), Stripes(60, side=4), config)
    assert history[-1].loss < history[0].loss
    assert (history[-1].sigma_min < history[-1].sigma_max) == (adaptive is not None)


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    results = []
    for seed, disturbance in ((3, 1), (3, 2), (4, 1)):
        model = network()
        torch.manual_seed(disturbance)  # the caller's own use of torch's generator
        train(model, Stripes(), replace(CONFIG, epochs=2, seed=seed))
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_the_caller_s_random_state_is_left_alone():
    model = network()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(model, Stripes(), CONFIG)
    assert torch.equal(torch.rand(3), expected)


def test_every_example_comes_once_an_epoch_and_the_noise_is_independent(seen):
    examples = Stripes()
    history = train(network(), examples, CONFIG)
    assert [len(x) for x, *_ in seen] == SIZES * 4
    assert all((sigma == torch.tensor(0.1)).all() for _, _, sigma, _ in seen)
    epochs = [torch.cat([x for x, *_ in seen[at : at + 5]]) for at in (0, 5, 10, 15)]
    labels = torch.cat([y for _, y, *_ in seen[:5]])
    for epoch in epochs:
        assert torch.equal(epoch.unique(dim=0), examples.x.unique(dim=0))
    assert not torch.equal(epochs[0], epochs[1])
    order = [int((examples.x == x).flatten(1).all(1).nonzero()) for x in epochs[0]]
    assert labels.tolist() == [examples.y[index] for index in order]
    # The loss of a batch was its size: the mean over examples, not over batches.
    assert history[0].loss == pytest.approx(sum(size * size for size in SIZES) / 36)
    # No step has the generator of another, and none that which shuffled the examples.
    states = {bytes(state.tolist()) for *_, state in seen}
    assert len(states) == 20
    fresh = torch.Generator()
    fresh.set_state(seen[0][3])
    assert torch.randperm(36, generator=fresh).tolist() != order
    assert Gaussian().sample_like(examples.x, fresh).std() > 0.5


def test_scales_are_drawn_anew_for_every_example_in_every_step(seen):
    config = replace(CONFIG, sigma_range=(0.05, 0.4), validation=16)
    (*_, last) = train(network(), Stripes(416), config)
    scales = torch.cat([sigma for _, _, sigma, _ in seen])
    assert len(scales) == 4 * 400
    assert len(scales.unique()) > 1590
    # Kolmogorov and Smirnov's test of the logarithm against the uniform law, at level 1e-3.
    share = (scales.double() / 0.05).log() / math.log(8)
    assert stats.kstest(share.numpy(), "uniform").pvalue > 1e-3
    assert sum(last.sigma_counts) == 400
    assert 0.05 <= last.sigma_min < 0.06
    assert 0.35 < last.sigma_max <= 0.4


def test_views_are_those_asked_for(seen):
    examples = Stripes(40, side=8)
    for augment in (False, True):
        train(network(8), examples, replace(CONFIG, epochs=1, augment=augment))
    plain, views = (torch.cat([x for x, *_ in part]) for part in (seen[:5], seen[5:]))
    assert not torch.equal(plain, views)
    found = 0
    for x, view in zip(plain[:, 0], views[:, 0], strict=True):  # the same order both times
        padded = nn.functional.pad(x, (1, 1, 1, 1))
        crops = [padded[i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
        found += any(torch.equal(view, seen) for c in crops for seen in (c, c.flip(1)))
    assert found == 40


def test_every_step_has_views_of_its_own(monkeypatch):
    states = []

    def note(batch, shape, generator):
        states.append(bytes(generator.get_state().tolist()))
        return draw_views(batch, shape, generator)

    monkeypatch.setattr("ddrs.training.loop.draw_views", note)
    train(network(), Stripes(), replace(CONFIG, augment=True))
    assert len(states) == len({*states}) == 20


def test_what_is_no_image_is_not_flipped():
    examples = Stripes()
    flat = [(x.flatten(), y) for x, y in examples]
    with pytest.raises(ConfigurationError, match="flips and crops are for images"):
        train(network(), flat, replace(CONFIG, augment=True))


class TestValidation:
    def test_held_out_examples_are_never_trained_on(self, seen):
        examples = Stripes()
        train(network(), examples, replace(CONFIG, validation=0.25))
        trained, kept = split(36, 0.25, 3)
        assert len(kept) == 9
        everything = torch.cat([x for x, *_ in seen])
        assert torch.equal(everything.unique(dim=0), examples.x[trained].unique(dim=0))

    def test_the_best_epoch_s_weights_are_the_result(self, monkeypatch):
        snapshots, model, accuracies, asked = [], network(), iter([0.2, 0.6, 0.6, 0.5]), []

        def accuracy(network, store, ids, workers, *, sigma, **options):
            asked.append((ids.tolist(), sigma))
            return next(accuracies)

        monkeypatch.setattr("ddrs.training.loop.noisy_accuracy", accuracy)
        history = train(
            model,
            Stripes(),
            replace(CONFIG, validation=10),
            on_epoch=lambda _: snapshots.append(weights(model)),
        )
        assert [metrics.validation_accuracy for metrics in history] == [0.2, 0.6, 0.6, 0.5]
        assert asked == [(split(36, 10, 3)[1].tolist(), 0.1)] * 4
        assert best_epoch(history) == 2
        assert same(weights(model), snapshots[2])
        assert not same(weights(model), snapshots[3])

    def test_looking_does_not_change_the_training(self, monkeypatch):
        last = {}
        looked, blind = network(), network()
        config = replace(CONFIG, validation=10)
        train(looked, Stripes(), config, on_epoch=lambda _: last.update(weights(looked)))
        monkeypatch.setattr("ddrs.training.loop.noisy_accuracy", lambda *_, **__: 0.5)
        train(blind, Stripes(), config)  # all are as good: the last one's weights
        assert same(last, weights(blind))


class TestTable:
    """Sigmas by example: `ascend` adds to each what is in the example's own corner."""

    @pytest.fixture(autouse=True)
    def add(self, monkeypatch):
        def add(network, x, sigma, noise, generator, *, settings, bounds):
            assert sigma.dtype == torch.float64
            return sigma + x[:, 0, 0, 0].double()

        monkeypatch.setattr("ddrs.training.loop.ascend", add)

    @pytest.mark.parametrize("warmup", [0, 1, 3])
    def test_each_example_has_its_own(self, seen, tmp_path, warmup):
        examples = Stripes(41)  # 36 to train on: the last batch of an epoch is short
        adaptive = DataDependent(warmup=warmup, high=100.0)
        config = replace(CONFIG, data_dependent=adaptive, validation=5)
        checkpoint = tmp_path / "checkpoint.pt"
        history = train(network(), examples, config, checkpoint=checkpoint)
        trained, kept = split(41, 5, 3)
        expected = torch.full((41,), 0.1, dtype=torch.float64)
        step = examples.x[:, 0, 0, 0].double()
        for metrics in history:
            if metrics.epoch >= warmup:
                expected[trained] += step[trained]
            assert metrics.sigma_min == pytest.approx(expected[trained].min().item())
            assert metrics.sigma_median == pytest.approx(expected[trained].quantile(0.5).item())
            assert metrics.sigma_max == pytest.approx(expected[trained].max().item())
            assert sum(metrics.sigma_counts) == len(trained)
        table = torch.load(checkpoint)["sigmas"]
        assert torch.allclose(table, expected, rtol=0, atol=1e-12)
        assert (table[kept] == 0.1).all()
        # The objective had the sigmas as they were after the refinement.
        x, _, sigma, _ = seen[-1]
        assert torch.allclose(sigma.double(), 0.1 + (4 - warmup) * x[:, 0, 0, 0].double())

    def test_the_ascent_s_draws_are_not_those_of_the_training(self, seen, monkeypatch):
        states = []

        def note(network, x, sigma, noise, generator, *, settings, bounds):
            states.append(bytes(generator.get_state().tolist()))
            return sigma

        monkeypatch.setattr("ddrs.training.loop.ascend", note)
        train(network(), Stripes(), replace(CONFIG, data_dependent=DataDependent(warmup=0)))
        assert len({*states, *(bytes(state.tolist()) for *_, state in seen)}) == 40


class TestResume:
    @pytest.mark.parametrize("save_seconds", [0.0, math.inf])
    @pytest.mark.parametrize("batches", [1, 4, 5, 6, 9, 19])
    def test_a_stopped_run_ends_as_it_would_have(self, tmp_path, batches, save_seconds):
        whole = network()
        config = replace(CONFIG, data_dependent=DataDependent(warmup=1, lr=0.05), validation=4)
        config = replace(config, batch_size=7)  # 32 trained on: 7, 7, 7, 7, 4
        expected = train(whole, Stripes(), config)
        checkpoint, left = tmp_path / "checkpoint.pt", iter(range(batches))

        def stop(examples):
            if next(left, None) is None:
                raise Killed

        with pytest.raises(Killed):
            train(
                network(), Stripes(), config, checkpoint=checkpoint, save_seconds=save_seconds,
                on_batch=stop,
            )  # fmt: skip
        torch.manual_seed(99)
        resumed = network()
        if checkpoint.exists():  # else it was stopped before the first was written: start again
            nn.init.zeros_(resumed[1].weight)
        told, done = [], []
        history = train(
            resumed, Stripes(), config, checkpoint=checkpoint, on_epoch=told.append,
            on_batch=done.append,
        )  # fmt: skip
        assert same(weights(resumed), weights(whole))
        assert history == expected
        finished = batches // 5
        assert [metrics.epoch for metrics in told] == list(range(max(0, finished - 1), 4))
        assert sum(done) == 32 * (4 - finished)
        again = network()
        assert train(again, Stripes(), config, checkpoint=checkpoint) == expected  # nothing to do
        assert same(weights(again), weights(whole))

    def test_a_kill_right_after_an_epoch_loses_nothing(self, tmp_path):
        checkpoint, whole = tmp_path / "checkpoint.pt", network()
        train(whole, Stripes(), CONFIG)

        def kill(metrics):
            if metrics.epoch == 1:
                raise Killed

        with pytest.raises(Killed):
            train(network(), Stripes(), CONFIG, checkpoint=checkpoint, on_epoch=kill)
        batches, resumed = [], network()
        train(resumed, Stripes(), CONFIG, checkpoint=checkpoint, on_batch=batches.append)
        assert batches == SIZES * 2
        assert same(weights(resumed), weights(whole))

    def test_the_checkpoint_of_another_training_is_refused_and_kept(self, tmp_path):
        checkpoint = tmp_path / "checkpoint.pt"
        train(network(), Stripes(), CONFIG, checkpoint=checkpoint)
        whole = checkpoint.read_bytes()
        with pytest.raises(RunError, match=r"another training configuration \(sigma differ\)"):
            train(network(), Stripes(), replace(CONFIG, sigma=0.2), checkpoint=checkpoint)
        with pytest.raises(RunError, match="36 examples, not 37"):
            train(network(), Stripes(37), CONFIG, checkpoint=checkpoint)
        with pytest.raises(RunError, match="another architecture"):
            train(Normalised(), Stripes(), CONFIG, checkpoint=checkpoint)
        assert checkpoint.read_bytes() == whole

    def test_a_full_disk_costs_what_came_after_the_last_checkpoint(self, tmp_path, monkeypatch):
        checkpoint, whole = tmp_path / "checkpoint.pt", network()
        expected = train(whole, Stripes(), CONFIG)

        def fill_up(metrics):
            monkeypatch.setattr(os, "fsync", full)

        def full(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(RunError, match=r"No space left .* checkpoint before it is kept"):
            train(network(), Stripes(), CONFIG, checkpoint=checkpoint, on_epoch=fill_up)
        monkeypatch.undo()
        resumed, done = network(), []
        history = train(resumed, Stripes(), CONFIG, checkpoint=checkpoint, on_batch=done.append)
        assert done == SIZES * 3
        assert history == expected
        assert same(weights(resumed), weights(whole))

    def test_a_first_checkpoint_that_cannot_be_written_promises_none_before_it(self, tmp_path):
        with pytest.raises(RunError, match="cannot write") as caught:
            train(network(), Stripes(), CONFIG, checkpoint=tmp_path / "nowhere" / "checkpoint.pt")
        assert "before it" not in str(caught.value)

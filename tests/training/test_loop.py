import pytest
import torch
from torch import nn

from classifiers import Normalised
from ddrs.errors import ConfigurationError, RunError
from ddrs.noise import Gaussian
from ddrs.training import EpochMetrics, TrainingConfig, train

CONFIG = TrainingConfig(sigma=0.1, epochs=4, batch_size=8, lr=0.05, seed=3)


class Stripes:
    """Small images whose class is the stripe that is bright."""

    def __init__(self, count=36):
        self.x = 0.1 * torch.randn(count, 1, 3, 3, generator=torch.Generator().manual_seed(0))
        self.y = [index % 3 for index in range(count)]
        for index, label in enumerate(self.y):
            self.x[index, 0, label] += 1

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 16), nn.BatchNorm1d(16), nn.ReLU(),
                         nn.Dropout(0.2), nn.Linear(16, 3))  # fmt: skip


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_it_learns():
    model = network()
    history = train(model, Stripes(120), TrainingConfig(sigma=0.1, epochs=8, batch_size=16))
    assert [metrics.epoch for metrics in history] == list(range(8))
    assert history[-1].loss < 0.3 < history[0].loss
    assert history[-1].noisy_accuracy > 0.9
    assert not any(module.training for module in model.modules())


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    results = []
    for seed, disturbance in ((3, 1), (3, 2), (4, 1)):
        model = network()
        torch.manual_seed(disturbance)  # the caller's own use of torch's generator
        config = TrainingConfig(sigma=0.1, epochs=2, batch_size=8, lr=0.05, seed=seed)
        train(model, Stripes(), config)
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


class Killed(Exception):
    pass


@pytest.mark.parametrize("batches", [1, 5, 6, 9, 12])
def test_a_killed_run_resumes_to_the_very_same_weights(tmp_path, batches):
    whole = network()
    expected = train(whole, Stripes(), CONFIG)

    checkpoint = tmp_path / "checkpoint.pt"
    left = iter(range(batches))

    def kill(examples):
        if next(left, None) is None:
            raise Killed

    with pytest.raises(Killed):
        train(network(), Stripes(), CONFIG, checkpoint=checkpoint, on_batch=kill)
    torch.manual_seed(99)
    resumed = nn.Sequential(*network())  # fresh weights, to be replaced by the checkpoint's
    nn.init.zeros_(resumed[1].weight)
    told = []
    if not checkpoint.exists():  # killed before the first epoch was over: start again
        resumed = network()
    history = train(resumed, Stripes(), CONFIG, checkpoint=checkpoint, on_epoch=told.append)
    assert same(weights(resumed), weights(whole))
    assert history == expected
    assert [metrics.epoch for metrics in told] == list(range(max(0, batches // 4 - 1), 4))
    again = network()
    assert train(again, Stripes(), CONFIG, checkpoint=checkpoint) == expected  # nothing to do
    assert same(weights(again), weights(whole))


def test_a_kill_right_after_an_epoch_loses_nothing(tmp_path):
    checkpoint, whole = tmp_path / "checkpoint.pt", network()
    train(whole, Stripes(), CONFIG)

    def kill(metrics):
        if metrics.epoch == 1:
            raise Killed

    with pytest.raises(Killed):
        train(network(), Stripes(), CONFIG, checkpoint=checkpoint, on_epoch=kill)
    batches, resumed = [], network()
    train(resumed, Stripes(), CONFIG, checkpoint=checkpoint, on_batch=batches.append)
    assert batches == [8] * 8  # two epochs of four batches; four of the 36 examples wait each time
    assert same(weights(resumed), weights(whole))


def test_a_truncated_checkpoint_is_one_error_and_is_kept(tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    train(network(), Stripes(), CONFIG, checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    for size in (0, 10, len(whole) // 2):
        checkpoint.write_bytes(whole[:size])
        with pytest.raises(RunError, match="delete it to start over"):
            train(network(), Stripes(), CONFIG, checkpoint=checkpoint)
        assert checkpoint.read_bytes() == whole[:size]


def test_a_checkpoint_of_another_configuration_or_model_is_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    train(network(), Stripes(), CONFIG, checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    other = TrainingConfig(sigma=0.2, epochs=4, batch_size=8, lr=0.05, seed=3)
    with pytest.raises(RunError, match="another training configuration"):
        train(network(), Stripes(), other, checkpoint=checkpoint)
    with pytest.raises(RunError, match="cannot resume"):
        train(Normalised(), Stripes(), CONFIG, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == whole


def test_a_checkpoint_that_cannot_be_written_is_one_error(tmp_path):
    with pytest.raises(RunError, match="cannot write"):
        train(network(), Stripes(), CONFIG, checkpoint=tmp_path / "nowhere" / "checkpoint.pt")


def test_a_loss_that_is_not_finite_stops_before_the_checkpoint(tmp_path):
    checkpoint, examples = tmp_path / "checkpoint.pt", Stripes()
    examples.x[:] = float("nan")
    with pytest.raises(RunError, match="loss became nan in epoch 0"):
        train(network(), examples, CONFIG, checkpoint=checkpoint)
    assert not checkpoint.exists()


def test_the_noise_and_the_order_are_independent_and_as_configured(monkeypatch):
    seen = []

    def objective(model, x, y, sigma, noise, generator):
        seen.append((x.clone(), sigma.clone(), generator.get_state()))
        return model(x).sum() * 0, model(x)

    objective.at_epoch = lambda epoch: objective
    monkeypatch.setitem(train.__globals__["OBJECTIVES"], "gaussian", lambda: objective)
    examples = Stripes()
    train(network(), examples, CONFIG)
    assert len(seen) == 16
    assert all(torch.equal(sigma, torch.full((8,), 0.1)) for _, sigma, _ in seen)
    epochs = [torch.cat([x for x, _, _ in seen[at : at + 4]]) for at in (0, 4, 8, 12)]
    assert not torch.equal(epochs[0], epochs[1])
    for epoch in epochs:  # every example at most once an epoch
        assert len(torch.unique(epoch.flatten(1), dim=0)) == 32
    # The noise's generator does not repeat the bits that shuffled the examples.
    fresh = torch.Generator()
    fresh.set_state(seen[0][2])
    order = torch.randperm(36, generator=fresh)[:32]
    assert not torch.equal(examples.x[order], epochs[0])
    assert Gaussian().sample_like(examples.x, fresh).std() > 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"method": "magic"},
        {"noise": "laplace"},
        {"sigma": -0.1},
        {"sigma": float("nan")},
        {"sigma": float("inf")},
        {"epochs": 0},
        {"batch_size": 1},
        {"lr": 0.0},
    ],
)
def test_a_configuration_that_can_never_work_is_refused(options):
    with pytest.raises(ConfigurationError):
        TrainingConfig(**options)


def test_more_than_one_batch_of_examples_is_needed():
    with pytest.raises(ConfigurationError, match="7 training examples"):
        train(network(), Stripes(7), CONFIG)


def test_records_compare_without_their_seconds():
    assert EpochMetrics(0, 1.0, 0.5, 3.0) == EpochMetrics(0, 1.0, 0.5, 4.0)

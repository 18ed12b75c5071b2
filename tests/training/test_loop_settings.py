"""What the configuration says reaches the steps."""

from dataclasses import dataclass, replace

import pytest
import torch

from ddrs.training.config import TrainingConfig
from ddrs.training.loop import Trainer, train
from ddrs.training.workers import Workers
from support.toy_training import Stripes, network, weights

CONFIG = TrainingConfig(sigma=0.1, epochs=3, batch_size=18, lr=0.05, seed=3)


@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
def test_each_epoch_has_its_objective_and_every_step_the_noise(monkeypatch, noise):
    steps = []

    @dataclass(frozen=True)
    class Noting:
        epoch: int = -1
        passes = 1.0

        def __call__(self, model, x, y, sigma, noise, generator):
            steps.append((self.epoch, noise.name))
            scores = model(x)
            return scores.sum(), scores

        def at_epoch(self, epoch):
            return replace(self, epoch=epoch)

    monkeypatch.setattr("ddrs.training.config.objective_class", lambda method: Noting)
    train(network(), Stripes(), replace(CONFIG, noise=noise))
    assert steps == [(epoch, noise) for epoch in range(3) for _ in range(2)]


def test_bfloat16_is_another_training_and_a_near_one():
    models = {precision: network() for precision in ("fp32", "bf16")}
    for precision, model in models.items():
        train(model, Stripes(), replace(CONFIG, precision=precision))
    single, half = (weights(model)["1.weight"] for model in models.values())
    assert not torch.equal(single, half)
    assert torch.allclose(single, half, rtol=0, atol=0.02)


def test_the_learning_rate_falls_by_gamma_after_each_milestone():
    config = replace(CONFIG, schedule="step", milestones=(1, 2), gamma=0.3)
    trainer = Trainer(network(), Stripes(), config, Workers())
    rates = []
    trainer.run(
        None,
        0.0,
        lambda examples: rates.append(trainer.state.schedule.get_last_lr()[0]),
        lambda metrics: None,
    )
    expected = [0.05, 0.015, 0.015, 0.0045, 0.0045, 0.0045]  # after each step; the next one's
    assert rates == pytest.approx(expected)

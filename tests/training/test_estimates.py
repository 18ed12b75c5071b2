from dataclasses import replace

import pytest

from ddrs.errors import ConfigurationError
from ddrs.training.config import TrainingConfig
from ddrs.training.estimates import estimate_time
from ddrs.training.loop import Trainer
from ddrs.training.sigmas import DataDependent
from support.toy_training import Stripes, network, same, weights

CONFIG = TrainingConfig(sigma=0.1, epochs=4, batch_size=8, lr=0.05, seed=3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes in steps alone: 2 s for each, 6 s where scales change, 3 s for validating."""
    now = [0.0]
    step, validate = Trainer.step, Trainer.validate

    def timed_step(self, objective, batch, checkpoint):
        now[0] += 6.0 if self.config.adapts(self.state.progress.epoch) else 2.0
        step(self, objective, batch, checkpoint)

    def timed_validate(self, ids):
        now[0] += 3.0 if len(ids) else 0.0
        return validate(self, ids)

    monkeypatch.setattr(Trainer, "step", timed_step)
    monkeypatch.setattr(Trainer, "validate", timed_validate)
    monkeypatch.setattr("ddrs.training.estimates.time.perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize("seconds", [0.0, 5.0, 1e6])
def test_the_time_is_that_of_the_steps_of_all_epochs(clock, seconds):
    found = estimate_time(network(), Stripes(40), CONFIG, seconds=seconds)  # 5 steps an epoch
    assert found.seconds == 4 * 5 * 2
    assert found.rates == [(4, 4.0)]


def test_epochs_in_which_scales_change_and_validation_count(clock):
    config = replace(CONFIG, data_dependent=DataDependent(warmup=1), validation=8)
    found = estimate_time(network(), Stripes(48), config, seconds=100)
    assert found.rates == [(1, 4.0), (3, 8 / 6)]
    assert found.seconds == pytest.approx(5 * 2 + 3 * 5 * 6 + 4 * 3)


def test_a_learning_rate_that_breaks_the_weights_is_for_the_training_to_find(clock):
    assert (
        estimate_time(network(), Stripes(40), replace(CONFIG, lr=1e38), seconds=1e6).seconds == 40
    )


def test_a_validation_set_is_timed_in_part(clock):
    found = estimate_time(network(), Stripes(2056), replace(CONFIG, validation=2048), seconds=1)
    assert found.seconds == pytest.approx(4 * 2 + 4 * 3 * 4)


def test_a_step_an_epoch_is_enough_and_the_model_stays_as_it_was(clock):
    config = replace(CONFIG, epochs=1, batch_size=40, schedule="one-cycle")
    model = network()
    before = weights(model)
    assert estimate_time(model, Stripes(40), config).seconds == 2
    assert same(weights(model), before)


def test_what_cannot_be_trained_is_refused(clock):
    with pytest.raises(ConfigurationError, match="leaves none"):
        estimate_time(network(), Stripes(40), replace(CONFIG, validation=40))

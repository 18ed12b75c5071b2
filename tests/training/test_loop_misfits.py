import json
import math
from dataclasses import replace

import pytest
import torch

from ddrs.errors import ConfigurationError, DataError, ModelError, RunError
from ddrs.noise.keys import keyed_generator
from ddrs.training.config import TrainingConfig
from ddrs.training.loop import train
from support.toy_training import Stripes, network, same, weights

CONFIG = TrainingConfig(sigma=0.1, epochs=4, batch_size=8, lr=0.05, seed=3)


def last_of_the_first_epoch():
    return torch.randperm(36, generator=keyed_generator(3, "order", 0))[-1]


class TestLossThatIsNotFinite:
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_it_stops_at_once_and_names_the_examples(self, tmp_path, value):
        checkpoint, done = tmp_path / "checkpoint.pt", []
        examples = Stripes()
        examples.x[17] = value
        with pytest.raises(RunError, match=r"loss became nan in epoch 0, step \d.*not_finite.json"):
            train(
                network(), examples, CONFIG, checkpoint=checkpoint, save_seconds=0.0,
                on_batch=done.append,
            )  # fmt: skip
        record = json.loads((tmp_path / "not_finite.json").read_text())
        assert 17 in record["ids"]
        assert len(record["ids"]) == 8
        assert (record["epoch"], record["step"], record["loss"]) == (0, len(done), "nan")
        if done:  # the checkpoint is that of the step before
            state = torch.load(checkpoint)
            assert state["progress"]["steps"] == len(done)
            assert all(value.isfinite().all() for value in state["model"].values())

    def test_the_checkpoint_before_goes_on_once_the_data_is_right(self, tmp_path):
        checkpoint, whole = tmp_path / "checkpoint.pt", network()
        expected = train(whole, Stripes(), CONFIG)
        spoilt = Stripes()
        spoilt.x[last_of_the_first_epoch()] = math.nan
        with pytest.raises(RunError, match="epoch 0, step 4"):
            train(network(), spoilt, CONFIG, checkpoint=checkpoint, save_seconds=0.0)
        resumed = network()
        assert train(resumed, Stripes(), CONFIG, checkpoint=checkpoint) == expected
        assert same(weights(resumed), weights(whole))

    def test_without_a_checkpoint_it_is_an_error_all_the_same(self):
        examples = Stripes()
        examples.x[:] = math.nan
        with pytest.raises(RunError, match="nan in epoch 0, step 0; try a smaller lr"):
            train(network(), examples, CONFIG)


def test_weights_that_broke_in_the_last_step_are_no_result(tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    config = replace(CONFIG, epochs=1, batch_size=36, lr=1e38, schedule="cosine")
    with pytest.raises(RunError, match=r"the weights became infinite or NaN in epoch 0, step 0"):
        train(network(), Stripes(), config, checkpoint=checkpoint)
    assert not checkpoint.exists()
    assert len(json.loads((tmp_path / "not_finite.json").read_text())["ids"]) == 36


def test_data_and_models_that_do_not_fit_are_one_error():
    examples = Stripes()
    examples.y[30] = 3
    model = network()
    before = weights(model)
    with pytest.raises(DataError, match=r"example 30 has the label 3 .* are 0 to 2"):
        train(model, examples, CONFIG)
    with pytest.raises(DataError, match="needs labels"):
        train(model, Stripes().x, CONFIG)
    with pytest.raises(ModelError, match="failed on inputs of shape"):
        train(model, Stripes(side=4), CONFIG)
    with pytest.raises(ConfigurationError, match="1 training examples are too few"):
        train(model, Stripes(1), CONFIG)
    with pytest.raises(ConfigurationError, match="leaves none"):
        train(model, Stripes(5), replace(CONFIG, validation=5))
    assert same(weights(model), before)

import json
from dataclasses import replace

import pytest

from ddrs.errors import ConfigurationError, DataError, ModelError, RunError
from ddrs.training import TrainingConfig, train
from training.toy import Stripes, network, same, weights

CONFIG = TrainingConfig(sigma=0.1, epochs=4, batch_size=8, lr=0.05, seed=3)


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

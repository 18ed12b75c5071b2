from dataclasses import replace

import pytest

from ddrs.errors import ConfigurationError, DataError, ModelError
from ddrs.training import TrainingConfig, train
from training.toy import Stripes, network, same, weights

CONFIG = TrainingConfig(sigma=0.1, epochs=4, batch_size=8, lr=0.05, seed=3)


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

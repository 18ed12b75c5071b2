from pathlib import Path

import pytest
from safetensors.torch import save_file

from ddrs import models
from ddrs.errors import ConfigurationError, WeightsError
from support.networks import assert_same, trained


def test_an_architecture_by_name(tmp_path: Path) -> None:
    save_file(trained(10).state_dict(), tmp_path / "ten.safetensors")
    save_file(trained(4).state_dict(), tmp_path / "four.safetensors")
    ten = models.load("digits-cnn", tmp_path / "ten.safetensors")
    four = models.load("digits-cnn", tmp_path / "four.safetensors", num_classes=3)
    assert_same(ten.module, trained(10))
    assert_same(four.module, trained(4))
    assert (ten.num_classes, four.num_classes, four.sigma) == (10, 4, None)
    with pytest.raises(WeightsError, match=r"missing"):
        models.load("resnet20", tmp_path / "four.safetensors")
    with pytest.raises(ConfigurationError, match="give a weights file"):
        models.load("digits-cnn")

"""Weights as training scripts save them."""

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ddrs import models
from ddrs.errors import WeightsError
from support.networks import assert_same, trained

STATE = trained().state_dict()
OTHER = {key: torch.zeros_like(value) for key, value in STATE.items()}


def prefixed(*prefixes: str) -> dict[str, Any]:
    return {"".join([*prefixes, key]): value for key, value in STATE.items()}


SETTINGS = argparse.Namespace(lr=np.float64(0.1), sigma=np.float32(0.25), arch="net", out=None)
KINDS = {
    **{name: {name: STATE} for name in ("net", "model", "network", "model_state_dict", "params")},
    **{name: {"epoch": 1, name: STATE} for name in ("ema", "model_ema", "state_dict_ema")},
    "both": {"ema": OTHER, "model": STATE},
    "nested": {"model": {"state_dict": STATE, "step": 7}},
    "an optimizer first": {"optimizer": {"state": {0: torch.ones(2)}}, "state_dict": STATE},
    "ordered": {"state_dict": OrderedDict(STATE)},
    "scores": {"acc": np.float64(91.7), "best": np.array([0.5])[0], "net": STATE, "epoch": 3},
    "settings": {"args": SETTINGS, "state_dict": STATE},
    "DataParallel": prefixed("module."),
    "behind normalisation": prefixed("1.module."),  # of locuslab/smoothing
    "compiled": prefixed("_orig_mod."),
    "compiled and distributed": prefixed("module._orig_mod."),
    "lightning": {"state_dict": prefixed("model.")},
    "compiled inside": {
        key.replace("linear.", "linear._orig_mod."): value for key, value in STATE.items()
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_read(tmp_path: Path, kind: str) -> None:
    module = trained(seed=2)
    torch.save(KINDS[kind], tmp_path / "w.pth")
    models.load_weights(module, tmp_path / "w.pth")
    assert_same(module, trained())


def test_a_wrapped_module_takes_the_bare_weights(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pt")
    module = nn.Sequential(nn.Identity(), nn.DataParallel(trained(seed=2)))
    with pytest.raises(WeightsError, match="does not fit"):  # it is a part of the module only
        models.load_weights(module, tmp_path / "w.pt")
    models.load_weights(module[1], tmp_path / "w.pt")
    assert_same(module[1], trained())


def test_keys_that_coincide_without_their_wrapper_are_not_mixed_up(tmp_path: Path) -> None:
    mixed = dict(STATE) | {"module.linear.bias": STATE["linear.bias"]}
    torch.save(mixed, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"unexpected module\.linear\.bias$"):
        models.load_weights(trained(), tmp_path / "w.pt")


class Config:
    """A class of a training script."""


@pytest.mark.parametrize(
    "held", [Config(), nn.Linear(2, 2), np.array([1.0, 2.0])], ids=["object", "module", "array"]
)
def test_what_could_run_code_is_not_read(tmp_path: Path, held: Any) -> None:
    torch.save({"config": held, "state_dict": STATE}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"save module\.state_dict\(\) alone where it was made"):
        models.load_weights(trained(), tmp_path / "w.pt")

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ddrs import models
from ddrs.errors import WeightsError
from support.networks import assert_same, assert_unchanged, trained


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "w.bin"])
def test_weights_of_every_kind(tmp_path: Path, name: str) -> None:
    source, module = trained(), trained(seed=2)
    state = source.state_dict()
    state["features.1.num_batches_tracked"].fill_(7)
    save_file(state, tmp_path / name) if "safe" in name else torch.save(state, tmp_path / name)
    models.load_weights(module, tmp_path / name)
    assert_unchanged(module, state)
    assert_same(module.eval(), source)


def test_weights_of_training_scripts(tmp_path: Path) -> None:
    source, module = trained(), trained(seed=2)
    state = {f"module.{key}": value for key, value in source.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pt")
    models.load_weights(module, str(tmp_path / "w.pt"))
    assert_same(module.eval(), source)
    wrapped = nn.DataParallel(trained(seed=2)).eval()  # where the prefix belongs to the keys
    models.load_weights(wrapped, tmp_path / "w.pt")
    assert_same(wrapped, source)


def test_only_the_counters_of_batch_norm_may_be_missing(tmp_path: Path) -> None:
    source, module = trained(), trained(seed=2)
    state = {k: v for k, v in source.state_dict().items() if "num_batches" not in k}
    assert len(state) < len(source.state_dict())
    save_file(state, tmp_path / "w.safetensors")
    models.load_weights(module, tmp_path / "w.safetensors")
    assert_same(module.eval(), source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("linear.bias"),
            r"does not fit the model \(16 of 17 tensors do\): missing linear.bias$",
        ),
        (lambda s: s.pop("features.1.running_mean"), "missing features.1.running_mean$"),
        (lambda s: s.update(extra=torch.ones(1)), "unexpected extra$"),
        (
            lambda s: s.clear(),
            r"\(0 of 17 tensors do\): missing features.0.weight, .*, .* and \d+ more$",
        ),
        (
            lambda s: s.update({"linear.bias": torch.ones(7)}),
            r"wrong shape linear.bias \(7,\) for \(4,\)$",
        ),
        (
            lambda s: s.update({"fc.bias": s.pop("linear.bias")}),
            "missing linear.bias; unexpected fc.bias$",
        ),
    ],
)
def test_weights_that_do_not_fit_change_nothing(tmp_path: Path, change: Any, message: str) -> None:
    state, module = trained().state_dict(), trained(seed=2)
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    before = copy_of(module)
    with pytest.raises(WeightsError, match=message):
        models.load_weights(module, tmp_path / "w.safetensors")
    assert_unchanged(module, before)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("length", [0, 7, 500, -9])
def test_damaged_weights_change_nothing(tmp_path: Path, name: str, length: int) -> None:
    state, module, file = trained().state_dict(), trained(seed=2), tmp_path / name
    save_file(state, file) if "safe" in name else torch.save(state, file)
    file.write_bytes(file.read_bytes()[:length])
    before = copy_of(module)
    with pytest.raises(WeightsError, match=r"w\.(pt|safetensors) cannot be read"):
        models.load_weights(module, file)
    assert_unchanged(module, before)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil"),)


def test_weights_never_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"linear.bias": Evil()}, "w.pt")
    with pytest.raises(WeightsError, match=r"w\.pt cannot be read"):
        models.load_weights(trained(), "w.pt")
    assert not Path("evil").exists()


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file at .*absent\.pt: check the path"):
        models.load_weights(trained(), tmp_path / "absent.pt")
    with pytest.raises(WeightsError, match=r"no weights file at .*absent\.safetensors: check"):
        models.load_weights(trained(), tmp_path / "absent.safetensors")
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"weights are \.safetensors, \.pt, \.pth or \.bin"):
        models.load_weights(trained(), tmp_path / "w.h5")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({0: torch.ones(2)}, tmp_path / "numbers.pt")
    for name in ("list.pt", "numbers.pt"):
        with pytest.raises(WeightsError, match=rf"{name} holds no state dict"):
            models.load_weights(trained(), tmp_path / name)


class Anything:
    """What a pickle may hold."""


def test_advice_to_run_what_a_file_holds_is_not_passed_on(tmp_path: Path) -> None:
    torch.save({"a": Anything()}, tmp_path / "w.pt")
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    for name in ("w.pt", "script.pt"):
        with pytest.raises(WeightsError, match="cannot be read: it holds more than tensors") as e:
            models.load_weights(trained(), tmp_path / name)
        assert "weights_only" not in str(e.value)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsError, match="pipe, device or socket"):
        models.load_weights(trained(), tmp_path / name)

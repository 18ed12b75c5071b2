import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ddrs import models
from ddrs.errors import (
    ConfigurationError,
    MissingDependencyError,
    ModelError,
    RunError,
    WeightsError,
)
from ddrs.networks import architectures
from support.networks import assert_same, assert_unchanged, trained, write_run
from support.transformer import PROCESSOR, save, tiny_resnet, tiny_vit


def start(arch: str | None, init: Any, num_classes: int = 4, partial: bool = False) -> models.Start:
    """A start with the same random weights each time."""
    torch.manual_seed(5)
    found = None if init is None else str(init)
    return models.start(arch, found, num_classes=num_classes, partial=partial)


def fresh(arch: str, num_classes: int) -> dict[str, Tensor]:
    torch.manual_seed(5)
    return architectures.build(arch, num_classes).state_dict()


def write(path: Path, module: nn.Module) -> Path:
    save_file(module.state_dict(), path)
    return path


def test_without_weights_the_start_is_random() -> None:
    made = start("digits-cnn", None)
    assert_unchanged(made.module, fresh("digits-cnn", 4))
    assert (made.arch, made.report) == ("digits-cnn", "")


@pytest.mark.parametrize("arch", [None, "hf"])
@pytest.mark.parametrize("init", [None, "w.safetensors"])
def test_a_network_must_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str | None, init: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("w.safetensors"), trained())
    with pytest.raises(
        ConfigurationError, match=r"Give --arch, one of digits-cnn, resnet20, .*hf:"
    ):
        start(arch, init)


@pytest.mark.parametrize("arch", ["mlp", ""])
def test_an_unknown_architecture(arch: str) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown architecture .*: use one of digits-cnn"):
        start(arch, None)


def test_a_weights_file(tmp_path: Path) -> None:
    file = write(tmp_path / "w.safetensors", trained())
    made = start("digits-cnn", file)
    assert_same(made.module.eval(), trained())
    assert (made.arch, made.report) == ("digits-cnn", f"17 of 17 tensors from {file}")
    assert start("digits-cnn", file, partial=True).report == made.report
    wrapped = {f"module.{key}": value for key, value in trained().state_dict().items()}
    torch.save({"state_dict": wrapped}, tmp_path / "w.pt")
    made = start("digits-cnn", tmp_path / "w.pt", partial=True)
    assert_same(made.module.eval(), trained())
    assert made.report == f"17 of 17 tensors from {tmp_path / 'w.pt'}"


def test_a_file_for_other_classes_fills_the_rest(tmp_path: Path) -> None:
    file = write(tmp_path / "w.safetensors", architectures.resnet20(100))
    with pytest.raises(WeightsError) as caught:
        start("resnet20", file, 10)
    assert str(caught.value) == (
        f"{file} does not fit the model (95 of 97 tensors do): wrong shape "
        "linear.weight (100, 64) for (10, 64), linear.bias (100,) for (10,); "
        "--partial-init starts with what fits"
    )
    made = start("resnet20", file, 10, partial=True)
    assert made.report == (
        f"95 of 97 tensors from {file}\n"
        "at random: linear.weight (100, 64) for (10, 64), linear.bias (100,) for (10,)"
    )
    random, given = fresh("resnet20", 10), load_file(file)
    expected = {key: random[key] if "linear" in key else given[key] for key in random}
    assert_unchanged(made.module, expected)


def test_every_kind_of_fault_is_reported(tmp_path: Path) -> None:
    state = trained().state_dict()
    state["head.bias"] = state.pop("linear.bias")
    state["linear.weight"] = state["linear.weight"][:, :40].contiguous()
    state["ema"] = torch.ones(1)
    save_file(state, tmp_path / "w.safetensors")
    message = (
        r"\(15 of 17 tensors do\): missing linear.bias; unexpected ema, head.bias; "
        r"wrong shape linear.weight \(4, 40\) for \(4, 48\); --partial-init starts with what fits$"
    )
    with pytest.raises(WeightsError, match=message):
        start("digits-cnn", tmp_path / "w.safetensors")
    made = start("digits-cnn", tmp_path / "w.safetensors", partial=True)
    assert made.report.splitlines()[1:] == [
        "at random: linear.bias, linear.weight (4, 40) for (4, 48)",
        "not used: ema, head.bias",
    ]
    random = fresh("digits-cnn", 4)
    expected = state | {key: random[key] for key in ("linear.bias", "linear.weight")}
    del expected["ema"], expected["head.bias"]
    assert_unchanged(made.module, expected)


@pytest.mark.parametrize("count", [12, 13, 40])
def test_a_long_report_is_cut_and_says_so(tmp_path: Path, count: int) -> None:
    extra = {f"decoder.layers.{i:02}.weight": torch.ones(1) for i in range(count)}
    save_file(trained().state_dict() | extra, tmp_path / "w.safetensors")
    lines = start("digits-cnn", tmp_path / "w.safetensors", partial=True).report.splitlines()[1:]
    assert len(lines) > 1
    assert max(map(len, lines)) <= 100
    rest = f" and {count - 12} more" if count > 12 else ""
    listed = ", ".join(list(extra)[:12])
    assert " ".join(line.strip() for line in lines) == f"not used: {listed}{rest}"


def test_a_report_keeps_shapes_on_one_line(tmp_path: Path) -> None:
    state = trained().state_dict()
    wrong = {key: value[None] for key, value in state.items() if key != "linear.bias"}
    save_file(state | wrong, tmp_path / "w.safetensors")
    first, *lines = start("digits-cnn", tmp_path / "w.safetensors", partial=True).report.split("\n")
    assert first.startswith("1 of 17 tensors")
    assert lines[0].startswith("at random: features.0.weight (1, 16, 1, 3, 3) for (16, 1, 3, 3),")
    assert len(lines) > 4
    assert all(line.endswith("),") for line in lines[:-1])
    assert lines[-1].endswith(" and 4 more")


@pytest.mark.parametrize("partial", [False, True])
def test_weights_of_which_nothing_fits(tmp_path: Path, partial: bool) -> None:
    save_file({"a": torch.ones(2), "linear.bias": torch.ones(9)}, tmp_path / "w.safetensors")
    message = r"\(0 of 17 tensors do\): .*unexpected a; .*; check that it is of this architecture$"
    with pytest.raises(WeightsError, match=message) as caught:
        start("digits-cnn", tmp_path / "w.safetensors", partial=partial)
    assert "--partial-init" not in str(caught.value)


def test_the_counters_of_batch_norm_are_no_fault_and_no_success(tmp_path: Path) -> None:
    state = trained().state_dict()
    counters = {key: value for key, value in state.items() if key.endswith("num_batches_tracked")}
    assert len(counters) == 3
    save_file({k: v for k, v in state.items() if k not in counters}, tmp_path / "w.safetensors")
    assert start("digits-cnn", tmp_path / "w.safetensors").report.startswith("17 of 17 tensors")
    save_file(counters, tmp_path / "c.safetensors")
    with pytest.raises(WeightsError, match="0 of 17 tensors"):
        start("digits-cnn", tmp_path / "c.safetensors", partial=True)
    save_file(state | {"old.num_batches_tracked": torch.tensor(3)}, tmp_path / "o.safetensors")
    report = start("digits-cnn", tmp_path / "o.safetensors").report
    assert report == f"17 of 17 tensors from {tmp_path / 'o.safetensors'}"


@pytest.mark.parametrize("partial", [False, True])
def test_a_file_that_cannot_be_read(tmp_path: Path, partial: bool) -> None:
    file = write(tmp_path / "w.safetensors", trained())
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(WeightsError, match=r"w\.safetensors cannot be read"):
        start("digits-cnn", file, partial=partial)
    with pytest.raises(WeightsError, match=r"no weights file at .*absent\.pt: check the path"):
        start("digits-cnn", tmp_path / "absent.pt", partial=partial)


@pytest.mark.parametrize("init", ["", "hf:", "timm:resnet18", "no/such/run", "w.h5"])
def test_what_is_no_start(init: str) -> None:
    message = r"give a weights file \(\.safetensors, .*\), a directory made by ddrs train, or hf:"
    with pytest.raises(ConfigurationError, match=message):
        start("digits-cnn", init)


@pytest.mark.parametrize("arch", [None, "digits-cnn"])
def test_a_training_run(tmp_path: Path, arch: str | None) -> None:
    run = write_run(tmp_path / "run")
    made = start(arch, run)
    assert_same(made.module.eval(), trained())
    assert (made.arch, made.report) == ("digits-cnn", f"17 of 17 tensors from {run}")


def test_a_training_run_for_other_classes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with pytest.raises(
        WeightsError, match=r"run does not fit .*linear.bias \(4,\) for \(7,\); --p"
    ):
        start(None, run, 7)
    made = start(None, run, 7, partial=True)
    assert made.report.startswith(f"15 of 17 tensors from {run}\nat random: linear.weight (4, 48)")
    assert made.module.linear.bias.shape == (7,)


def test_runs_that_are_no_start(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with pytest.raises(ConfigurationError, match="run is of architecture digits-cnn, not resnet20"):
        start("resnet20", run)
    with pytest.raises(RunError, match=r"has no config\.json: give a directory of ddrs train"):
        start(None, tmp_path)
    (run / "weights.safetensors").unlink()
    with pytest.raises(WeightsError, match="no weights file"):
        start(None, run)


@pytest.mark.parametrize("arch", [None, "hf"])
@pytest.mark.parametrize("make", [tiny_vit, tiny_resnet])
def test_a_transformers_network(tmp_path: Path, make: Any, arch: str | None) -> None:
    model = make()
    spec = save(model, tmp_path / "m", PROCESSOR)
    made = start(arch, spec, model.config.num_labels)
    assert_same(made.module.eval(), models.load(spec).module, (3, 8, 8))
    counters = sum(key.endswith("num_batches_tracked") for key in model.state_dict())
    total = len(model.state_dict()) - counters
    assert (made.arch, made.report) == ("hf", f"{total} of {total} tensors from {spec}")


def test_a_transformers_network_for_other_classes(tmp_path: Path) -> None:
    model = tiny_vit()
    spec = save(model, tmp_path / "m", PROCESSOR)
    faults = "classifier.weight (5, 16) for (7, 16), classifier.bias (5,) for (7,)"
    with pytest.raises(WeightsError) as caught:
        start(None, spec, 7)
    assert str(caught.value) == (
        f"{spec} does not fit the model (22 of 24 tensors do): wrong shape {faults}; "
        "--partial-init starts with what fits"
    )
    made = start(None, spec, 7, partial=True)
    assert made.report == f"22 of 24 tensors from {spec}\nat random: {faults}"
    state = made.module.state_dict()
    assert state["model.classifier.weight"].shape == (7, 16)
    assert state["model.classifier.weight"].std() > 0.1  # the network's own random start
    kept = {f"model.{key}": value for key, value in model.vit.state_dict(prefix="vit.").items()}
    assert len(kept) == 22
    assert all(torch.equal(state[key], value) for key, value in kept.items())
    assert_unchanged(start(None, spec, 7, partial=True).module, state)  # the seed decides it
    assert made.module(torch.rand(2, 3, 8, 8)).shape == (2, 7)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What `transformers` writes to its log."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_warning()
    handler, written = logging.Handler(), []
    handler.emit = lambda record: written.append(record.getMessage())
    transformers.logging.add_handler(handler)
    yield written
    transformers.logging.remove_handler(handler)
    transformers.logging.set_verbosity(before)


def test_transformers_does_not_repeat_the_report(tmp_path: Path, warnings: list[str]) -> None:
    spec = save(tiny_vit(), tmp_path / "m", PROCESSOR)
    start(None, spec, 7, partial=True)
    assert not warnings
    assert transformers.logging.get_verbosity() == transformers.logging.WARNING
    transformers.AutoModelForImageClassification.from_pretrained(
        tmp_path / "m", num_labels=7, ignore_mismatched_sizes=True
    )
    assert "classifier.weight" in " ".join(warnings)  # as it would have been


def test_a_transformers_checkpoint_without_a_head(tmp_path: Path) -> None:
    tiny_vit().vit.save_pretrained(tmp_path / "m")
    with pytest.raises(WeightsError, match=r"missing classifier\.weight, classifier\.bias; --par"):
        start(None, f"hf:{tmp_path}/m")
    made = start(None, f"hf:{tmp_path}/m", partial=True)
    assert made.report == (
        f"22 of 24 tensors from hf:{tmp_path}/m\nat random: classifier.weight, classifier.bias"
    )


def test_a_transformers_checkpoint_with_weights_of_another_network(tmp_path: Path) -> None:
    spec = save(tiny_vit(), tmp_path / "m", PROCESSOR)
    file = tmp_path / "m" / "model.safetensors"
    state = load_file(file)
    save_file(state | {"decoder.bias": torch.ones(3)}, file, {"format": "pt"})
    with pytest.raises(
        WeightsError, match=r"\(24 of 24 tensors do\): unexpected decoder\.bias; --"
    ):
        start(None, spec, 5)
    made = start(None, spec, 5, partial=True)
    assert made.report == f"24 of 24 tensors from {spec}\nnot used: decoder.bias"
    save_file({f"net.{key}.x": value for key, value in state.items()}, file, {"format": "pt"})
    with pytest.raises(
        WeightsError, match=r"\(0 of 24 tensors do\).*check that it is of this arch"
    ):
        start(None, spec, 5, partial=True)


def test_transformers_networks_that_are_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = save(tiny_vit(), tmp_path / "m", PROCESSOR)
    with pytest.raises(ConfigurationError, match="m is of architecture hf, not resnet20"):
        start("resnet20", spec, 5)
    file = tmp_path / "m" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="m cannot be loaded: "):
        start(None, spec, 5, partial=True)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'ddrs\[hf\]'"):
        start(None, spec, 5)


def test_a_training_run_of_a_transformers_network(tmp_path: Path) -> None:
    first = start(None, save(tiny_vit(), tmp_path / "m", PROCESSOR), 5)
    with torch.no_grad():
        first.module.model.classifier.bias.add_(1)
    run = write_run(tmp_path / "run", first.module, arch="hf", num_classes=5)
    models.save_architecture(first.module, run / "architecture")
    second = start(None, run, 5)
    assert (second.arch, second.report) == ("hf", f"24 of 24 tensors from {run}")
    assert_same(second.module.eval(), first.module.eval(), (3, 8, 8))
    third = start("hf", run, 2, partial=True)
    assert third.report.startswith(f"22 of 24 tensors from {run}\nat random: model.classifier.wei")
    assert third.module(torch.rand(2, 3, 8, 8)).shape == (2, 2)
    with pytest.raises(ConfigurationError, match="run is of architecture hf, not resnet20"):
        start("resnet20", run, 5)

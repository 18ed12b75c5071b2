import json
from pathlib import Path

import pytest

from support.terminal import run

DIGITS = ["train", "--data", "digits", "--sigma", "0.3"]


def test_every_option_reaches_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = [*DIGITS, "--method", "smoothadv", "--option", "attack=ddn", "--option", "steps=3"]
    words += ["--data-dependent", "--sigma-warmup", "1", "--sigma-steps", "2", "--sigma-lr", "0.1"]
    words += ["--sigma-draws", "3", "--sigma-low", "0.2", "--sigma-high", "0.7", "--epochs", "2"]
    words += ["--batch-size", "512", "--lr", "0.02", "--schedule", "step", "--milestones", "1"]
    words += ["--gamma", "0.5", "--weight-decay", "0.001", "--augment", "--validation", "0.1"]
    code, shown, _ = run(capsys, *words, "--seed", "7", "--out", str(out))
    assert code == 0
    assert shown.startswith(f"{out}: 2 epochs in")
    assert "held out" in shown
    config = json.loads((out / "config.json").read_text())
    assert {name: config[name] for name in EXPECTED} == EXPECTED


EXPECTED = {
    "data": "digits",
    "arch": "digits-cnn",
    "method": "smoothadv",
    "options": {"attack": "ddn", "steps": 3},
    "sigma": 0.3,
    "data_dependent": {
        "warmup": 1, "steps": 2, "lr": 0.1, "n": 3, "low": 0.2, "high": 0.7
    },
    "epochs": 2,
    "batch_size": 512,
    "lr": 0.02,
    "schedule": "step",
    "milestones": [1],
    "gamma": 0.5,
    "weight_decay": 0.001,
    "augment": True,
    "validation": 0.1,
    "precision": "fp32",
    "seed": 7,
}  # fmt: skip


def test_what_is_given_overrides_the_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = [*DIGITS, "--method", "smoothadv", "--preset", "cifar10", "--option", "steps=1"]
    words += ["--epochs", "2", "--no-augment", "--sigma-range", "0.2,0.6",
              "--out", str(out)]  # fmt: skip
    assert run(capsys, *words)[0] == 0
    config = json.loads((out / "config.json").read_text())
    assert config["sigma_range"] == [0.2, 0.6]
    published = {"attack": "pgd", "epsilon": 0.25, "m": 1, "warmup": 10, "relative": False}
    assert config["options"] == {**published, "steps": 1}
    assert (config["epochs"], config["batch_size"], config["augment"]) == (2, 256, False)
    assert config["milestones"] == [1]


def test_a_dry_run_says_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    code, shown, _ = run(capsys, *DIGITS, "--data-dependent", "--epochs", "4", "--dry-run", "--out",
                         str(out))  # fmt: skip
    assert code == 0
    assert "1 epoch at" in shown
    assert "then 3 epochs at" in shown
    assert not out.exists()


def test_sigma_is_not_chosen_by_saying_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "train", "--data", "digits", "--out", "out")
    assert code == 2
    assert "--sigma" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--sigma", "-1"], 2, "sigma"),
        (["--seed", "-1"], 2, "seed must be"),
        (["--seed", "18446744073709551616"], 2, "--seed takes no number as large"),
        (["--method", "magic"], 2, "magic"),
        (["--data", "npz:gone.npz"], 1, "gone"),
        (["--arch", "magic"], 2, "magic"),
        (["--init", "gone.safetensors", "--arch", "digits-cnn"], 1, "gone.safetensors"),
        (["--partial-init"], 2, "--init"),
        (["--preset", "mnist", "--method", "macer"], 2, "no preset mnist for macer"),
        (["--option", "k"], 2, "NAME=VALUE"),
        (["--option", "k=3"], 2, "options of gaussian"),
        (["--method", "macer", "--option", "k=many"], 2, "options of macer"),
        (["--sigma-lr", "0.1"], 2, "--sigma-lr is an option of --data-dependent: add"),
        (["--sigma-low", "0.1", "--sigma-range", "0.1,1"], 2, "add --data-dependent"),
        (["--data-dependent", "--sigma-low", "0.4"], 2, "low"),
        (["--data-dependent", "--epochs", "2", "--sigma-warmup", "2"], 2, "warm-up"),
        (["--data-dependent", "--sigma-range", "0.1,1"], 2, "give one"),
        (["--sigma-range", "0.1"], 2, "two numbers"),
        (["--schedule", "step"], 2, "milestones"),
        (["--schedule", "step", "--milestones", "1.5"], 2, "whole numbers"),
        (["--schedule", "step", "--milestones", "1;2"], 2, "--milestones takes"),
        (["--validation", "5000"], 2, "leaves none"),
    ],
)
def test_wrong_usage_and_failures_are_one_clear_message(
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = zip(DIGITS[1::2], DIGITS[2::2], strict=True)
    others = [word for pair in pairs if pair[0] not in words for word in pair]
    found, _, err = run(capsys, "train", *others, "--out", str(tmp_path / "out"), *words)
    assert message in err
    assert found == code
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_dataset_that_is_not_digits_needs_an_architecture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from support import toy

    monkeypatch.chdir(tmp_path)
    data = toy.write_inputs(tmp_path / "data.npz")
    code, _, err = run(capsys, "train", "--data", data, "--sigma", "1", "--out", "out")
    assert code == 2
    assert "arch" in err

"""The sections of the stream and of the attack, from made-up results."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs import ABSTAIN
from ddrs.errors import RunError
from ddrs.finished.orders import OrderStudy, Range
from experiments.cifar10.report import probed

CONFIG = {"model": "runs/models/one", "kind": "certify", "n": 90, "n0": 9, "alpha": 0.01, "seed": 5}
OPTIONS = {"distance": 0.5}
# kind; outcome; what its own votes certify; what the memory answers
STREAM = [
    ("input", "own", (1, 0.5), (1, 0.5)),
    ("interpolated", "trimmed", (2, 0.375), (2, 0.125)),
    ("adversarial", "inherited", (2, 0.25), (1, 0.5)),
    ("input", "abstained", (ABSTAIN, 0.0), (ABSTAIN, 0.0)),
    ("interpolated", "inherited", (ABSTAIN, 0.0), (2, 0.125)),
]


@pytest.fixture
def folder(tmp_path):
    rows = [
        {
            "index": index,
            "outcome": outcome,
            "own_prediction": own[0],
            "own_radius": own[1],
            "prediction": given[0],
            "radius": given[1],
        }
        for index, (_, outcome, own, given) in enumerate(STREAM)
    ]
    pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / "certificates.parquet")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    lines = [f"{kind},{index}" for index, (kind, *_) in enumerate(STREAM)]
    (tmp_path / "stream.csv").write_text("\n".join(["kind,origin", *lines]) + "\n")
    return tmp_path


def test_what_the_memory_did_is_told_by_kind(folder):
    text, figure = probed.stream_section(folder, OPTIONS)
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    assert [[cell.strip() for cell in line] for line in lines[2:]] == [
        # inputs; own, trimmed, inherited, abstained; class changed, given; radius alone, with it
        ["input", "2", *"1001", *"00", "0.250", "0.250"],
        ["adversarial", "1", *"0010", *"10", "0.250", "0.500"],
        ["interpolated", "2", *"0110", *"01", "0.187", "0.125"],
        ["all", "5", *"1121", *"11", "0.225", "0.250"],
    ]
    assert "Model `one`, 5 inputs in random order, n at most 90, n0 = 9, alpha = 0.01" in text
    assert "Other orders cannot be tried: " in text  # the data of these made-up results is nowhere
    (axes,) = figure.axes
    shares = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert shares["inherited"] == [0, 1, 0.5, 0.4]
    assert sum(map(np.array, shares.values())) == pytest.approx(np.ones(4))


def test_other_orders_are_kept_for_where_the_inputs_are_not(folder, monkeypatch):
    spread = Range(0.5, 0.25, 0.5, 0.75)
    made = OrderStudy(3, 8, 5, True, True, {0.5: spread}, spread, 1, 2, 4)
    monkeypatch.setattr(probed, "reorder", lambda *_, **__: made)
    told = "In 3 shuffled orders (seed 8), each with a fresh memory, 1 of the inputs change class"
    text, _ = probed.stream_section(folder, OPTIONS)
    assert told in text
    assert "and 4 radius; the mean radius of right answers is 0.250 to 0.750." in text
    monkeypatch.undo()
    assert told in probed.stream_section(folder, OPTIONS)[0]
    rows = pq.read_table(folder / "certificates.parquet")
    pq.write_table(rows.slice(0, 5).take([4, 3, 2, 1, 0]), folder / "certificates.parquet")
    assert "Other orders cannot be tried: " in probed.stream_section(folder, OPTIONS)[0]


def test_kinds_of_another_stream_are_refused(folder):
    with (folder / "stream.csv").open("a") as file:
        file.write("input,7\n")
    with pytest.raises(RunError, match="5 certificates for 6 inputs"):
        probed.stream_section(folder, OPTIONS)
    (folder / "stream.csv").unlink()
    assert probed.stream_section(folder, OPTIONS) == ("Not certified yet.", None)


def test_the_attack_is_told_with_how_it_was_made(tmp_path):
    assert probed.attack_section(tmp_path) == "Not attacked yet."
    at = {"factor": 0.95, "points": 40, "inside": 39, "broken": 0, "interval": [0.0, 0.088]}
    at |= {"memory": {"changed": 0, "abstained": 1}, "alone": {"changed": 3, "abstained": 7}}
    at |= {"same_sigma": {"changed": 0, "abstained": 4}}
    at |= {"writing": {"certified_anew": 2, "trimmed": 1}}
    settings = {"steps": 20, "draws": 64, "seed": 3, "inputs": 100, "factors": [0.95]}
    made = {"run": "runs/rows/one", "settings": settings, "config": CONFIG, "attacks": [at]}
    (tmp_path / "attack.json").write_text(json.dumps(made))
    text = probed.attack_section(tmp_path)
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert cells == ["0.95 R", "40", "39", *"04", "0", "0.0% to 8.8%", *"13721"]
    assert "Row `one`: its first 40 inputs with a certified radius R, n at most 90" in text
    assert "20 steps of 64 noisy copies" in text

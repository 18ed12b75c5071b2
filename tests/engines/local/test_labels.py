"""The classes of the data are the network's of the same name, from the labels to the audit."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ddrs import data, models
from ddrs.cli.commands import main
from ddrs.data.dataset import Dataset, checked
from ddrs.data.labels import Labels
from ddrs.engines.local.certify import certify_run
from ddrs.engines.local.labels import label_classes
from ddrs.errors import ConfigurationError, DataError, DDRSWarning, ModelError, RunError
from ddrs.finished.audit import audit_run
from ddrs.finished.orders import reorder
from ddrs.finished.report import write_report
from ddrs.jobs.certify import CertifyJob
from ddrs.runs.table import read_rows
from support import transformer

ANIMALS = ("ant", "bee", "cat", "dog", "elk")


def dataset(*classes: str, named: bool = True, y: Any = (0, 1, 1)) -> Dataset:
    labels = Labels(3, None if y is None else np.array(y), classes, named)
    return checked("d", "test", labels, lambda index: torch.full((1, 2, 2), index / 2))


def job(**changes: Any) -> CertifyJob:
    return CertifyJob("d", "m", sigma=0.5, **changes)


@pytest.mark.parametrize(
    ("classes", "names", "count", "expected", "noted"),
    [
        (("dog", "bee"), [ANIMALS], 5, (3, 1), False),
        (("ant", "bee"), [ANIMALS], 5, None, False),
        (ANIMALS, [ANIMALS], 5, None, False),
        (("dog", "bee"), [ANIMALS, None], 5, (3, 1), False),
        (("dog", "bee"), [None, ANIMALS], 5, (3, 1), False),
        (("dog", "bee"), [None], 2, None, False),  # as many, of unknown names
        (("dog", "bee"), [None], 5, None, True),
        (("3", "1"), [None], 5, (3, 1), False),
        (("1", "2"), [None], 2, None, False),
        (("0", "1"), [ANIMALS], 5, None, False),
    ],
)
def test_labels_become_classes_of_the_network(
    classes: Any, names: Any, count: int, expected: Any, noted: bool, tmp_path: Path
) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = label_classes(job(), dataset(*classes), names, count, tmp_path)
    assert found == expected
    assert [str(each.message)[:40] for each in told] == [
        "labels 0 to 1 of d are taken as classes "
    ] * noted


def test_numbers_that_were_made_up_are_taken_as_they_are(tmp_path: Path) -> None:
    unnamed = dataset("0", "1", named=False)
    with pytest.warns(DDRSWarning, match="classes 0 to 1 of the 5 of the model"):
        assert label_classes(job(), unnamed, [ANIMALS], 5, tmp_path) is None
    file = tmp_path / "map.json"
    file.write_text('{"0": "elk", "1": 0}')
    for names in ([ANIMALS], [None]):
        file.write_text('{"0": "elk", "1": 0}' if names[0] else '{"0": 4, "1": 0}')
        assert label_classes(job(class_map=str(file)), unnamed, names, 5, tmp_path) == (4, 0)


@pytest.mark.parametrize(
    ("given", "names", "class_map", "kind", "message"),
    [
        (dataset("lion", "bee"), [ANIMALS], None, ConfigurationError, "'lion' of the data's"),
        (dataset("n00000001", "n00000002"), [None], None, ConfigurationError, "--class-map FILE"),
        (dataset("dog", "bee"), [ANIMALS, ANIMALS[::-1]], None, ModelError, "different orders"),
        (dataset("dog", "bee"), [ANIMALS], '{"cow": 1}', ConfigurationError, "names 'cow'"),
        (dataset(y=None), [ANIMALS], "{}", ConfigurationError, "leave out --class-map"),
    ],
)  # fmt: skip
def test_what_does_not_match_is_refused_in_one_line(
    given: Dataset, names: Any, class_map: Any, kind: Any, message: str, tmp_path: Path
) -> None:
    if class_map is not None:
        (tmp_path / "map.json").write_text(class_map)
        class_map = str(tmp_path / "map.json")
    count = 1000 if names == [None] else 5
    with pytest.raises(kind, match=message) as refusal:
        label_classes(job(class_map=class_map), given, names, count, tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_renumbered_dataset_keeps_all_but_its_labels() -> None:
    plain = dataset("dog", "bee")
    other = plain.renumbered((3, 1), 5)
    assert other.classes == ("0", "bee", "2", "dog", "4")
    assert [other[index][1] for index in range(3)] == [3, 1, 1]
    assert other.batch(1, 3)[1].tolist() == [1, 1]  # type: ignore[union-attr]
    assert torch.equal(other[-1][0], plain[-1][0])
    assert other[-1][1] == 1
    assert other.digest(3) == plain.digest(3)
    assert dataset(y=None).renumbered((), 5)[0][1] is None
    with pytest.raises(DataError, match="has 2 classes, not the 1"):
        plain.renumbered((3,), 5)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A folder of dogs and bees, and a network that knows five animals."""
    path = tmp_path_factory.mktemp("animals")
    rng = np.random.default_rng(0)
    for name in ("bee", "dog"):
        (path / "data" / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / "data" / name / f"{number}.png")
    vit = transformer.tiny_vit()
    vit.config.id2label = dict(enumerate(ANIMALS))
    return f"folder:{path / 'data'}", transformer.save(vit, path / "m", transformer.PROCESSOR)


def test_a_run_on_some_of_the_classes_is_right_from_its_rows_to_its_audit(
    photographs: tuple[str, str], tmp_path: Path
) -> None:
    spec, model = photographs
    out = tmp_path / "run"
    settings: dict[str, Any] = {"sigma": 0.1, "n": 50, "seed": 1, "policy": "search", "crop": 6}
    settings["settings"] = {"votes": 40}
    asked = CertifyJob(spec, model, **settings)
    summary = certify_run(asked, out, quiet=True)
    assert [row.label for row in read_rows(out)] == [1, 1, 1, 3, 3, 3]
    config = json.loads((out / "config.json").read_text())
    assert (config["classes"], config["class_map"], config["num_classes"]) == ([1, 3], None, 5)
    assert certify_run(asked, out, quiet=True) == summary
    assert audit_run(out, data=spec).ok
    reorder(out, orders=2, quiet=True)  # reads the labels again

    file = tmp_path / "map.json"
    file.write_text('{"bee": "elk", "dog": 0}')
    mapped = CertifyJob(spec, model, **settings, class_map=str(file))
    with pytest.raises(RunError, match="another configuration"):
        certify_run(mapped, out, quiet=True)
    certify_run(mapped, tmp_path / "mapped", quiet=True)
    assert [row.label for row in read_rows(tmp_path / "mapped")] == [4, 4, 4, 0, 0, 0]
    file.write_text('{"bee": "elk", "dog": 1}')
    with pytest.raises(RunError, match=r"classes: \[4, 0\] not \[4, 1\]"):
        certify_run(mapped, tmp_path / "mapped", quiet=True)

    # As an earlier version made it: without a look at names.
    early = {key: value for key, value in config.items() if key not in ("classes", "class_map")}
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "config.json").write_text(json.dumps(early))
    certify_run(asked, tmp_path / "early", quiet=True)
    assert [row.label for row in read_rows(tmp_path / "early")] == [0, 0, 0, 1, 1, 1]
    assert audit_run(tmp_path / "early", data=spec).ok


def test_answers_near_chance_are_told(
    photographs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The order of classes is wrong: every label is one that the network does not answer."""
    spec, model = photographs
    x, _ = data.load(spec, "test").batch(0, 6)
    with torch.no_grad():
        given = models.load(model).module(x).argmax(1).tolist()
    never = [index for index in range(5) if index not in given][:2]
    (tmp_path / "map.json").write_text(json.dumps(dict(zip(("bee", "dog"), never, strict=True))))
    words = ["certify", "--data", spec, "--model", model, "--sigma", "0.1", "--n", "50"]
    words += ["--class-map", str(tmp_path / "map.json"), "--out", str(tmp_path / "run")]
    for _ in range(2):  # also when the finished run is asked for again
        with pytest.raises(SystemExit, match="0"):
            main(words)
        told = capsys.readouterr().err
        assert "note: without noise 0 of 6 answers are right" in " ".join(told.split())
    write_report([tmp_path / "run"], tmp_path / "report.html")
    assert "without noise 0 of 6 answers are right" in (tmp_path / "report.html").read_text()

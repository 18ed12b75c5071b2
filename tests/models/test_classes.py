import importlib.machinery
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from ddrs.errors import ConfigurationError
from ddrs.models.classes import matched_classes, read_class_map

ANIMALS = ["tench, Tinca tinca", "Great_White Shark", "crane, bird", "crane", "tabby"]
IDS = [f"n{number:08}" for number in range(1000)]


@pytest.mark.parametrize(
    ("data", "model", "class_map", "expected"),
    [
        (["cat", "dog"], ["cat", "dog"], None, [0, 1]),
        (["cat", "dog"], ["dog", "bird", "Cat"], None, [2, 0]),
        (["great white-shark", "TENCH"], ANIMALS, None, [1, 0]),
        (["tinca_tinca", "crane, bird"], ANIMALS, None, [0, 2]),
        (["0", "3"], ["a", "b", "c", "d"], None, [0, 3]),
        (["1", "0"], ["0", "1"], None, [1, 0]),
        (["kitten", "tench"], ANIMALS, {"kitten": "tabby"}, [4, 0]),
        (["kitten", "tench"], ANIMALS, {"kitten": 3}, [3, 0]),
        (["tench"], ANIMALS, {"tench": "tabby"}, [4]),
        (list(reversed(IDS)), [f"class {i}" for i in range(1000)], None, list(range(1000))[::-1]),
    ],
)
def test_classes_are_matched_by_name(data, model, class_map, expected):
    assert matched_classes(data, model, class_map) == expected


@pytest.mark.parametrize(
    ("data", "model", "class_map", "message"),
    [
        (["cat", "x", "y", "z", "w"], ["cat", "dog"], None, "'x', 'y', 'z' and 1 more .* 'cat', "),
        (["crane"], [*ANIMALS, "crane, machine"], None, "none of the network's"),  # which one?
        (["4"], ["a", "b", "c", "d"], None, "'4' of the data's"),
        (["kitten"], ANIMALS, {"kitten": 5}, "'kitten' of the data's"),
        (["kitten"], ANIMALS, {"kitten": -1}, "'kitten' of the data's"),
        (["kitten"], ANIMALS, {"kitten": "lion"}, "'kitten' of the data's"),
        (["kitten"], ANIMALS, {"puppy": 3}, "names 'puppy', but the data has 'kitten'"),
        (["tench", "tinca tinca"], ANIMALS, None, "are one class"),
        (IDS[:9], ["a"] * 1000, None, "'n00000000'.* and 6 more"),
    ],
)
def test_what_cannot_be_matched_is_said(data, model, class_map, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.data", None)
    with pytest.raises(ConfigurationError, match=message):
        matched_classes(data, model, class_map)


def test_some_of_image_net_s_ids_are_looked_up(monkeypatch):
    timm = ModuleType("timm.data")
    timm.__spec__ = importlib.machinery.ModuleSpec("timm.data", None)
    timm.ImageNetInfo = lambda: SimpleNamespace(label_names=lambda: IDS)
    monkeypatch.setitem(sys.modules, "timm.data", timm)
    assert matched_classes([IDS[7], IDS[3]], ["a"] * 1000) == [7, 3]


def test_a_class_map_is_a_json_object(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"kitten": "tabby", "puppy": 207}))
    assert read_class_map(file) == {"kitten": "tabby", "puppy": 207}
    for text in ("[1]", '{"a": 1.5}', '{"a": true}', '{"a": null}', '"a"'):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match="must be a JSON object"):
            read_class_map(file)
    for text in ("{", "[" * 100_000, "\udcff"):
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ConfigurationError, match="cannot be read"):
            read_class_map(file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_class_map(tmp_path / "absent.json")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError):
        read_class_map(tmp_path / "pipe")

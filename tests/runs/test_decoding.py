from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from ddrs.runs.decoding import decode, read_json


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Outer:
    name: str
    share: float
    on: bool
    inner: Inner | None = None
    pair: tuple[float, int] | None = None
    numbers: Sequence[int] = ()
    kind: Literal["a", "b"] = "a"
    figures: dict[str, tuple[float, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    rows: int | Literal["auto"] = "auto"


LEAST: dict[str, Any] = {"name": "n", "share": 1, "on": False}


def test_every_type_is_read() -> None:
    data = LEAST | {
        "inner": {"size": 3, "later": 1},
        "pair": [1, 2],
        "numbers": [1, 2],
        "kind": "b",
        "figures": {"x": [1, 2.5]},
        "options": {"any": [None]},
        "rows": 7,
        "later": "left aside",
    }
    assert decode(Outer, data) == Outer(
        "n", 1.0, False, Inner(3), (1.0, 2), (1, 2), "b", {"x": (1.0, 2.5)}, {"any": [None]}, 7
    )
    assert type(decode(Outer, data).share) is float


def test_a_missing_key_has_the_default() -> None:
    assert decode(Outer, LEAST) == Outer("n", 1.0, False)
    assert decode(Outer, LEAST | {"inner": None}) == Outer("n", 1.0, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "name: 3 is not of type str"),
        ({"name": None}, "name: None"),
        ({"share": "1"}, "share: '1' is not of type float"),
        ({"share": True}, "share: True"),
        ({"on": 1}, "on: 1 is not of type bool"),
        ({"inner": {"size": 1.5}}, "inner: .*size: 1.5"),
        ({"inner": {}}, "inner: .*size is missing"),
        ({"inner": 3}, "inner: "),
        ({"pair": [1]}, "pair: "),
        ({"pair": 1}, "pair: "),
        ({"numbers": ["1"]}, "numbers: '1'"),
        ({"numbers": "12"}, "numbers: '12'"),
        ({"kind": "c"}, "kind: 'c'"),
        ({"kind": []}, "kind: "),
        ({"figures": {"x": 1}}, "figures: 1"),
        ({"rows": "many"}, "rows: 'many'"),
    ],
)
def test_a_value_of_another_type_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        decode(Outer, LEAST | changes)


@pytest.mark.parametrize("data", [None, 3, [], "text"])
def test_what_is_no_object_is_refused(data: object) -> None:
    with pytest.raises(TypeError, match="not a JSON object"):
        decode(Inner, data)
    with pytest.raises(ValueError, match="size is missing"):
        decode(Inner, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"n": NaN}', "NaN is no number"),
        ('{"n": -Infinity}', "-Infinity is no number"),
        ('{"n": 1e999}', "beyond all floats"),
        (f'{{"n": {"9" * 400}}}', "400 digits is too large"),
        (f'{{"n": {2**63}}}', "too large"),
        ("[" * 200_000, "nested too deep"),
        ('{"n": 1, "n": 2}', "a key twice"),
        ("", "Expecting value"),
    ],
)
def test_json_that_no_run_writes_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_json(text)


def test_json_is_read_to_the_last_bit():
    assert read_json(f'{{"seed": {2**63 - 1}, "x": [0.1, null, true]}}') == {
        "seed": 2**63 - 1,
        "x": [0.1, None, True],
    }

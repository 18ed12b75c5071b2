import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddrs.proof.certificate import ABSTAIN, Certificate

EXAMPLE = Certificate(
    prediction=3,
    radius=0.1 + 0.2,
    outcome="own",
    own_prediction=3,
    own_radius=0.1 + 0.2,
    sigma=0.25,
    norm="l2",
    bound="one-sided",
    p_lower=0.9,
    p_upper=0.1,
    count=95,
    runner_up=5,
    n=100,
    n0=10,
    alpha=0.001,
    votes=110,
    input_digest="ab" * 32,
    model_digest="cd" * 32,
    seed=2**62 + 1,
    version="0",
)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
def test_a_record_comes_back_bit_for_bit(values):
    names = ("radius", "own_radius", "sigma", "p_lower", "p_upper", "alpha")
    certificate = dataclasses.replace(EXAMPLE, **dict(zip(names, values, strict=True)))
    back = Certificate.from_json(certificate.to_json())
    assert back == certificate
    for name, value in zip(names, values, strict=True):
        assert getattr(back, name).hex() == value.hex()


def test_the_record_is_one_json_object_with_every_field():
    record = json.loads(EXAMPLE.to_json())
    assert list(record) == [field.name for field in dataclasses.fields(Certificate)]
    assert record["seed"] == 2**62 + 1
    assert "\n" not in EXAMPLE.to_json()


def test_a_record_from_before_there_were_looks_has_one():
    record = EXAMPLE.to_row()
    assert record.pop("looks") == 1
    assert record.pop("further") == []
    assert Certificate.from_json(json.dumps(record)) == EXAMPLE
    assert Certificate.from_row({**record, "index": 5, "label": 3}) == EXAMPLE
    later = {**record, "looks": 7}
    assert Certificate.from_row(later) == Certificate.from_json(json.dumps(later)) != EXAMPLE


def test_several_pieces_of_evidence_come_back_too():
    (piece,) = EXAMPLE.parts
    assert (piece.role, piece.count, piece.model_digest) == ("answer", 95, "cd" * 32)
    several = dataclasses.replace(
        EXAMPLE, further=(dataclasses.replace(piece, sigma=0.5), dataclasses.replace(piece, n=99))
    )
    assert [part.sigma for part in several.parts] == [0.25, 0.5, 0.25]
    assert Certificate.from_json(several.to_json()) == several
    row = several.to_row()
    assert row["further"][1]["n"] == 99
    assert Certificate.from_row({**row, "index": 5}) == several


def test_a_row_that_lacks_something_else_is_refused():
    with pytest.raises(TypeError, match="sigma"):
        Certificate.from_row({"prediction": 1})


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"prediction": 1}', "3"])
def test_what_is_no_record_is_refused(text):
    with pytest.raises((TypeError, ValueError)):
        Certificate.from_json(text)


def test_a_certificate_cannot_be_altered():
    with pytest.raises(dataclasses.FrozenInstanceError):
        EXAMPLE.radius = 9.0
    assert ABSTAIN == -1

import hashlib
import json
import math

import pytest

from ddrs.memory.chain import CHAINED, genesis, link

FACTS = {"norm": "l2", "shape": "[2]", "model_digest": "m", "noise": "gaussian"}
ROW = {
    "id": 1,
    "input_digest": "d",
    "prediction": 3,
    "radius": 0.1 + 0.2,
    "outcome": "own",
    "claimed_prediction": 3,
    "claimed_radius": 0.5,
    "evidence": None,
}


def sha(values):
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def test_the_chain_starts_with_what_the_memory_was_made_for():
    assert genesis(FACTS) == sha(["l2", "[2]", "m", "gaussian"])
    assert genesis({"norm": "l1"}) == sha(["l1", None, None, None])
    assert genesis(FACTS | {"schema_version": "2"}) == genesis(FACTS)  # an upgrade keeps it


@pytest.mark.parametrize("key", FACTS)
def test_every_fact_of_the_start_counts(key):
    assert genesis(FACTS | {key: "other"}) != genesis(FACTS)


def test_a_link_is_the_digest_of_the_one_before_and_the_columns_that_decide():
    expected = sha(["c0", 1, "d", 3, 0.30000000000000004, "own", 3, 0.5, None])
    assert link("c0", ROW) == expected
    assert link("c0", ROW | {"sketch": b"", "x": b"", "chain": "c"}) == expected
    assert link("c1", ROW) != expected
    assert set(CHAINED) == set(ROW)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 2),
        ("input_digest", "e"),
        ("prediction", 4),
        ("radius", math.nextafter(0.1 + 0.2, 1)),
        ("outcome", "trimmed"),
        ("claimed_prediction", -1),
        ("claimed_radius", math.nextafter(0.5, 0)),
        ("evidence", ""),
    ],
)
def test_the_smallest_change_of_any_column_breaks_it(column, value):
    assert link("c0", ROW | {column: value}) != link("c0", ROW)


def test_entries_cannot_change_places():
    other = ROW | {"id": 2, "input_digest": "e"}
    assert link(link("c0", ROW), other) != link(link("c0", other), ROW)


@pytest.mark.parametrize("value", [b"3", "3", 3.5, math.inf])
def test_a_value_of_a_foreign_type_is_digested_like_any_other(value):
    assert link("c0", ROW | {"prediction": value}) != link("c0", ROW)

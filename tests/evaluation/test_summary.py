import json
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from ddrs.errors import ConfigurationError, InputError
from ddrs.evaluation.summary import summarise


def record(**changes: Any) -> dict[str, Any]:
    return {
        "index": 0,
        "label": 1,
        "correct": True,
        "clean_prediction": 1,
        "votes": 1100,
        "prediction": 1,
        "radius": 0.5,
        "outcome": "own",
        "sigma": 0.25,
        "norm": "l2",
        "n": 1000,
        "n0": 100,
        "alpha": 0.001,
        "model_digest": "a",
    } | changes


ABSTAINED = {"prediction": -1, "radius": 0.0, "correct": False, "outcome": "abstained"}
RECORDS = [
    record(index=0, sigma=0.2, outcome="trimmed"),
    record(index=1, sigma=0.5, radius=1.25, clean_prediction=3),
    record(index=2, sigma=0.4, radius=0.75, outcome="inherited", correct=False, label=5),
    record(index=3, sigma=0.3, votes=100, **ABSTAINED),
]


def test_every_figure_by_hand() -> None:
    summary = summarise(RECORDS, seconds=12.5, memory_entries=3)

    intervals = summary.pop("certified_accuracy_interval")
    assert summary == {
        "inputs": 4,
        "acr": (0.5 + 1.25) / 4,
        "certified_accuracy": {
            "0.00": 0.5,
            "0.25": 0.5,
            "0.50": 0.5,
            "0.75": 0.25,
            "1.00": 0.25,
            "1.25": 0.25,
            "1.50": 0.0,
            "1.75": 0.0,
            "2.00": 0.0,
        },
        "interval_level": 0.95,
        "clean_accuracy": 0.5,
        "abstained": 1,
        "votes": 3400,
        "seconds": 12.5,
        "sigma": {"min": 0.2, "median": pytest.approx(0.35), "max": 0.5},
        "memory": {
            "on": True,
            "entries": 3,
            "own": 1,
            "trimmed": 1,
            "inherited": 1,
            "unrecorded": 0,
        },
        "sound_together": True,
        "n": 1000,
        "n0": 100,
        "alpha": 0.001,
        "norm": "l2",
        "n_at_most": None,
        "question": None,
    }
    assert intervals.keys() == summary["certified_accuracy"].keys()
    assert intervals["0.50"] == pytest.approx(list(proportion_confint(2, 4, method="beta")))
    assert intervals["2.00"] == pytest.approx(list(proportion_confint(0, 4, method="beta")))


def test_radii_can_be_chosen() -> None:
    summary = summarise(RECORDS, seconds=1, memory_entries=None, radii=(r for r in (0.5, 0.125)))

    assert summary["certified_accuracy"] == {"0.50": 0.5, "0.125": 0.5}


def test_it_is_plain_json_even_from_numpy_values() -> None:
    kinds = {"index": np.int64, "label": np.int32, "correct": np.bool_, "votes": np.int64}
    floats = {"radius": np.float32, "sigma": np.float64, "alpha": np.float64}
    records = [
        row | {key: kind(row[key]) for key, kind in {**kinds, **floats}.items()} for row in RECORDS
    ]

    summary = summarise(records, seconds=np.float64(2), memory_entries=np.int64(3))  # type: ignore[arg-type]

    assert json.loads(json.dumps(summary)) == summarise(RECORDS, seconds=2, memory_entries=3)


@pytest.mark.parametrize(
    ("sigmas", "entries", "outcome", "together"),
    [
        ((0.25, 0.25), None, "own", True),  # one smoothed classifier answered all
        ((0.25, 0.30), None, "own", False),
        ((0.25, 0.30), 2, "own", True),
        ((0.25, 0.30), 2, "unrecorded", False),  # read-only: nothing holds the answer
        ((0.25, 0.25), 2, "unrecorded", True),
    ],
)
def test_when_certificates_are_sound_together(
    sigmas: tuple[float, float], entries: int | None, outcome: str, together: bool
) -> None:
    records = [record(sigma=sigmas[0]), record(sigma=sigmas[1], outcome=outcome)]

    summary = summarise(records, seconds=1, memory_entries=entries)

    assert summary["sound_together"] is together
    assert summary["memory"]["on"] == (entries is not None)


def test_two_classifiers_with_one_sigma_are_two_smoothed_classifiers() -> None:
    records = [record(), record(model_digest="b")]
    assert summarise(records, seconds=1, memory_entries=None)["sound_together"] is False
    assert summarise(records, seconds=1, memory_entries=2)["sound_together"] is True


def test_what_differs_between_inputs_is_null() -> None:
    summary = summarise([record(), record(n=10)], seconds=1, memory_entries=0)

    assert (summary["n"], summary["n0"]) == (None, 100)


def test_a_run_that_stops_early_says_so() -> None:
    summary = summarise(
        [record(n=300), record(n=400)],
        seconds=1,
        memory_entries=None,
        n_at_most=1000,
        question="until settled",
    )

    found = (summary["n"], summary["n_at_most"], summary["question"])
    assert found == (None, 1000, "until settled")


def test_no_records_are_refused() -> None:
    with pytest.raises(InputError, match="no rows"):
        summarise([], seconds=0, memory_entries=None)


@pytest.mark.parametrize("column", ["outcome", "sigma", "votes", "clean_prediction"])
def test_a_missing_column_is_named(column: str) -> None:
    incomplete = {key: value for key, value in record().items() if key != column}

    with pytest.raises(InputError, match=f"no column {column}"):
        summarise([incomplete], seconds=0, memory_entries=None)


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 0"):
        summarise(RECORDS, seconds=0, memory_entries=None, radii=[-1.0])

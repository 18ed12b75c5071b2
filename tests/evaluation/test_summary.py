import json

import pytest
from statsmodels.stats.proportion import proportion_confint

from ddrs.errors import ConfigurationError, InputError
from ddrs.evaluation.summary import summarise
from ddrs.runs.summary import Summary
from support.certified import certified

ABSTAINED = {"prediction": -1, "radius": 0.0, "correct": False, "outcome": "abstained"}
ROWS = [
    certified(index=0, sigma=0.2, outcome="trimmed"),
    certified(index=1, sigma=0.5, radius=1.25, clean_prediction=3),
    certified(index=2, sigma=0.4, radius=0.75, outcome="inherited", correct=False, label=5),
    certified(index=3, sigma=0.3, votes=100, **ABSTAINED),
]


def test_every_figure_by_hand() -> None:
    summary = summarise(ROWS, seconds=12.5, memory_entries=3, alone=False).to_json()

    intervals = summary.pop("certified_accuracy_interval")
    wrong, discounted = summary.pop("wrong"), summary.pop("discounted")
    assert wrong.keys() == discounted.keys() == summary["certified_accuracy"].keys()
    assert discounted == summary["certified_accuracy"]  # without a start nothing is taken off
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
        "discounted_acr": (0.5 + 1.25) / 4,
        "null": None,
        "start": None,
        "calibration": None,
        "other_settings": {},
    }
    assert intervals.keys() == summary["certified_accuracy"].keys()
    assert intervals["0.50"] == pytest.approx(list(proportion_confint(2, 4, method="beta")))
    assert intervals["2.00"] == pytest.approx(list(proportion_confint(0, 4, method="beta")))


def test_radii_can_be_chosen() -> None:
    summary = summarise(
        ROWS, seconds=1, memory_entries=None, alone=True, radii=(r for r in (0.5, 0.125))
    )

    assert summary.certified_accuracy == {"0.50": 0.5, "0.125": 0.5}


def test_it_is_plain_json() -> None:
    summary = summarise(ROWS, seconds=2, memory_entries=3, alone=False)

    stored = json.loads(json.dumps(summary.to_json()))
    assert stored == summary.to_json()
    assert Summary.from_json(stored) == summary


@pytest.mark.parametrize(
    ("alone", "sigmas", "entries", "outcome", "together"),
    [
        (True, (0.25, 0.25), None, "own", True),  # one smoothed classifier answered all
        (False, (0.25, 0.30), None, "own", False),
        (False, (0.25, 0.30), 2, "own", True),
        (False, (0.25, 0.30), 2, "unrecorded", False),  # read-only: nothing holds the answer
        (False, (0.25, 0.25), 2, "unrecorded", True),
        (True, (0.25, 0.30), 2, "unrecorded", False),  # answers of another method
    ],
)
def test_when_certificates_are_sound_together(
    alone: bool, sigmas: tuple[float, float], entries: int | None, outcome: str, together: bool
) -> None:
    rows = [certified(sigma=sigmas[0]), certified(sigma=sigmas[1], outcome=outcome)]

    summary = summarise(rows, seconds=1, memory_entries=entries, alone=alone)

    assert summary.sound_together is together
    assert summary.memory.on == (entries is not None)


def test_two_classifiers_with_one_sigma_are_two_smoothed_classifiers() -> None:
    rows = [certified(), certified(model_digest="b")]
    assert not summarise(rows, seconds=1, memory_entries=None, alone=False).sound_together
    assert summarise(rows, seconds=1, memory_entries=2, alone=False).sound_together
    rows = [certified(outcome="unrecorded"), certified(model_digest="b")]
    assert not summarise(rows, seconds=1, memory_entries=2, alone=False).sound_together


def test_what_differs_between_inputs_is_null() -> None:
    summary = summarise([certified(), certified(n=10)], seconds=1, memory_entries=0, alone=True)

    assert (summary.n, summary.n0) == (None, 100)


def test_a_run_that_stops_early_says_so() -> None:
    summary = summarise(
        [certified(n=300), certified(n=400)],
        seconds=1,
        memory_entries=None,
        alone=True,
        n_at_most=1000,
        question="until settled",
    )

    found = (summary.n, summary.n_at_most, summary.question)
    assert found == (None, 1000, "until settled")


def test_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="no rows"):
        summarise([], seconds=0, memory_entries=None, alone=True)


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 0"):
        summarise(ROWS, seconds=0, memory_entries=None, alone=True, radii=[-1.0])

"""The tables of all rows, of differences and of the best, from made-up certificates."""

import re
import shutil

import pytest
from scipy.stats import beta, norm

from ddrs.display.rounding import rounded_down
from support.study import ROWS, section, study, table

__all__ = ["study"]  # a fixture


def test_certified_wrong_is_another_class_within_the_radius(study):
    # Wrong answers have a radius of 3 by themselves.
    study.put("fixed-1", [0.3, None, None, None], wrong=[0.25, 0.5, None])
    row = table(section(study.tables(), "### All rows"))["Row fixed-1"]
    assert [row["wrong at r=0.00"], row["wrong at r=0.50"], row["abstained"]] == ["2", "1", "1"]


def test_differences_are_those_of_the_named_rows_that_are_there(study):
    fixed = [0.4] * 10 + [None] * 10
    study.put("fixed-1", fixed)
    study.put("ds-1", [0.4] * 12 + [None] * 8)
    study.put("ds-2", [0.4])  # without the row that it is to be compared with
    found = table(section(study.tables(), "### Differences"))
    assert list(found) == ["ds-1 less fixed-1"]
    (line,) = found.values()
    assert (line["inputs"], line["r=0.25"]) == ("20", "+0.100 (+0.000 to +0.250)")
    assert (line["r=0.50"], line["ACR"]) == ("+0.000 (-)", "+0.040 (+0.000 to +0.100)")


@pytest.mark.parametrize("changed", [{"training": "another"}, {"precision": "bf16"}])
def test_a_difference_of_two_trainings_or_precisions_is_marked(study, changed):
    study.put("fixed-1", [0.3, None])
    study.put("ds-1", [0.3, 0.3])
    text = section(study.tables(), "### Differences")
    assert list(table(text)) == ["ds-1 less fixed-1"]
    assert "†" not in text
    shutil.rmtree(study.results / "ds-1")
    study.put("ds-1", [0.3, 0.3], **changed)
    text = section(study.tables(), "### Differences")
    assert list(table(text)) == ["ds-1 less fixed-1 †"]
    assert "- † part of the difference may be" in text


def test_of_each_training_one_sigma_stands_beside_a_choice_for_each_input(study):
    rows = {f"ds-{k}": ("one", f'policy = "gradient"\nsteps = {k}') for k in (100, 900)}
    rows |= {"ds2": ("each", 'policy = "search"')}
    study.has(ROWS | rows)
    fixed = [0.6] * 10 + [None] * 10
    study.put("fixed-1", fixed)
    study.put("ds-1", [0.6] * 12 + [None] * 8)
    study.put("ds-100", fixed)
    study.put("ds-900", [0.6] * 16 + [None] * 4)
    study.put("ds2", [0.3] * 20, precision="bf16")
    text = section(study.tables(), "### One sigma and a sigma for each input")
    at_half, acr = re.split(r"\n\n(?=\|)", text.strip())
    assert table(at_half)["Gaussian"] == {
        "sigma": "0.25",
        "one sigma": "0.500",
        "DS, Algorithm 1": "0.800",
        "DS, search": "0.600",
        "DS2, search": "0.000",
        "DS, Algorithm 1 less one sigma": "+0.300 (+0.100 to +0.500)",
        "DS, search less one sigma": "+0.100 (+0.000 to +0.250)",
        "DS2, search less one sigma": "-0.500 (-0.700 to -0.300) †",
    }
    assert "- † part of the difference may be" in at_half
    # 0.6 for 10 and for 16 of 20
    means = [table(acr)["Gaussian"][key] for key in ("one sigma", "DS, Algorithm 1")]
    assert means == ["0.300", "0.480"]


def test_the_counts_tell_what_a_two_sided_bound_would_have_made_of_them(study):
    study.put("fixed-1", [0.3, 0.3, 0.3, None], sigma=0.5)
    (line,) = table(section(study.tables(), "### Two-sided bounds")).values()
    # 900 and 20 of 1000 votes at alpha / 2 looks: quantiles of Beta distributions
    p = beta.ppf(0.0005, 900, 101)
    low, high = beta.ppf(0.00025, 900, 101), beta.ppf(1 - 0.00025, 21, 980)
    one, two = 0.5 * norm.ppf(p), 0.25 * (norm.ppf(low) - norm.ppf(high))
    assert 0.5 < one < two < 1
    cells = [line[f"ACR, {bound}"] for bound in ("one-sided", "two-sided")]
    assert cells == [rounded_down(0.75 * radius, 3) for radius in (one, two)]
    assert {line[f"r=0.50, {bound}"] for bound in ("one-sided", "two-sided")} == {"0.750"}
    assert {line[f"r=1.00, {bound}"] for bound in ("one-sided", "two-sided")} == {"0.000"}


def test_the_envelope_takes_the_best_at_each_radius_on_test_inputs(study):
    study.put("fixed-1", [0.3, 0.3, 0.3, None])
    study.put("fixed-2", [None, 1.1, None, None])
    study.put("ds-1", [0.5, 0.5, 0.5, 0.5])
    found = table(section(study.tables(), "### The paper's envelope"))
    fixed = found["Gaussian, fixed sigma"]
    assert fixed["rows"] == "2 of 2"
    radii = ("r=0.00", "r=0.25", "r=0.50", "r=1.00", "r=1.25", "r=2.00")
    assert [fixed[r] for r in radii] == ["0.750", "0.750", "0.250", "0.250", "0.000", "0.000"]
    # best row: 1.1 / 4 against 0.9 / 4; best by input: (0.3 + 1.1 + 0.3) / 4
    acrs = ("ACR of the best row", "ACR of the best by input")
    assert [fixed[key] for key in acrs] == ["0.275", "0.425"]
    assert found["Gaussian-DS"]["rows"] == "1 of 2"
    paper = found["Cohen-DS (paper)"]
    assert [paper[r] for r in radii] == ["0.772", "0.645", "0.478", "0.276", "0.165", "0.012"]
    assert [paper[key] for key in acrs] == ["-", "0.784"]
    groups = ["Gaussian, fixed sigma", "Cohen (paper)", "Gaussian-DS", "Cohen-DS (paper)"]
    assert list(found) == groups


def test_trainings_of_one_model_are_told_apart(study):
    study.has(ROWS | {"either": ("two one", 'policy = "search"')})
    study.put("fixed-1", [0.3])
    study.put("fixed-2", [0.3])
    study.put("either", [0.3])
    assert "trained more than once" not in study.tables()
    study.put("ds-1", [0.3], training="another")
    text = section(study.tables(), "### All rows")
    (note,) = (line for line in text.splitlines() if "trained more than once" in line)
    assert note.endswith(": `one` (rows `fixed-1`, `either`; `ds-1`).")


def test_rows_in_bf16_are_named(study):
    study.put("ds-1", [0.3], precision="bf16")
    assert "- Forward passes in bf16 instead of fp32: all rows." in study.tables()
    study.put("fixed-1", [0.3])
    assert "- Forward passes in bf16 instead of fp32: `ds-1`." in study.tables()

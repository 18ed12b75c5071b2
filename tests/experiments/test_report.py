"""The report of the study, from made-up certificates whose figures are known."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.errors import DDRSError
from experiments.cifar10.report.build import build, main
from experiments.cifar10.report.stored import read_study
from experiments.cifar10.study import PLAN
from support.study import ROWS, section, study, table, write_results

__all__ = ["study"]  # a fixture


def test_a_row_is_chosen_on_validation_inputs_and_the_strongest_fixed_sigma_on_test_inputs(study):
    study.put("fixed-1", [0.3, 0.3, 0.3, None], validation=[0.8, 0.8, 0.8, 0.8])
    study.put("fixed-2", [0.8, 0.8, None, None], validation=[0.3, 0.3, None, None])
    study.put("ds-1", [0.6, None, None, None], validation=[0.9, 0.9, 0.9, 0.9])
    study.put("ds-2", [2.0, 2.0, 2.0, 2.0], validation=[0.9, 0.9, 0.9, None])

    text = section(study.tables(), "### Deployable", "#### Gaussian")
    assert "The chosen row is **Row ds-1** (`ds-1`, model `one`; validation ACR 0.900)" in text
    found = table(text)
    # At 0.25 three of four test inputs against two, at 0.5 none against two.
    assert found["r=0.25"]["strongest fixed sigma"] == "Row fixed-1"
    assert found["r=0.50"]["strongest fixed sigma"] == "Row fixed-2"
    # At 1 both have none: the larger ACR decides, 0.4 against 0.225.
    assert found["r=1.00"]["strongest fixed sigma"] == "Row fixed-2"
    assert found["ACR"]["strongest fixed sigma"] == "Row fixed-2"
    keys = ("fixed", "chosen row", "difference")
    assert [found["r=0.25"][key] for key in keys] == ["0.750", "0.250", "-0.500"]
    assert [found["r=0.50"][key] for key in keys] == ["0.500", "0.250", "-0.250"]
    assert [found["ACR"][key] for key in keys] == ["0.400", "0.150", "-0.250"]
    # By input the second is better for the first two inputs, the first for the third: 1.9 / 4.
    oracle = [found[key]["fixed, best by input"] for key in ("r=0.25", "r=0.50", "ACR")]
    assert oracle == ["0.750", "0.500", "0.475"]


def test_the_interval_is_of_paired_differences(study):
    # 18 differences of 0 and 2 of 1: a resampled sum is binomial (20, 0.1), with quantiles 0 and 5;
    # without pairing the lower end would be far below 0.
    fixed = [0.4] * 10 + [None] * 10
    study.put("fixed-1", fixed, validation=fixed)
    study.put("ds-1", [0.4] * 12 + [None] * 8, validation=fixed)
    found = table(section(study.tables(), "#### Gaussian"))
    assert found["r=0.25"]["difference"] == "+0.100"
    assert found["r=0.25"]["95 % interval"] == "+0.000 to +0.250"
    # 0.4 more for two of twenty inputs: the same sum times 0.4
    assert found["ACR"]["difference"] == "+0.040"
    assert found["ACR"]["95 % interval"] == "+0.000 to +0.100"
    assert found["r=1.00"]["95 % interval"] == "-"  # nothing differs


def test_rows_are_compared_on_the_inputs_that_both_have(study):
    # Over all four the first would be better, over the two shared ones it is not.
    study.put("fixed-1", [0.3, None, 0.3, 0.3])
    study.put("fixed-2", [0.2, 0.3])
    study.put("ds-1", [0.6, 0.6], validation=[0.3, 0.3])
    text = study.tables()
    found = table(section(text, "#### Gaussian"))["r=0.25"]
    assert [found[key] for key in ("strongest fixed sigma", "inputs")] == ["Row fixed-2", "2"]
    assert [found[key] for key in ("fixed", "difference")] == ["0.500", "+0.500"]
    assert table(section(text, "### All rows"))["Row fixed-1"]["r=0.25"] == "0.750"
    assert table(section(text, "envelope"))["Gaussian, fixed sigma"]["r=0.25"] == "0.500"


def test_what_has_no_validation_results_is_not_chosen(study):
    study.has(ROWS | {"never": ("one", 'policy = "search"', False)})
    study.put("fixed-1", [0.3, 0.3])
    study.put("ds-1", [0.6, 0.6])
    study.put("never", [0.9, 0.9], validation=[0.9, 0.9])
    text = section(study.tables(), "#### Gaussian")
    assert "No row can be chosen: none that may be has validation" in text
    assert "|" not in text
    write_results(study.results / "ds-1" / "validation", [0.3, 0.3], 0.5, None)
    study.put("ds-2", [0.9, 0.9])
    text = section(study.tables(), "#### Gaussian")
    assert "**Row ds-1**" in text
    assert "of 1 to choose from. Not yet certified, and left out: 1." in text
    shutil.rmtree(study.results / "fixed-1")
    text = section(study.tables(), "#### Gaussian")
    assert text.strip() == "No row with a fixed sigma is certified yet."


def test_what_was_chosen_before_is_compared_on_confirmation_inputs(study):
    rows = {name: (*row, "confirm") for name, row in ROWS.items() if name != "ds-2"}
    study.has(rows | {"ds-2": ROWS["ds-2"]})
    study.put("fixed-1", [0.3, 0.3, None], confirmation=[0.3] * 10)
    study.put("fixed-2", [0.7, None, None], confirmation=[0.625] * 10)
    study.put("ds-2", [0.3, None, None], validation=[0.3])
    study.put("ds-1", [0.9, 0.9, None], validation=[0.9])
    text = section(study.tables(), "### Confirmation")
    assert text.strip() == "The chosen row is not certified on confirmation inputs yet."
    # By these fixed-2 is the better one at every radius; before it was fixed-1 at 0.25.
    write_results(study.results / "ds-1" / "confirmation", [0.9] * 8 + [None] * 2, 0.5, None)
    text = section(study.tables(), "### Confirmation")
    found = table(text)
    keys = ("strongest fixed sigma before", "inputs", "fixed", "chosen row", "difference")
    cells = [found["r=0.25"][key] for key in keys]
    assert cells == ["Row fixed-1", "10", "1.000", "0.800", "-0.200"]
    cells = [found["r=0.50"][key] for key in keys]
    assert cells == ["Row fixed-2", "10", "1.000", "0.800", "-0.200"]
    assert [found["r=0.75"][key] for key in keys[2:]] == ["0.000", "0.800", "+0.800"]
    assert [found["ACR"][key] for key in keys[2:]] == ["0.625", "0.720", "+0.095"]
    assert "Not yet certified" not in text
    # With the three test inputs before them: 2 of 3 and 10 of 10 against 2 of 3 and 8 of 10.
    found = table(text.partition("together, on which")[2])
    cells = [found["r=0.25"][key] for key in keys]
    assert cells == ["Row fixed-1", "13", "0.923", "0.769", "-0.154"]
    assert [found["ACR"][key] for key in keys[2:]] == ["0.534", "0.692", "+0.158"]
    shutil.rmtree(study.results / "fixed-2" / "confirmation")
    text = section(study.tables(), "### Confirmation")
    assert table(text)["r=0.50"]["inputs"] == "-"
    assert table(text)["r=0.25"]["difference"] == "-0.200"
    assert "Not yet certified on confirmation inputs: `fixed-2`." in text


def test_a_comparison_of_two_precisions_is_marked_too(study):
    rows = {name: (*row, "confirm") for name, row in ROWS.items()}
    study.has(rows)
    study.put("fixed-1", [0.3, 0.6, None], confirmation=[0.3, 0.6])
    study.put("ds-1", [0.9, 0.9, 0.9], validation=[0.9], confirmation=[0.9, 0.9])
    texts = [section(study.tables(), name) for name in ("#### Gaussian", "### Confirmation")]
    assert not [text for text in texts if "†" in text]
    shutil.rmtree(study.results / "fixed-1")
    study.put("fixed-1", [0.3, 0.6, None], confirmation=[0.3, 0.6], precision="bf16")
    texts = [section(study.tables(), name) for name in ("#### Gaussian", "### Confirmation")]
    for text, spread in zip(texts, ("+0.667 †", "+0.500 †"), strict=True):
        assert table(text)["r=0.50"]["difference"] == spread
        assert "- † part of the difference may be" in text


def test_the_papers_figures_stand_beside_the_choice(study):
    study.has(ROWS | {"macer": ("range", 'policy = "search"')})
    study.put("fixed-2", [0.3, 0.3], validation=[0.3, 0.3])
    study.put("ds-1", [0.3, 0.3], validation=[0.3, 0.3])
    study.put("fixed-2-old", [0.3])
    text = study.tables()
    gaussian = table(section(text, "#### Gaussian"))
    every = table(section(text, "#### All methods"))
    keys = ("paper: fixed", "paper: DS or DS2")
    # Cohen .401 and -DS2 .504 at 0.5; of all, MACER-DS2 has the best DS2 at 0
    assert [gaussian["r=0.50"][key] for key in keys] == ["0.401", "0.504"]
    assert [gaussian["ACR"][key] for key in keys] == ["0.591", "0.784"]
    assert [every["r=0.00"][key] for key in keys] == ["0.799", "0.824"]
    assert "Results of no row, not used: fixed-2-old." in text


def test_a_choice_among_classifiers_is_no_fixed_baseline_of_single_ones(study):
    several = {"any": ("one range", 'policy = "search"')}
    several["any-fixed"] = ("one range", 'policy = "search"\nlow = 0.25\nhigh = 0.25')
    study.has(ROWS | {"macer": ("range", 'policy = "search"')} | several)
    for name, radius in (("fixed-1", 0.3), ("ds-1", 0.6), ("any", 0.9), ("any-fixed", 0.8)):
        study.put(name, [radius, radius], validation=[radius, radius])
    text = study.tables()
    pairs = {
        heading: [
            table(section(text, f"#### {heading}"))["ACR"][key] for key in ("fixed", "chosen row")
        ]
        for heading in ("All methods", "One classifier", "Gaussian", "One of several by input")
    }
    assert pairs == {
        "All methods": ["0.300", "0.900"],
        "One classifier": ["0.300", "0.600"],
        "Gaussian": ["0.300", "0.600"],
        "One of several by input": ["0.800", "0.900"],
    }


def test_between_the_radii_of_a_grid_nothing_is_claimed(study):
    grid = [0.0, 0.25, 0.5]
    study.put("fixed-1", [0.3, 0.3], validation=[0.3, 0.3], at_radii=grid)
    study.put("ds-1", [0.6, 0.6], validation=[0.6, 0.6])
    text = study.tables()
    rows = table(section(text, "### All rows"))
    keys = ("ACR", "n", "r=0.25", "r=0.75")
    stopped = ["at least 0.300", "at most 1234", "1.000", "-"]
    assert [rows["Row fixed-1"][key] for key in keys] == stopped
    assert [rows["Row ds-1"][key] for key in keys] == ["0.600", "1234", "1.000", "0.000"]
    chosen = table(section(text, "#### Gaussian"))
    assert chosen["r=0.75"]["strongest fixed sigma"] == "-"
    assert chosen["r=0.75"]["difference"] == "-"
    assert [chosen["ACR"][key] for key in ("fixed", "chosen row")] == ["at least 0.300", "0.600"]
    envelope = table(section(text, "envelope"))["Gaussian, fixed sigma"]
    assert [envelope[key] for key in ("r=0.50", "r=0.75")] == ["0.000", "-"]
    assert envelope["ACR of the best by input"] == "at least 0.300"


def test_what_is_missing_is_named_and_the_rest_is_made(study):
    study.put("fixed-1", [0.25, None, None, None])  # a radius that is reached counts
    study.put("ds-2", [0.3, 0.3])
    (study.results / "ds-2" / "summary.json").unlink()  # only half is there yet
    text = study.tables()
    assert "Certified on test inputs: 1 of 4 rows. Missing: `fixed-2`, `ds-1`, `ds-2`." in text
    assert "Certified on validation inputs: 0 of 2 rows to choose from." in text
    rows = table(section(text, "### All rows"))
    assert list(rows) == ["Row fixed-1"]
    expected = {"model": "one", "policy": "fixed", "inputs": "4", "alpha": "0.001"}
    expected |= {"ACR": "0.062", "r=0.25": "0.250", "votes per input": "300"}
    expected |= {
        "clean accuracy": "0.625",
        "abstained": "0",
        "trimmed": "-",
        "wrong at r=0.50": "3",
    }
    assert {key: rows["Row fixed-1"][key] for key in expected} == expected
    # Clopper-Pearson for 1 of 4 reaches from 0.0063 to 0.8059; for 0 of 4 to 0.6024
    assert "reach at most 0.603 to either side" in section(text, "### All rows")
    assert table(section(text, "envelope"))["Gaussian-DS"]["r=0.25"] == "-"
    assert (study.out / "curves-l2.png").exists()
    assert "No row with a sigma for each input is certified yet." in text


def test_kinds_and_norms_follow_from_the_model(study):
    rows = {
        "fixed": ("each", 'policy = "fixed"'),
        "ds": ("one", 'policy = "gradient"\nsteps = 900'),
        "ds2": ("each", 'policy = "search"'),
        "range": ("range", 'policy = "search"'),
        "any": ("one range", 'policy = "search"'),
        "any-fixed": ("one range", 'policy = "search"\nlow = 0.25\nhigh = 0.25'),
        "any-ds2": ("one each", 'policy = "search"'),
        "box": ("box", 'policy = "search"\nnoise = "uniform"'),
    }
    study.has(rows)
    for name in rows:
        study.put(name, [0.3])
    found = [(e.kind, e.norm, e.method) for e in study.entries()]
    kinds = [(kind, "l2", "gaussian") for kind in ("fixed", "DS", "DS2")]
    others = [("range", "l2", "macer"), ("DS", "l2", "several"), ("fixed", "l2", "several")]
    others += [("DS2", "l2", "several"), ("DS", "l1", "uniform")]
    assert found == [*kinds, *others]
    l2, l1 = study.tables().split("## l1")
    assert list(table(section(l2, "### All rows"))) == [f"Row {n}" for n in rows if n != "box"]
    assert table(section(l2, "### All rows"))["Row ds"]["policy"] == "Algorithm 1, K = 900"
    assert list(table(section(l1, "### All rows"))) == ["Row box"]
    assert table(section(l1, "envelope"))["Yang-DS (paper)"]["r=1.00"] == "0.580"
    assert (study.out / "curves-l1.png").exists()


def test_results_that_cannot_be_used_leave_the_tables_as_they_are(study):
    study.put("fixed-1", [0.3], validation=[0.3])
    study.put("ds-1", [0.3], validation=[0.3])
    before = study.tables()
    assert table(section(before, "#### Gaussian"))["ACR"]["95 % interval"] == "-"  # of one input
    path = study.results / "ds-1" / "certificates.parquet"
    other = pq.read_table(path).to_pylist()[0] | {"index": 7}
    pq.write_table(pa.Table.from_pylist([other]), path)
    with pytest.raises(DDRSError, match=r"no input is in all of .*certify them on the same data"):
        study.tables()
    path.write_bytes(b"PAR1")
    with pytest.raises(DDRSError, match="damaged"):
        study.tables()
    assert (study.out / "tables.md").read_text() == before


def test_the_command_writes_where_it_is_told_or_says_why_not(study):
    study.put("fixed-1", [0.3])
    out, file = study.folder / "else" / "where", study.plan / "rows" / "ds-1.toml"
    main(["--out", str(out)])
    assert "Row fixed-1" in (out / "tables.md").read_text()
    with pytest.raises(SystemExit, match=r"error: cannot write in .*choose another --out"):
        main(["--out", str(file)])
    shutil.rmtree(study.results)
    with pytest.raises(SystemExit, match=r"error: there are no results in .*study.py run"):
        main(["--out", str(out)])


def test_the_study_itself_is_read_before_any_row_is_done(tmp_path):
    (tmp_path / "results").mkdir()
    build(PLAN, tmp_path, tmp_path / "out")
    text = (tmp_path / "out" / "tables.md").read_text()
    entries = read_study(PLAN, tmp_path / "results")
    rows = [entry.name for entry in entries]
    assert not [e.name for e in entries if e.candidate and e.options["policy"] != "search"]
    assert not [e.name for e in entries if e.candidate and e.kind == "fixed"]
    assert f"Certified on test inputs: 0 of {len(rows)} rows." in text
    assert all(f"`{name}`" in text for name in rows)
    assert text.count("No row is certified yet.") == 6  # three tables, l2 and l1


def test_results_of_another_row_are_refused(study):
    study.put("ds-1", [0.3])
    study.has({"ds-1": ("one two", 'policy = "search"')})
    with pytest.raises(DDRSError, match=r"ds-1 was certified with models \['one'\], not"):
        study.tables()
    for options, said in (
        ('policy = "gradient"', "policy search"),
        ('policy = "search"\nlow = 0.125', "low None"),
        ('policy = "search"\nselection = "all"', "selection first"),
        ('policy = "search"\nnoise = "uniform"', "noise gaussian"),
    ):
        study.has({"ds-1": ("one", options)})
        with pytest.raises(DDRSError, match=f"with {said}, not as its row says: certify it again"):
            study.tables()
    study.has({"ds-1": ("one", 'policy = "search"')})
    assert "Row ds-1" in study.tables()


def test_a_row_is_chosen_by_what_its_own_classifier_certifies(study):
    study.put("fixed-1", [0.3])
    study.put("ds-1", [0.3], validation=[0.3], training="first", validated="second")
    text = study.tables()
    assert "Certified on validation inputs: 0 of 2 rows to choose from." in text
    assert "No row can be chosen" in text

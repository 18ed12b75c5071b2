"""The figures of the study, from made-up certificates."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from ddrs.engines.local.certify import certify_run
from ddrs.jobs.certify import CertifyJob
from experiments.cifar10.report import figures
from experiments.cifar10.report.deployable import headline
from support.study import ROWS, study

__all__ = ["study"]  # a fixture


def test_the_headline_is_of_a_row_chosen_on_validation_inputs_beside_the_strongest_fixed(study):
    study.has(
        {
            "fixed-1": ("one", 'policy = "fixed"', False),
            "fixed-2": ("two", 'policy = "fixed"', False),
            "ds": ("one", 'policy = "search"'),
            "either": ("one two", 'policy = "search"'),
        }
    )
    study.put("fixed-1", [0.3, 0.3, 0.3, None])
    study.put("fixed-2", [0.8, 0.8, None, None])
    study.put("ds", [0.6, None, None, None], validation=[0.9, 0.9, 0.9, 0.9])
    entries = study.entries()
    assert headline(entries[:2], "l2") is None
    _, _, figure = headline(entries, "l2")
    lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}
    assert list(lines) == ["Row ds", "strongest fixed sigma at each radius"]

    study.put("either", [1.1, 0.2, 1.3, None], validation=[2.0] * 4, sigma=[0.1, 0.2, 0.3, 0.4])
    entries = study.entries()
    _, caption, figure = headline(entries, "l2")
    left, right = figure.axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in left.lines}
    assert lines == {
        "Row either": [0.75, 0.5, 0.5, 0.5, 0.5, 0.25, 0, 0, 0],
        "Row ds": [0.25, 0.25, 0.25, 0, 0, 0, 0, 0, 0],
        # fixed-1 up to 0.25, then fixed-2
        "strongest fixed sigma at each radius": [0.75, 0.75, 0.5, 0.5, 0, 0, 0, 0, 0],
    }
    points = right.collections[0].get_offsets()
    assert np.allclose(points, [(0.1, 1.1), (0.2, 0.2), (0.3, 1.3)])  # the wrong answer left out
    assert "inputs that Row either answers rightly" in caption
    assert "![headline](headline-l2.png)" in study.tables()
    assert (study.out / "headline-l2.png").exists()


def test_curves_are_the_best_row_at_each_radius(study):
    study.put("fixed-1", [0.3, 0.3, None], at_radii=[0, 0.25, 0.5, 1, 1.5])
    study.put("fixed-2", [0.8, None, None], at_radii=[0, 0.25, 0.5, 0.75, 1, 1.5])
    entries = [e for e in study.entries() if e.test]
    _, _, figure = figures.draw_curves(entries, "l2")
    (axes,) = figure.axes
    best = axes.lines[-1]
    assert best.get_label() == "fixed, best of 2"
    # the radii that both were asked, up to the first one that nobody reaches
    assert best.get_xdata().tolist() == [0, 0.25, 0.5, 1]
    assert best.get_ydata().tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0])


def test_steps_are_compared_for_rows_that_differ_in_nothing_else(study):
    steps = 'policy = "gradient"\nsteps = '
    rows = {
        "k900": ("one", f"{steps}900"),
        "k100": ("one", f"{steps}100"),
        "other model": ("two", f"{steps}300"),
        "other draws": ("one", f"{steps}300\ndraws = 8"),
        "fixed-1": ("one", 'policy = "fixed"'),
        "k50": ("one", f"{steps}50"),
    }
    study.has(rows)
    for name, radius in zip(rows, (0.6, 0.3, 0.3, 0.3, 0.1, 0.3), strict=True):
        study.put(name, [radius, None], training="another" * (name == "k50"))
    entries = study.entries()
    _, _, figure = figures.draw_steps(entries)
    (axes,) = figure.axes
    lines = {bars.get_label(): bars.lines[0].get_xydata().tolist() for bars in axes.containers}
    assert lines["0.25"] == [[0, 0], [100, 0.5], [900, 0.5]]
    assert lines["0.5"] == [[0, 0], [100, 0], [900, 0.5]]
    _, reason, figure = figures.draw_steps(entries[1:])
    assert "No two rows that differ only in K" in reason
    assert figure is None


def test_gains_are_over_the_fixed_sigma_of_the_same_model(study):
    either = ("one two", 'policy = "search"\nlow = 0.25\nhigh = 0.25')
    study.has(ROWS | {"any-fixed": either})
    study.put("any-fixed", [0.9, 0.9, 0.9, 0.9])
    study.put("fixed-1", [0.3, 0.5, None, 0.2], sigma=0.25)
    study.put("fixed-2", [9.0, 9.0, 9.0, 9.0], sigma=0.5)
    study.put("ds-1", [0.5, None, 0.25], sigma=[0.4, 0.5, 0.6])
    study.put("ds-2", [0.5, None, 0.25], training="another")
    entries = [e for e in study.entries() if e.test]
    fixed = [e for e in entries if e.kind == "fixed"]
    assert len(fixed) > 1  # also the choice among models, which is of no model's own
    _, _, figure = figures.draw_gains([e for e in entries if e.kind != "fixed"], fixed, "l2")
    (axes,) = figure.axes
    points = axes.collections[0].get_offsets()
    assert np.allclose(points, [(0.4, 0.2), (0.5, -0.5), (0.6, 0.25)])
    assert axes.get_title() == "Row ds-1\n2 gain, 1 lose, mean -0.017"


def test_examples_and_orders_need_the_data_and_are_left_out_without(study, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.random((20, 3, 1, 2)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=images, y=np.arange(20) % 3)
    data = f"npz:{tmp_path / 'data.npz'}"
    job = CertifyJob(data, "py:support.toy:linear", policy="search", sigma=0.5, n=50, seed=1)
    certify_run(job, study.results / "ds-1", quiet=True)
    config = study.results / "ds-1" / "config.json"
    config.write_text(config.read_text().replace("py:support.toy:linear", "runs/models/one"))
    rows = pq.read_table(study.results / "ds-1" / "certificates.parquet").to_pylist()
    entries = [e for e in study.entries() if e.test]
    _, _, figure = figures.draw_examples(entries[0])
    shown = [axes.get_xlabel().split("\n")[1] for axes in figure.axes]
    ascending = sorted(f"{row['sigma']:.3f}" for row in rows)
    assert shown == ascending[:8] + ascending[6:14] + ascending[-8:]
    first = min(rows, key=lambda row: (row["sigma"], row["index"]))
    image = figure.axes[0].images[0].get_array()
    assert np.array_equal(image, np.moveaxis(images[first["index"]], 0, -1))
    assert figure.axes[0].get_xlabel().startswith(figures.CLASSES[first["label"]])
    shown = sorted(rows, key=lambda row: (row["sigma"], row["index"]))
    shown = [*shown[:8], *shown[6:14], *shown[-8:]]
    wrong = [axes.xaxis.label.get_color() == figures.WRONG for axes in figure.axes]
    assert wrong == [not row["correct"] for row in shown]
    assert 0 < sum(wrong) < len(wrong)
    other = figure.axes[wrong.index(True)].get_xlabel()
    answer = shown[wrong.index(True)]["prediction"]
    assert f"({'abstained' if answer < 0 else figures.CLASSES[answer]})" in other
    text = study.tables()
    assert "over 10 shuffled orders" in text
    assert {"examples-l2.png", "orders-l2.png"} <= {path.name for path in study.out.iterdir()}
    (tmp_path / "data.npz").unlink()
    text = study.tables()
    assert "No pictures of examples: " in text
    assert "Other orders cannot be tried: " in text
    assert "examples-l2.png" not in text

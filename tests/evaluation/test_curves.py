import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from ddrs.errors import InputError, RunError
from ddrs.evaluation.curves import certified_accuracy_figure, draw_certified_accuracy
from ddrs.evaluation.metrics import accuracy_interval, certified_accuracy
from ddrs.proof.certificate import Certificate
from ddrs.runs.rows import CertifiedRow, LoggedRow
from ddrs.runs.table import EvaluatedRun

ROWS = [
    LoggedRow(0, 1, 1, 0.5, True),
    LoggedRow(1, 1, 1, 0.25, True),
    LoggedRow(2, 1, 2, 2.0, False),
    LoggedRow(3, 1, 1, 0.5, True),
    LoggedRow(4, 1, -1, 0.0, False),
]
SIGMAS = [0.2, 0.3, 0.4, 0.5, 0.9]


def certified(name: str, sigmas: Sequence[float]) -> EvaluatedRun:
    rows = [
        CertifiedRow(
            index=row.index,
            label=row.label,
            correct=row.correct,
            clean_prediction=1,
            certificate=Certificate(
                prediction=row.prediction, radius=row.radius, outcome="own",
                own_prediction=row.prediction, own_radius=row.radius, sigma=sigma, norm="l2",
                bound="one-sided", p_lower=0.9, p_upper=0.1, count=95, runner_up=5, n=100, n0=10,
                alpha=0.001, votes=110, input_digest="", model_digest="", seed=0, version="0",
            ),
        )
        for row, sigma in zip(ROWS, sigmas, strict=True)
    ]  # fmt: skip
    return EvaluatedRun(name, rows, None)


FIXED = certified("fixed", [0.25] * 5)
CHOSEN = certified("chosen", SIGMAS)
LOG = EvaluatedRun("log", ROWS, None)


def test_curve_is_the_certified_accuracy() -> None:
    left, _ = draw_certified_accuracy([LOG]).axes
    (line,) = left.lines
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())

    assert x.tolist() == [0.0, 0.25, 0.5, 0.5]
    assert y[:-1].tolist() == certified_accuracy(ROWS, x[:-1]).tolist() == [0.6, 0.6, 0.4]
    assert y[-1] == 0  # nothing is certified past the largest radius
    assert line.get_drawstyle() == "steps-pre"


def test_band_is_the_interval_at_each_radius() -> None:
    left, _ = draw_certified_accuracy([LOG]).axes
    (band,) = left.collections[0].get_paths()

    for radius, hits in ((0.1, 3), (0.24, 3), (0.26, 2), (0.49, 2)):
        low, high = accuracy_interval(hits, 5)
        heights = (low - 1e-6, low + 1e-6, high - 1e-6, high + 1e-6)
        inside = [band.contains_point((radius, height)) for height in heights]
        assert inside == [False, True, True, False]


def test_legend_axes_and_colours() -> None:
    left, right = draw_certified_accuracy([EvaluatedRun("_a$b$", ROWS, None), CHOSEN]).axes
    legend = left.get_legend()

    assert legend is not None
    # ACR = 1.25 / 5
    assert [text.get_text() for text in legend.get_texts()] == [
        "ACR 0.250  _a$b$",
        "ACR 0.250  chosen",
    ]
    assert len({to_hex(line.get_color()) for line in left.lines}) == 2
    assert left.get_xlabel() == "l2 radius (pixel values in [0, 1])"
    assert left.get_ylim() == (0, 1)
    assert right.get_xlabel() == "sigma (pixel values in [0, 1])"


@pytest.mark.parametrize(("norm", "start"), [("l1", "l1 radius"), (None, "radius")])
def test_the_norm_is_named_where_there_is_one(norm: str | None, start: str) -> None:
    left, _ = draw_certified_accuracy([LOG], norm=norm).axes

    assert left.get_xlabel().startswith(start)


def test_sigmas_are_drawn_as_they_are() -> None:
    _, right = draw_certified_accuracy([FIXED, CHOSEN, LOG]).axes
    fixed, median = right.lines
    (dots,) = right.collections
    (box,) = right.patches

    assert list(fixed.get_xdata()) == [0.25, 0.25]
    assert list(median.get_xdata()) == [0.4, 0.4]
    assert np.asarray(dots.get_offsets())[:, 0].tolist() == SIGMAS
    assert np.all(np.abs(np.asarray(dots.get_offsets())[:, 1] - 1) < 0.25)
    assert (box.get_x(), box.get_width()) == pytest.approx((0.3, 0.2))
    assert [text.get_text() for text in right.texts] == [
        "fixed: fixed at 0.25",
        "chosen: median 0.4, 0.2 to 0.9",
        "log: sigma not recorded",
    ]


def test_a_long_name_keeps_its_end() -> None:
    name = "cifar10__resnet110__noise_0.12__test__sigma_0.50"
    left, right = draw_certified_accuracy([EvaluatedRun(name, ROWS, None)]).axes
    legend = left.get_legend()

    assert legend is not None
    assert name in legend.get_texts()[0].get_text()
    assert right.texts[0].get_text() == f"…{name[-29:]}: sigma not recorded"


def test_more_runs_than_colours_still_differ() -> None:
    left, _ = draw_certified_accuracy([EvaluatedRun(f"run {i}", ROWS, None) for i in range(9)]).axes

    assert len({(to_hex(line.get_color()), line.get_linestyle()) for line in left.lines}) == 9


def test_a_run_that_certifies_nothing_is_a_flat_line() -> None:
    rows = [LoggedRow(0, 1, -1, 0.0, False)]
    left, _ = draw_certified_accuracy([EvaluatedRun("nothing", rows, None)]).axes

    assert list(left.lines[0].get_ydata()) == [0.0, 0.0]


def test_the_file_is_a_whole_png(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"an older figure")

    odd = EvaluatedRun(r"not $\frac$ mathematics", ROWS, None)
    certified_accuracy_figure([FIXED, CHOSEN, odd], path)

    with Image.open(io.BytesIO(path.read_bytes())) as image:
        image.load()
        assert image.format == "PNG"
        assert image.size == (1260, 480)
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


def test_the_same_runs_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        certified_accuracy_figure([CHOSEN], tmp_path / name)

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_refused_figure_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"an older figure")

    with pytest.raises(InputError, match="at least one run"):
        certified_accuracy_figure([], path)
    with pytest.raises(InputError, match="no rows"):
        certified_accuracy_figure([EvaluatedRun("empty", [], None)], path)

    assert path.read_bytes() == b"an older figure"


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "figure.png").mkdir()

    for path in (tmp_path / "nowhere" / "figure.png", tmp_path / "figure.png"):
        with pytest.raises(RunError, match="cannot write the figure"):
            certified_accuracy_figure([LOG], path)

    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


def test_of_very_many_runs_the_first_are_drawn() -> None:
    left, right = draw_certified_accuracy(
        [EvaluatedRun(f"{i}", ROWS, None) for i in range(1500)]
    ).axes

    assert "the first 40 of 1500" in left.get_title()
    assert len(right.texts) == 40

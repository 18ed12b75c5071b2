"""The choice among certificates, against counts that the logs do not show."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from ddrs.errors import ConfigurationError, InputError
from ddrs.finished.choice import choose, sigma_in_name
from ddrs.runs.table import EvaluatedRun, read_run
from support.certified import certified

N, ALPHA = 1000, 0.001
LABEL = 1


def reference(counts: npt.ArrayLike, n: int, alpha: float, sigma: float) -> npt.NDArray[np.float64]:
    """Cohen's radius from the quantile of the Beta distribution; 0 where nothing is proved."""
    counts = np.asarray(counts)
    lower = stats.beta.ppf(alpha, counts, n - counts + 1)
    return np.maximum(0.0, sigma * stats.norm.ppf(lower))


def log(path: Path, radii: Iterable[float], form: str = ".3", predict: int = LABEL) -> EvaluatedRun:
    lines = [
        f"{index}\t{LABEL}\t{predict if radius > 0 else -1}\t{radius:{form}}"
        for index, radius in enumerate(radii)
    ]
    path.write_text("\n".join(["idx\tlabel\tpredict\tradius", *lines]))
    return read_run(path)


@pytest.fixture
def counts() -> npt.NDArray[np.int64]:
    return np.random.default_rng(5).binomial(N, [0.6, 0.8, 0.95, 0.999], size=(50, 4)).ravel()


@pytest.mark.parametrize("form", [".3", ".4f", ".2f", ""])
def test_the_choice_lies_between_its_figures(
    tmp_path: Path, counts: npt.NDArray[np.int64], form: str
) -> None:
    sigmas = (0.25, 0.5)
    votes = (counts, counts[::-1])
    runs = [
        log(tmp_path / f"noise_{sigma}.tsv", reference(some, N, ALPHA, sigma), form)
        for sigma, some in zip(sigmas, votes, strict=True)
    ]
    exact = np.max(
        [
            np.where(reference(c, N, ALPHA, s) > 0, reference(c, N, ALPHA / 2, s), 0)
            for s, c in zip(sigmas, votes, strict=True)
        ],
        axis=0,
    )

    found = choose(runs, n=N, alpha=ALPHA)
    lower, upper = (
        np.array([row.radius for row in run.rows]) for run in (found.lower, found.upper)
    )

    assert (lower <= exact * (1 + 1e-9)).all()
    assert (upper >= exact * (1 - 1e-9)).all()
    if form == "":  # every digit: nothing is open
        np.testing.assert_allclose(lower, exact, rtol=1e-9)
        assert found.lower.rows == found.upper.rows
    assert (upper - lower).max() < {".3": 0.01, ".4f": 0.01, ".2f": 0.05, "": 1e-9}[form] + 0.1


def test_what_is_chosen_holds_with_the_confidence_of_one(tmp_path: Path) -> None:
    inputs, n, alpha, sigma, p = 4000, 200, 0.3, 0.5, 0.9
    generator = np.random.default_rng(11)
    runs = []
    for name in "abc":
        radii = reference(generator.binomial(n, p, size=inputs), n, alpha, sigma)
        runs.append(log(tmp_path / f"{name}_sigma_{sigma}", radii))
    true = sigma * stats.norm.ppf(p)

    def false(rows: Iterable[float]) -> int:
        return sum(radius > true for radius in rows)

    found = choose(runs, n=n, alpha=alpha)
    # Were the share of false claims alpha, more than this would be seen once in a million tries.
    limit = stats.binom.isf(1e-6, inputs, alpha)
    assert false(row.radius for row in found.lower.rows) <= limit
    unpaid = zip(*(run.rows for run in runs), strict=True)
    assert false(max(row.radius for row in rows) for rows in unpaid) > limit


def test_the_first_that_does_not_abstain_gives_the_class(tmp_path: Path) -> None:
    wide = reference([900], N, ALPHA, 1.0)[0]
    first = log(tmp_path / "sigma_1_a", [0.0, wide])
    wider = reference([990], N, ALPHA, 1.0)[0]  # but of another class
    second = log(tmp_path / "sigma_1_b", [wide, wider], predict=2)
    third = log(tmp_path / "sigma_1_c", [wide, wide / 3])

    found = choose([first, second, third], n=N, alpha=ALPHA).lower

    assert [(row.prediction, row.correct) for row in found.rows] == [(2, False), (1, True)]
    paid = reference([900], N, ALPHA / 3, 1.0)[0]
    assert found.rows[1].radius == pytest.approx(paid, abs=0.01)


def test_a_radius_between_two_counts_is_rounded_down_and_told(tmp_path: Path) -> None:
    low, high = reference([900, 901], N, ALPHA, 0.25)
    runs = [log(tmp_path / f"{k}_sigma_0.25", [(low + 2 * high) / 3], "") for k in "ab"]

    found = choose(runs, n=N, alpha=ALPHA)

    (row,) = found.lower.rows
    assert row.radius == pytest.approx(reference([900], N, ALPHA / 2, 0.25)[0])
    assert "1 radii fit no count" in found.note


def test_without_n_or_alpha_or_sigma_there_is_an_upper_figure_alone(tmp_path: Path) -> None:
    radii = reference([900, 990], N, ALPHA, 0.25)
    runs = [log(tmp_path / "sigma_0.25", radii, ""), log(tmp_path / "sigma_0.5", radii / 2, "")]
    nameless = [log(tmp_path / name, radii, "") for name in "ab"]

    for found in (choose(runs), choose(runs, n=N), choose(nameless, n=N, alpha=ALPHA)):
        assert [row.prediction for row in found.lower.rows] == [-1, -1]
        assert [row.radius for row in found.upper.rows] == pytest.approx(radii)
    assert "nothing counts in the lower figure" in choose(runs).note
    assert "a: sigma not known" in choose(nameless).note


def test_a_column_of_sigmas_goes_before_the_name(tmp_path: Path) -> None:
    radius = reference([900], N, ALPHA, 0.5)[0]
    text = f"label,predict,radius,sigma\n1,1,{radius},0.5\n"
    for name in ("sigma_0.25", "noise_0.12"):
        (tmp_path / name).write_text(text)

    found = choose([read_run(tmp_path / name) for name in ("sigma_0.25", "noise_0.12")],
                   n=N, alpha=ALPHA)  # fmt: skip

    (row,) = found.lower.rows
    assert row.radius == pytest.approx(reference([900], N, ALPHA / 2, 0.5)[0])
    assert found.figures([], [0.0])[0].sound_together is False


@pytest.mark.parametrize(("n", "alpha", "sigma"), [(100, ALPHA, 0.25), (N, ALPHA, 0.12)])
def test_a_radius_that_no_votes_prove_is_refused(
    tmp_path: Path, n: int, alpha: float, sigma: float
) -> None:
    runs = [log(tmp_path / f"{k}_sigma_{sigma}", reference([999], N, ALPHA, 0.25)) for k in "ab"]

    with pytest.raises(ConfigurationError, match=rf"radius 0\.\d+, which {n} votes cannot"):
        choose(runs, n=n, alpha=alpha)


def test_runs_pay_from_their_own_counts() -> None:
    first = EvaluatedRun("fixed", [certified(count=990)], None)
    looked = certified(count=985, sigma=0.5, looks=4, outcome="trimmed", radius=0.1)
    found = choose([first, EvaluatedRun("search", [looked], None)])

    assert found.lower.rows == found.upper.rows
    (row,) = found.lower.rows
    assert row.radius == pytest.approx(reference([985], N, ALPHA / 2 / 4, 0.5)[0])
    assert (row.sigma, found.n, found.alpha, found.norm) == (0.5, N, ALPHA, "l2")


def test_the_alpha_of_runs_is_that_of_all_their_evidence() -> None:
    row = certified(count=990)
    half = replace(row.certificate, alpha=ALPHA / 2)
    whole = replace(half, further=(replace(half.parts[0], role="route"),))
    run = EvaluatedRun("routed", [replace(row, certificate=whole)], None)
    assert choose([run, run]).alpha == ALPHA


def test_logs_of_other_inputs_or_norms_are_refused(tmp_path: Path) -> None:
    first = log(tmp_path / "a", [0.5, 0.5])
    partial = log(tmp_path / "b", [0.5])
    (tmp_path / "c").write_text("label,predict,linf_radius\n1,1,0.5\n1,1,0.5\n")
    other = read_run(tmp_path / "c")

    with pytest.raises(InputError, match="b is not of the inputs of a"):
        choose([first, partial])
    for runs in ([first, other], [other, other]):
        with pytest.raises(InputError, match="radii in l"):
            choose(runs)
    with pytest.raises(InputError, match="at least two"):
        choose([first])


@pytest.mark.parametrize(
    ("path", "sigma"),
    [
        ("cifar10__noise_0.12__test__sigma_0.50.tsv", 0.5),
        ("gaussian/noise_1.0.tsv", 1.0),
        ("noise_0.25/test/sigma_0.5", 0.5),
        ("noise_0.25/test/log", 0.25),
        ("sigma=.tsv", None),
        ("sigma_0", None),
        ("log.tsv", None),
    ],
)
def test_the_sigma_of_a_log_stands_in_its_name(path: str, sigma: float | None) -> None:
    assert sigma_in_name(Path("/logs") / path) == sigma


@pytest.mark.parametrize("label", [LABEL, None])
def test_runs_of_other_inputs_with_the_same_labels_are_refused(label: int | None) -> None:
    correct = None if label is None else True
    runs = [
        EvaluatedRun(name, [certified(label=label, correct=correct, input_digest=name)], None)
        for name in ("a", "b")
    ]
    with pytest.raises(InputError, match="b is not of the inputs of a"):
        choose(runs)

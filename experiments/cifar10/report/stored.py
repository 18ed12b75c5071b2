"""The rows of the CIFAR-10 study, read back with what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ddrs.errors import RunError
from ddrs.jobs.config import CertifyConfig
from ddrs.noise.distributions import NOISES
from ddrs.runs.directory import read_config
from ddrs.runs.table import EvaluatedRun, read_run
from experiments.cifar10.study import read, read_rows

KEPT = ("config.json", "summary.json", "certificates.parquet")

SEVERAL, RELATIVE = "several", "relative"
METHODS = {
    "gaussian": "Gaussian",
    "smoothadv": "SmoothAdv",
    RELATIVE: "SmoothAdv in proportion to sigma",
    "macer": "MACER",
    SEVERAL: "One of several by input",
    "uniform": "Uniform",
}
KINDS = {"fixed": ", fixed sigma", "DS": "-DS", "DS2": "-DS2", "range": " on a range"}

Input = tuple[int, int]
"""Index and label: rows are compared on the inputs that they share."""


@dataclass(frozen=True)
class Certified:
    """What came of one certification.

    Attributes:
        path: its folder.
        run: its rows and summary, under the title of the row.
        config: what was asked.
        right: the radius of an input that was answered correctly; -1, short of every radius, for
            the others.
        sigma: of each input.
    """

    path: Path
    run: EvaluatedRun
    config: CertifyConfig
    right: dict[Input, float]
    sigma: dict[Input, float]

    @property
    def grid(self) -> tuple[float, ...] | None:
        """The only radii that the votes were to settle, between which radii are low; None: all."""
        return self.config.at_radii

    @property
    def models(self) -> list[str]:
        """Names of the classifiers that an input could get."""
        return [Path(spec).name for spec in (self.config.model, *self.config.alternatives)]

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each of these classifiers: two trainings of one model have two."""
        return dict(zip(self.models, self.config.model_digests, strict=True))

    def scores(self, radius: float | None, inputs: Iterable[Input]) -> npt.NDArray[Any] | None:
        """By input, 1 if it is certified at the radius, else 0; for None what it adds to the ACR.

        None if the radius was not asked.
        """
        right = np.array([self.right[one] for one in inputs])
        if radius is None:
            return np.maximum(right, 0.0)
        if self.grid is not None and radius not in self.grid:
            return None
        return (right >= radius).astype(np.float64)

    def mean(self, radius: float | None, inputs: Iterable[Input]) -> float | None:
        """The certified accuracy at a radius, the ACR for None; None if that was not asked."""
        scores = self.scores(radius, inputs)
        return None if scores is None else float(scores.mean())


@dataclass(frozen=True)
class Entry:
    """A row of the study: what its files say, and what came of it, as far as it is there.

    `model` names all of them where there are several. `method` is the noise where that is not
    Gaussian, `several` where each input gets one of several classifiers, and `relative` for
    SmoothAdv that attacks in proportion to sigma. `sigma` is that of the (first) model's training.
    `kind` is `fixed`, also where the search among
    classifiers has one sigma to choose, or, where sigma is chosen for each input, how the model was
    trained: DS with one sigma, DS2 (one of several at least) with one for every example, `range` on
    a range of them.
    `candidate` is whether the row may be chosen on validation inputs, `confirm` whether it is to be
    certified on the confirmation inputs too.
    """

    name: str
    title: str
    model: str
    norm: str
    method: str
    sigma: float
    kind: str
    options: dict[str, Any]
    candidate: bool
    confirm: bool
    test: Certified | None
    validation: Certified | None
    confirmation: Certified | None


def read_study(plan: Path, results: Path) -> list[Entry]:
    """The rows of a plan in their order, with the results that there are."""
    return [read_entry(name, row, plan, results) for name, row in read_rows(plan).items()]


def read_entry(name: str, row: dict[str, Any], plan: Path, results: Path) -> Entry:
    """One row, with what its models' files say and the results that there are."""
    names = [row["model"], *row.get("alternatives", [])]
    model, *others = (read(plan / "models" / f"{each}.toml") for each in names)
    noise = model.get("noise", "gaussian")
    method = RELATIVE if "relative=true" in model.get("option", []) else model["method"]
    if "alternatives" in row:
        method = SEVERAL
    options = row["certify"]
    one_sigma = options["policy"] == "fixed" or 0 < options.get("low", 0) == options.get("high")
    kind = "range" if "sigma-range" in model else "DS"
    if any(each.get("data-dependent") for each in (model, *others)):
        kind = "DS2"
    folder = results / name
    test = read_certified(folder, row)
    validation, confirmation = (
        # none of classifiers that were trained anew since
        one if one is None or test is None or one.digests == test.digests else None
        for one in (read_certified(folder / part, row) for part in ("validation", "confirmation"))
    )
    return Entry(
        name=name,
        title=row["title"],
        model=" + ".join(names),
        norm=NOISES[noise].norm,
        method=method if noise == "gaussian" else noise,
        sigma=model["sigma"],
        kind="fixed" if one_sigma else kind,
        options=options,
        candidate=row.get("candidate", True),
        confirm=row.get("confirm", False),
        test=test,
        validation=validation,
        confirmation=confirmation,
    )


def read_certified(path: Path, row: dict[str, Any]) -> Certified | None:
    """The results of a row in a folder; None where they are not all there yet.

    Raises:
        RunError: they are damaged, or of a row with other models or options.
    """
    if not all((path / name).exists() for name in KEPT):
        return None
    found = read_run(path)
    config = CertifyConfig.from_json(read_config(path))
    inputs = [(one.index, one.label) for one in found.rows]
    radii = [one.radius if one.correct else -1.0 for one in found.rows]
    certified = Certified(
        path,
        replace(found, name=row["title"]),
        config,
        dict(zip(inputs, radii, strict=True)),
        dict(zip(inputs, found.sigmas or [], strict=True)),
    )
    asked = {"models": [row["model"], *row.get("alternatives", [])], **row["certify"]}
    had = {"models": certified.models, **options_had(config)}
    other = [f"{key} {had.get(key)}" for key, value in asked.items() if had.get(key) != value]
    if other:
        raise RunError(
            f"{path} was certified with {', '.join(other)}, not as its row says: certify it again"
        )
    return certified


def options_had(config: CertifyConfig) -> dict[str, Any]:
    """What a row's file says of `ddrs certify`, from the configuration of a certification."""
    names = {"initial": "sigma", "n": "draws", "votes": "search-votes"}
    settings = {names.get(key, key): value for key, value in asdict(config.policy).items()}
    also = {name: getattr(config, name) for name in ("noise", "precision", "selection")}
    return {"policy": config.policy_name, **settings, **also}


def joined(first: Certified, second: Certified) -> Certified:
    """Two certifications of a row as one; the inputs of the second come after all of the first."""
    after = 1 + max(index for index, _ in first.right)

    def both(one: dict[Input, float], other: dict[Input, float]) -> dict[Input, float]:
        return one | {(after + index, label): value for (index, label), value in other.items()}

    return replace(
        first, right=both(first.right, second.right), sigma=both(first.sigma, second.sigma)
    )


def shared(certified: Sequence[Certified]) -> list[Input]:
    """The inputs that all of these have, in order.

    Raises:
        RunError: there are none.
    """
    inputs = sorted(set.intersection(*({*one.right} for one in certified)))
    if not inputs:
        folders = ", ".join(str(one.path) for one in certified)
        raise RunError(f"no input is in all of {folders}: certify them on the same data")
    return inputs

"""A finished run read back: what was asked, the rows that came of it, and the inputs again."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa

from ddrs import data
from ddrs.data.dataset import Dataset
from ddrs.errors import DDRSError, RunError
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.files import read_parquet
from ddrs.jobs.checks import check_same_inputs
from ddrs.noise.distributions import NOISES, Norm
from ddrs.proof.certificate import Certificate
from ddrs.proof.stopping import Estimation, stopping_rule
from ddrs.runs.directory import CERTIFICATES, CONFIG, Row, read_config
from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.policy import check_range
from ddrs.sigma.search import SearchSigma

__all__ = ["Asked", "read_run"]

POLICIES = {"fixed": FixedSigma, "gradient": GradientSigma, "search": SearchSigma}

_KINDS: dict[object, Callable[[pa.DataType], bool]] = {
    int: pa.types.is_integer,
    float: pa.types.is_floating,
    bool: pa.types.is_boolean,
}
_COLUMNS = {
    **dict.fromkeys(("index", "label", "clean_prediction"), int),
    "correct": bool,
    **{name: kind for name, kind in get_type_hints(Certificate).items() if name != "further"},
}


@dataclass(frozen=True)
class Asked:
    """What the configuration of a run says about its rows.

    Attributes:
        inputs: how many there are.
        same: columns that have one value in all rows that the run made itself.
        model_digests: of the classifiers that there were to choose from, whoever made the row.
        norm: likewise.
        sigmas: the least and the largest sigma that the policy may choose.
        times: the numbers of votes at which an input may have stopped.
        summary: the settings of `summarise`.
        memory: `"run"`, `"none"` or a URL.
        read_only: whether nothing was stored in the memory.
        data: the dataset spec, and the split.
    """

    inputs: int
    same: dict[str, Any]
    model_digests: tuple[str, ...]
    norm: Norm
    sigmas: tuple[float, float]
    times: tuple[int, ...]
    summary: dict[str, Any]
    memory: str
    read_only: bool
    data: tuple[str, data.Split]

    @property
    def memory_is_its_own(self) -> bool:
        """Whether no other run can have made a row; one that others share answers with theirs."""
        return self.memory in ("none", "run")

    def load_data(self, rows: Iterable[Row]) -> Dataset:
        """The dataset that was certified, held against the rows.

        Raises:
            RunError: it is not there any more, or another one is.
        """
        try:
            dataset = data.load(*self.data)
            check_same_inputs(rows, dataset)
        except IndexError as error:
            raise RunError(f"{self.data[0]} has fewer inputs than were certified") from error
        except RunError:
            raise
        except DDRSError as error:
            raise RunError(
                f"the inputs that were certified are needed again and cannot be read: {error}"
            ) from error
        return dataset


def read_run(path: Path) -> tuple[Asked, list[Row]]:
    """The configuration and the rows of a finished run, checked for being there and readable.

    Raises:
        RunError: they are not.
    """
    config = read_config(path)
    if config.get("kind") != "certify":
        raise RunError(f"{path} is not a run of `ddrs certify`")
    try:
        asked = _asked(config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{path / CONFIG} is not what `ddrs certify` wrote ({error!r}): restore it from a copy"
        ) from error
    return asked, _read_rows(path / CERTIFICATES)


def _asked(config: Mapping[str, Any]) -> Asked:
    settings = dict(config["policy"])
    policy = POLICIES[settings.pop("name")](**settings)
    low, high = getattr(policy, "low", policy.initial), getattr(policy, "high", policy.initial)
    question = stopping_rule(config.get("at_radii"), config.get("radius_tolerance"))
    times = Estimation(config["n"], stopping=question).times
    return Asked(
        inputs=int(config["inputs"]),
        same={key: config[key] for key in ("n0", "alpha", "bound", "seed")} | {"looks": len(times)},
        model_digests=tuple(config.get("model_digests", [config["model_digest"]])),
        norm=NOISES[config["noise"]].norm,
        sigmas=check_range(policy.initial, low, high),
        times=times,
        summary={
            "radii": sorted({*DEFAULT_RADII, *(config.get("at_radii") or ())}),
            "n_at_most": config["n"],
            "question": None if question is None else str(question),
        },
        memory=config["memory"],
        read_only=bool(config.get("read_only")),
        data=(config["data"], config["split"]),
    )


def _read_rows(file: Path) -> list[Row]:
    if not file.exists():
        raise RunError(
            f"{file.parent} is not finished: run the same `ddrs certify` again, then audit"
        )
    try:
        table = read_parquet(file)
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{file} is damaged: {error}") from error
    for name, kind in _COLUMNS.items():
        if name not in table.column_names:
            if name in ("looks", "further"):
                continue
            raise RunError(f"{file} has no column {name}: restore it from a copy")
        fits = _KINDS.get(kind, pa.types.is_string)
        if not fits(table.schema.field(name).type) or table[name].null_count:
            raise RunError(f"the column {name} of {file} is damaged: restore it from a copy")
    return list(table.to_pylist())

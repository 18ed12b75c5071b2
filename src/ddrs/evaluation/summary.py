"""The figures of a run, as they are written to its `summary.json`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, TypeVar

from ddrs.display.rounding import radius_key
from ddrs.errors import InputError
from ddrs.evaluation.metrics import (
    DEFAULT_RADII,
    accuracy_interval,
    average_certified_radius,
    certified_hits,
)
from ddrs.proof.certificate import ABSTAIN

__all__ = ["INTERVAL_LEVEL", "certified_figures", "summarise"]

INTERVAL_LEVEL = 0.95

T = TypeVar("T")


def summarise(
    records: Sequence[Mapping[str, Any]],
    *,
    seconds: float,
    memory_entries: int | None,
    radii: Iterable[float] = DEFAULT_RADII,
    n_at_most: int | None = None,
    question: str | None = None,
) -> dict[str, Any]:
    """Summarise a run, in plain types that JSON can hold.

    Args:
        records: one mapping an input with the columns of `certificates.parquet`: `index`, `label`,
            `correct`, `clean_prediction`, `votes`, and every field of `Certificate`.
        seconds: time that the run took.
        memory_entries: answers stored in the memory; None when the run had no memory.
        radii: radii to give the certified accuracy at.
        n_at_most: the most estimation votes that an input could take; None where it is not known.
        question: when the estimation of an input stopped; None for a fixed number of votes.

    Returns:
        The summary. `clean_accuracy` is the base classifier's, without noise. `sound_together` is
        false when sigma or the base classifier differs between inputs and answers were not all held
        by a memory: each certificate then holds for its own smoothed classifier only. `n`, `n0`,
        `alpha` and `norm` are null where they differ between inputs.

    Raises:
        InputError: no records, or one without a needed column.
        ConfigurationError: a radius that is negative or not a number.
    """
    try:
        return {
            **_summarise(records, float(seconds), memory_entries, radii),
            "n_at_most": n_at_most,
            "question": question,
        }
    except KeyError as error:
        raise InputError(f"the records have no column {error.args[0]}") from error


def certified_figures(rows: Sequence[Any], radii: Iterable[float]) -> dict[str, Any]:
    """Certified accuracy at each radius with its interval, and the ACR, keyed as in a summary."""
    radii = list(radii)
    hits, inputs = certified_hits(rows, radii)
    counts = {radius_key(r): int(hit) for r, hit in zip(radii, hits, strict=True)}
    return {
        "inputs": inputs,
        "acr": average_certified_radius(rows),
        "certified_accuracy": {key: hit / inputs for key, hit in counts.items()},
        "certified_accuracy_interval": {
            key: list(accuracy_interval(hit, inputs, INTERVAL_LEVEL)) for key, hit in counts.items()
        },
    }


def _summarise(
    records: Sequence[Mapping[str, Any]],
    seconds: float,
    memory_entries: int | None,
    radii: Iterable[float],
) -> dict[str, Any]:
    figures = certified_figures(records, radii)
    outcomes = Counter(str(record["outcome"]) for record in records)
    sigmas = [float(record["sigma"]) for record in records]
    one = len({(record["sigma"], record["model_digest"]) for record in records}) == 1
    remembered = memory_entries is not None and not outcomes["unrecorded"]
    clean = sum(int(record["clean_prediction"]) == int(record["label"]) for record in records)
    return {
        **figures,
        "interval_level": INTERVAL_LEVEL,
        "clean_accuracy": clean / len(records),
        "abstained": sum(int(record["prediction"]) == ABSTAIN for record in records),
        "votes": sum(int(record["votes"]) for record in records),
        "seconds": seconds,
        "sigma": {"min": min(sigmas), "median": float(median(sigmas)), "max": max(sigmas)},
        "memory": _memory(memory_entries, outcomes),
        "sound_together": one or remembered,
        "n": _common(int(record["n"]) for record in records),
        "n0": _common(int(record["n0"]) for record in records),
        "alpha": _common(float(record["alpha"]) for record in records),
        "norm": _common(str(record["norm"]) for record in records),
    }


def _memory(entries: int | None, outcomes: Counter[str]) -> dict[str, int | bool]:
    counted = ("own", "trimmed", "inherited", "unrecorded")
    return {
        "on": entries is not None,
        "entries": int(entries or 0),
        **{outcome: outcomes[outcome] for outcome in counted},
    }


def _common(values: Iterable[T]) -> T | None:
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None

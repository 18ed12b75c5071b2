"""The comparison: every arm in a process of its own, measured in turn, round after round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks.cases import LONGEST_CALL, Case
from benchmarks.report import memory_limits, ratios
from benchmarks.worker import Unavailable, Worker

__all__ = ["Say", "compare", "measure_ascent", "measure_case"]

Say = Callable[[str], None]
Report = dict[str, Any]

TARGETS: dict[str, list[tuple[str, str, float | None]]] = {
    "resnet20": [
        ("ddrs fp32", "bare fp32", 0.93),
        ("ddrs bf16", "bare bf16", 0.85),
        ("ddrs compiled fp32", "bare fp32", 1.2),
        ("ddrs compiled bf16", "bare bf16", 1.2),
        ("ddrs fp32", "toolbox", 1.3),
        ("ddrs compiled fp32", "toolbox", 1.6),
        ("ddrs*", "toolbox", 3.0),
        ("ddrs fp32", "toolbox tuned", None),
        ("ddrs fp32", "ddsmoothing", None),
        ("ddrs*", "ddsmoothing", None),
    ],
    "resnet50": [
        ("ddrs fp32", "bare fp32", None),
        ("ddrs bf16", "bare bf16", None),
        ("ddrs compiled fp32", "bare fp32", None),
        ("ddrs compiled bf16", "bare bf16", None),
        ("ddrs fp32", "toolbox", 1.3),
        ("ddrs compiled fp32", "toolbox", 1.6),
        ("ddrs*", "toolbox", 3.0),
        ("ddrs fp32", "ddsmoothing", None),
        ("ddrs*", "ddsmoothing", None),
    ],
    "digits": [
        ("ddrs fp32", "bare fp32", 0.6),
        ("ddrs bf16", "bare bf16", None),
        ("ddrs compiled fp32", "bare fp32", None),
        ("ddrs compiled bf16", "bare bf16", None),
    ],
}
# These have no default batch size, or are also shown at the bare pass's best one.
NEED_A_BATCH = ("toolbox tuned", "ddsmoothing")
ASCENT = ("passes alone", "ddrs ascent", "ddsmoothing ascent")
ASCENT_TARGETS: list[tuple[str, str, float | None]] = [
    ("ddrs ascent", "passes alone", 0.8),
    ("ddrs ascent", "ddsmoothing ascent", None),
]


def measure_case(case: Case, quick: bool, say: Say) -> Report:
    """Measure all arms of a case.

    Args:
        case: the case, already made quick where `quick` is set.
        quick: passed on to the processes.
        say: told about every step.

    Returns:
        The arms with every measurement, ratios, memory, and what could not be measured.
    """
    common = {"case": case.name, "quick": quick}
    missing = {arm: "left out of the quick run" for arm in case.slow if arm not in case.arms}
    tuned: dict[str, Report] = {}
    for precision in ("fp32", "bf16"):
        say(f"{case.title}: bare {precision}: trying batch sizes and memory layouts")
        with Worker({**common, "tune": precision}) as worker:
            tuned[precision] = worker.facts
    specs = {}
    for arm in case.arms:
        precision = "bf16" if arm.endswith("bf16") else "fp32"
        n = case.votes_per_call(tuned[precision]["rate"])
        if n is None:
            missing[arm] = (
                f"left out: bare {precision} makes {tuned[precision]['rate']:.2f} passes per "
                f"second, so one certificate would take more than {LONGEST_CALL:.0f} seconds"
            )
            continue
        options = {"n": n}
        if arm.startswith("bare"):
            options |= {key: tuned[precision][key] for key in ("batch", "layout")}
        if arm in NEED_A_BATCH:
            options["batch"] = tuned["fp32"]["batch"]
        specs[arm] = {**common, "arm": arm, "options": options}
    arms = compare(specs, case.rounds, case.window, say, missing)
    rates = {arm: found["rates"] for arm, found in arms.items()}
    peaks = {arm: found["peak_mb"] for arm, found in arms.items()}
    return {
        "title": case.title,
        "tuning": tuned,
        "arms": arms,
        "missing": missing,
        "notes": [found["note"] for found in tuned.values() if "note" in found],
        "ratios": [ratio.to_json() for ratio in ratios(rates, TARGETS[case.name])],
        "memory": [limit.to_json() for limit in memory_limits(peaks)],
        "growth": _growth(case, common, say),
    }


def measure_ascent(steps: int, rounds: int, quick: bool, say: Say) -> Report:
    """Measure Algorithm 1 on ResNet-20: ours, the passes it is made of, and the peer's.

    Args:
        steps: ascent steps of one call.
        rounds: measurements of every arm.
        quick: passed on to the processes.
        say: told about every step.
    """
    missing: dict[str, str] = {}
    specs = {
        arm: {"case": "resnet20", "quick": quick, "arm": arm, "options": {"steps": steps}}
        for arm in ASCENT
    }
    arms = compare(specs, rounds, 0.0, say, missing)
    rates = {arm: found["rates"] for arm, found in arms.items()}
    return {
        "title": f"Algorithm 1 on ResNet-20, {steps} steps",
        "arms": arms,
        "missing": missing,
        "notes": [],
        "ratios": [ratio.to_json() for ratio in ratios(rates, ASCENT_TARGETS)],
        "memory": [],
        "growth": [],
    }


def compare(
    specs: Mapping[str, Mapping[str, Any]],
    rounds: int,
    window: float,
    say: Say,
    missing: dict[str, str],
) -> dict[str, Report]:
    """Set every arm up, then let all of them take turns; every other round goes backwards.

    Args:
        specs: arm -> what its process needs.
        rounds: measurements of every arm.
        window: least seconds of one.
        say: told about every step.
        missing: gets the arms that could not be measured, with the reason.

    Returns:
        Arm -> facts, every rate and the peak memory.
    """
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        arms: dict[str, Report] = {}

        def give_up(arm: str, error: Unavailable) -> None:
            missing[arm] = str(error)
            say(f"{arm}: not measured: {error}")
            workers.pop(arm, None)
            arms.pop(arm, None)

        for arm, spec in specs.items():
            say(f"{arm}: setting up")
            try:
                worker = stack.enter_context(Worker(spec))
                warm = worker.measure(0.0)
            except Unavailable as error:
                give_up(arm, error)
                continue
            workers[arm] = worker
            set_up = worker.facts["first_seconds"] - warm["seconds"] / warm["calls"]
            arms[arm] = {
                "set_up_seconds": max(0.0, set_up),
                "start_mb": worker.facts["start_mb"],
                "rates": [],
            }
        for number in range(rounds):
            order = list(workers)
            for arm in order if number % 2 == 0 else reversed(order):
                try:
                    got = workers[arm].measure(window)
                except Unavailable as error:
                    give_up(arm, error)
                    continue
                rate = got.pop("votes") / got.pop("seconds")
                arms[arm]["rates"].append(rate)
                arms[arm] |= got
                say(f"round {number + 1}/{rounds} {arm}: {rate:,.0f} per second")
        return arms


def _growth(case: Case, common: Mapping[str, Any], say: Say) -> list[Report]:
    """Peak memory of one call at different n, each in a fresh process."""
    points = []
    for arm, n in case.growth:
        say(f"{arm}: peak memory at n = {n:,}")
        spec = {**common, "arm": arm, "options": {"n": n}}
        try:
            with Worker(spec) as worker:
                points.append({"arm": arm, "n": n, "peak_mb": worker.facts["peak_mb"]})
        except Unavailable as error:
            say(f"{arm}: not measured: {error}")
    return points

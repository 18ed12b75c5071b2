"""The commands: `python -m benchmarks [speed|gradient|profile|memory|training] [options]`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES
from benchmarks.figures import memory_figure, speed_figure, stages_figure
from benchmarks.machine import circumstances
from benchmarks.report import memory_tables, tables, training_tables
from benchmarks.speed import measure_ascent, measure_case
from ddrs.display.markdown import table

ROOT = Path(__file__).parents[1]
RESULTS, ROUGH = ROOT / "benchmarks" / "results", ROOT / "build" / "benchmarks"
PROFILES = {"digits": (20, 100_000), "resnet20": (2, 100_000)}  # inputs, votes for each


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for; figures of a quick run are kept apart from the real ones."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", default="speed", choices=tuple(COMMANDS))
    parser.add_argument("--quick", action="store_true", help="a rough run of a few minutes")
    parser.add_argument("--only", choices=tuple(CASES), help="one network (speed, training)")
    parser.add_argument("--out", type=Path, help=f"where the files go, {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--data", default="digits", help="images that fill the memory")
    parser.add_argument("--entries", type=int, help="one size of the memory")
    parser.add_argument("--audit", action="store_true", help="only audit the memory, in minutes")
    parser.add_argument("--postgresql", metavar="URL", help="an empty database, for its writers")
    asked = parser.parse_args(arguments)
    facts = circumstances(sys.argv[1:] if arguments is None else list(arguments))
    out = asked.out or (ROUGH if asked.quick else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    COMMANDS[asked.what](asked, out, facts)


def _speed(asked: argparse.Namespace, out: Path, facts: dict[str, Any]) -> None:
    chosen = [CASES[asked.only]] if asked.only else list(CASES.values())
    say = _speaker()
    cases: dict[str, Any] = {}
    for case in chosen:
        cases[case.name] = measure_case(case.quick() if asked.quick else case, asked.quick, say)
    if asked.only in (None, "resnet20"):
        cases["ascent"] = measure_ascent(*_ascent_plan(asked.quick), asked.quick, say)
    _save(out, "speed", facts, cases)


def _gradient(asked: argparse.Namespace, out: Path, facts: dict[str, Any]) -> None:
    steps, rounds = _ascent_plan(asked.quick)
    report = measure_ascent(steps, rounds + 2, asked.quick, _speaker())
    _save(out, "gradient", facts, {"ascent": report})


def _ascent_plan(quick: bool) -> tuple[int, int]:
    return (10, 2) if quick else (100, 3)


def _profile(asked: argparse.Namespace, out: Path, facts: dict[str, Any]) -> None:
    from benchmarks.stages import profile

    say = _speaker()
    profiles = {}
    for name, (inputs, n) in PROFILES.items():
        profiles[name] = profile(name, inputs, n // 20 if asked.quick else n, say)
    _write(out / "profile.json", {**facts, "profiles": profiles})
    picture = out / "profile.png" if asked.quick or asked.out else ROOT / "docs" / "profile.png"
    stages_figure(profiles, picture)
    rows = [
        [found["title"], stage, f"{spent:.2f}", f"{100 * spent / found['seconds']:.1f}"]
        for found in profiles.values()
        for stage, spent in sorted(found["stages"].items(), key=lambda pair: -pair[1])
    ]
    print(table(["network", "stage", "seconds", "%"], rows, left=2))
    print(f"\n{_shown(out / 'profile.json')}\n{_shown(picture)}")


def _memory(asked: argparse.Namespace, out: Path, facts: dict[str, Any]) -> None:
    """The memory at growing sizes; a size that was measured before stays in the report."""
    from benchmarks.memory import SIZES, measure_audit, measure_size

    say = _speaker()
    if asked.postgresql:  # it may hold a password, and is nobody else's
        facts["command"] = facts["command"].replace(asked.postgresql, "URL")
    ROUGH.mkdir(parents=True, exist_ok=True)
    path = out / "memory.json"
    report = json.loads(path.read_text()) if path.exists() else {"sizes": {}, "writers": {}}
    for entries in [asked.entries] if asked.entries else SIZES[: 1 if asked.quick else None]:
        if asked.audit:
            if str(entries) not in report["sizes"]:
                raise SystemExit(f"measure {entries} entries first, without --audit")
            found = {"audit": measure_audit(ROUGH / f"memory-{entries}.db", say)}
        else:
            found = {**measure_size(asked.data, entries, ROUGH, say), "facts": facts}
        report["sizes"][str(entries)] = {**report["sizes"].get(str(entries), {}), **found}
        _write(path, report)
    if not asked.audit:
        _writers(asked, report, say)
    _write(path, report)
    memory_figure(report, out / "memory.png")
    print(memory_tables(report))
    print(f"\n{_shown(path)}\n{_shown(out / 'memory.png')}")


def _writers(asked: argparse.Namespace, report: dict[str, Any], say: Callable[[str], None]) -> None:
    """How many answers per second several processes store."""
    from benchmarks.memory import measure_writers

    with tempfile.TemporaryDirectory(dir=ROUGH) as folder:
        for kind in ("sqlite", "postgresql") if asked.postgresql else ("sqlite",):
            for writers in (1, 2, 4):
                url = asked.postgresql or ""
                url = f"sqlite:///{folder}/writers-{writers}.db" if kind == "sqlite" else url
                say(f"{kind}: {writers} writers")
                rate = measure_writers(url, writers, 3 if asked.quick else 10)
                report["writers"].setdefault(kind, {})[str(writers)] = rate


def _training(asked: argparse.Namespace, out: Path, facts: dict[str, Any]) -> None:
    from benchmarks.training import PLANS, measure

    if asked.only == "resnet50":
        raise SystemExit("training is measured for resnet20 and digits")
    say = _speaker()
    found = {
        name: measure(plan.quick() if asked.quick else plan, say)
        for name, plan in PLANS.items()
        if asked.only in (None, plan.case)
    }
    path = out / "training.json"
    report = _beside_earlier(path, facts, found)
    _write(path, report)
    print(training_tables(report["cases"]))
    print(f"\n{_shown(path)}")


def _save(out: Path, stem: str, facts: Mapping[str, Any], cases: Mapping[str, Any]) -> None:
    """Write what was measured, beside what earlier runs say of other networks, and show it all."""
    report = _beside_earlier(out / f"{stem}.json", facts, cases)
    cases = report["cases"]
    _write(out / f"{stem}.json", report)
    speed_figure(cases, out / f"{stem}.png")
    print(tables(cases))
    print(f"\n{_shown(out / f'{stem}.json')}\n{_shown(out / f'{stem}.png')}")


def _beside_earlier(
    path: Path, facts: Mapping[str, Any], cases: Mapping[str, Any]
) -> dict[str, Any]:
    earlier = json.loads(path.read_text()) if path.exists() else {"runs": {}, "cases": {}}
    runs = {**earlier["runs"], **dict.fromkeys(cases, facts)}
    return {"runs": runs, "cases": {**earlier["cases"], **cases}}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _speaker() -> Any:
    """Print a line to standard error with the seconds since the start."""
    start = time.monotonic()
    return lambda text: print(f"[{time.monotonic() - start:5.0f} s] {text}", file=sys.stderr)


COMMANDS = {
    "speed": _speed,
    "gradient": _gradient,
    "profile": _profile,
    "memory": _memory,
    "training": _training,
}
"""What to measure -> how."""


if __name__ == "__main__":
    main()

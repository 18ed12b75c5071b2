"""What figures depend on and a reader must know: the machine and the versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["circumstances"]

PACKAGES = (
    "ddrs",
    "torch",
    "numpy",
    "scipy",
    "transformers",
    "adversarial-robustness-toolbox",
    "ddsmoothing-python",
    "torchvision",
)


def circumstances(command: list[str]) -> dict[str, Any]:
    """When, how and where figures were made.

    Args:
        command: the arguments behind `python -m benchmarks`.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", "benchmarks", *command]),
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "system": f"{platform.system()} {platform.machine()}",
            "load_before": round(os.getloadavg()[0], 2),
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        },
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The state of the source, with a `+` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    root = Path(__file__).parents[1]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"

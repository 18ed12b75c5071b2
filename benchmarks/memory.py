"""The memory at growing sizes: opening, answering, storing and auditing, beside the public rule.

A store is built once and kept in `build/benchmarks`, where an interrupted build resumes. Each
measurement is a process of its own on one core: what it takes to open the file, the resident size
afterwards, and single calls. The public rule over a list is measured in the same process, in turn.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["SIZES", "measure_audit", "measure_size", "measure_writers"]

SIZES = (10_000, 100_000, 1_000_000)
LARGEST_LIST = 100_000  # stacking more takes more memory than a small machine has
BATCH = 512
CALLS = 200

Say = Callable[[str], None]


def build(spec: str, entries: int, folder: Path, say: Say) -> Path:
    """The file with at least `entries` claims' answers, made or completed."""
    from benchmarks.claims import claims, images
    from ddrs.memory.memory import Memory

    path = folder / f"memory-{entries}.db"
    note = path.with_suffix(".json")
    if note.exists():
        return path
    x, labels = images(spec)
    start = time.perf_counter()
    with Memory(f"sqlite:///{path}") as memory:
        for number, (batch, classes, radii) in enumerate(claims(x, labels, entries, 0, BATCH)):
            memory.resolve_many(batch, classes, radii)  # what an earlier build stored comes back
            if number % 40 == 0:
                say(f"building: {(number + 1) * BATCH:,} of {entries:,}")
        stored = len(memory)
    seconds = time.perf_counter() - start
    note.write_text(json.dumps({"entries": stored, "seconds": seconds}))
    return path


def measure_size(spec: str, entries: int, folder: Path, say: Say) -> dict[str, Any]:
    """Open, look up and resolve on a store of this size.

    Args:
        spec: dataset of the images.
        entries: claims behind the store.
        folder: where stores are kept.
        say: told what happens.
    """
    path = build(spec, entries, folder, say)
    say(f"{entries:,} entries: measuring on one core")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", spec, str(path), str(entries)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the measurement failed: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    size = sum(f.stat().st_size for f in path.parent.glob(path.name + "*"))
    return {**json.loads(path.with_suffix(".json").read_text()), **found, "file_mib": size / 2**20}


def measure_audit(path: Path, say: Say) -> dict[str, Any]:
    """Audit a store as `ddrs audit` does."""
    from ddrs.finished.audit import audit_memory

    say(f"auditing {path.name}")
    start = time.perf_counter()
    report = audit_memory(f"sqlite:///{path}")
    return {
        "entries": report.entries,
        "violations": len(report.violations),
        "seconds": time.perf_counter() - start,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure_writers(url: str, writers: int, seconds: float) -> float:
    """Answers per second that are stored one by one, each durable, by several processes at once."""
    command = [sys.executable, "-m", "benchmarks.memory", "--write", url, str(seconds)]
    processes = [
        subprocess.Popen(
            [*command, str(seed)],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(writers)
    ]
    for process in processes:  # all are open before the first one starts
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [int(process.communicate()[0]) for process in processes]
    return sum(counts) / seconds


def _write(url: str, seconds: float, seed: int) -> None:
    import numpy as np

    from ddrs.memory.memory import Memory

    rng = np.random.default_rng(seed)
    with Memory(url, timeout=60) as memory:
        print("ready", flush=True)
        sys.stdin.readline()
        deadline, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < deadline:
            x = rng.integers(0, 256, (3, 32, 32)).astype(np.float32) / np.float32(255)
            memory.resolve(x, int(rng.integers(10)), 0.3)
            count += 1
    print(count, flush=True)


def _measure(spec: str, path: str, entries: int) -> dict[str, Any]:
    """In a process of its own, on one core."""
    import torch

    from benchmarks.claims import PublicList, claims, images
    from ddrs.memory.memory import Memory

    if sys.platform == "linux":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    x, labels = images(spec)
    fresh = next(iter(claims(x[: 4 * CALLS], labels, 6 * CALLS, int(time.time()), 6 * CALLS)))
    new = slice(4 * CALLS, None)  # variants that the store has not seen
    batch, classes, radii = fresh[0][new], fresh[1][new], fresh[2][new]
    del x
    before = _resident()
    start = time.perf_counter()
    memory = Memory(f"sqlite:///{path}")
    memory.lookup(batch[0])
    opened, resident = time.perf_counter() - start, _resident()

    peer = PublicList() if entries <= LARGEST_LIST else None
    if peer is not None:
        for entry in memory.entries():
            stored = entry.resolution
            peer.add(torch.tensor(entry.point.x), stored.prediction, stored.radius)

    lookups, resolves, listed = [], [], []
    for i in range(CALLS):
        lookups.append(_timed(lambda i=i: memory.lookup(batch[i])))
        if peer is not None and i < 30:
            tensor = torch.from_numpy(batch[i])
            listed.append(_timed(lambda i=i, t=tensor: peer.resolve(t, classes[i], radii[i])))
        resolves.append(_timed(lambda i=i: memory.resolve(batch[i], classes[i], radii[i])))
    many = _timed(lambda: memory.resolve_many(batch[CALLS:], classes[CALLS:], radii[CALLS:])) / len(
        batch[CALLS:]
    )
    memory.close()
    return {
        "open_seconds": opened,
        "resident_mib": resident,
        "resident_before_mib": before,
        "lookup_ms": [1000 * t for t in lookups],
        "resolve_ms": [1000 * t for t in resolves],
        "resolve_many_ms": 1000 * many,
        "list_ms": [1000 * t for t in listed],
    }


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _resident() -> float:
    """MiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        _write(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
    else:
        print(json.dumps(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))

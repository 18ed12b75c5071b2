"""One arm in a process of its own, and the handle by which the comparing process has it measure.

The process answers one JSON object a line: first what it has set up, or why it could not, then one
for every number of seconds that it reads, the measurement.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Unavailable", "Worker", "peak_mb"]

ROOT = Path(__file__).parents[1]
Answer = dict[str, Any]


class Unavailable(Exception):
    """An arm that cannot be measured; the message is the reason."""


class Worker:
    """A process that measures; a context manager.

    Args:
        spec: what `serve` needs: the case, whether it is quick, and the arm with its options.

    Attributes:
        facts: seconds of the first call, which sets up what comes later, and memory around it.

    Raises:
        Unavailable: it could not set itself up.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-")
        self._said = Path(self._folder.name) / "stderr"
        with open(self._said, "w") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker", json.dumps(spec)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        try:
            self.facts = self._answer()
        except BaseException:
            self.close()
            raise

    def measure(self, seconds: float) -> Answer:
        """Work for at least this long, one call at least.

        Returns:
            Votes, calls, seconds, peak memory so far, and what the arm says about itself.

        Raises:
            Unavailable: the process ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it ended: reading its answer says why
        return self._answer()

    def _answer(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            said = self._said.read_text(errors="replace").split("\n")
            last = next((line for line in reversed(said) if line.strip()), "it said nothing")
            raise Unavailable(f"the process ended with {self._process.returncode}: {last}")
        answer: Answer = json.loads(line)
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        return answer

    def close(self) -> None:
        """End the process: it stops when there is nothing more to read."""
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def peak_mb() -> float:
    """The largest resident memory of this process so far, in MiB.

    Linux lets a process start with the peak of the one that started it: that one must stay small.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def serve(spec: Mapping[str, Any], answer: Callable[[Answer], None]) -> None:
    """Set an arm up, then measure on demand until there is no more to read."""
    from benchmarks.cases import CASES

    case = CASES[spec["case"]]
    if spec["quick"]:
        case = case.quick()
    import torch

    from benchmarks.arms import ARMS, tune_bare

    if "tune" in spec:
        answer(tune_bare(case, spec["tune"]))
        return
    arm, options = ARMS[spec["arm"]]
    facts: Answer = {"threads": torch.get_num_threads()}  # an arm may learn more as it works
    make = arm(case, facts, **options, **spec["options"])
    before = peak_mb()
    start = time.perf_counter()
    call = make()
    call()
    seconds = time.perf_counter() - start
    answer({"first_seconds": seconds, "start_mb": before, "peak_mb": peak_mb()})
    for line in sys.stdin:
        answer({**facts, **_measurement(call, float(line))})


def _measurement(call: Callable[[], int], wanted: float) -> Answer:
    votes, calls, start = 0, 0, time.perf_counter()
    while True:
        votes += call()
        calls += 1
        seconds = time.perf_counter() - start
        if seconds >= wanted:
            return {"votes": votes, "calls": calls, "seconds": seconds, "peak_mb": peak_mb()}


def main() -> None:
    """Serve what the first argument asks for; whatever is printed on the way goes to stderr."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)

        def answer(content: Answer) -> None:
            out.write(json.dumps(content) + "\n")
            out.flush()

        try:
            serve(json.loads(sys.argv[1]), answer)
        except Exception as error:  # whatever a peer raises is the reason why it is not measured
            reason = " ".join(str(error).split())
            answer({"unavailable": f"{type(error).__name__}: {reason}"[:300]})


if __name__ == "__main__":
    main()

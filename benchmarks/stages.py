"""Where the time of a certification goes, seen from outside: no timer is in the library.

What is wrapped is public: the noise, the classifier's forward pass, the sigma policy, the memory,
and the run directory. What a wrapper cannot see is the rest of the stage around it.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from benchmarks.cases import CASES, SIGMA

__all__ = ["Stopwatch", "by_stage", "profile"]

Seconds = dict[tuple[str, ...], float]


class Stopwatch:
    """Wall-clock time by nested stage; time in an inner stage is not the outer one's too.

    Only the thread that made it is on the clock: what others do at the same time is counted in
    `aside`, because it does not make anyone wait.

    Args:
        clock: seconds since any moment.

    Attributes:
        seconds: stages from the outermost to the innermost -> time spent just there.
        aside: stage -> time spent in it by other threads.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: Seconds = defaultdict(float)
        self.aside: dict[str, float] = defaultdict(float)
        self._clock = clock
        self._thread = threading.get_ident()
        self._path: tuple[str, ...] = ()
        self._since = clock()

    def enter(self, stage: str) -> None:
        """Go into a stage."""
        self._settle()
        self._path = (*self._path, stage)

    def leave(self) -> None:
        """Go back to the stage around this one."""
        self._settle()
        self._path = self._path[:-1]

    def _settle(self) -> None:
        now = self._clock()
        if self._path:
            self.seconds[self._path] += now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage for as long as the block runs."""
        if threading.get_ident() != self._thread:
            start = self._clock()
            yield
            self.aside[name] += self._clock() - start
            return
        self.enter(name)
        try:
            yield
        finally:
            self.leave()


def by_stage(seconds: Mapping[tuple[str, ...], float]) -> dict[str, float]:
    """The stages of the picture: all of the search is one, and the rest goes by innermost stage."""
    found: dict[str, float] = defaultdict(float)
    for path, spent in seconds.items():
        found["search of sigma" if "search of sigma" in path else path[-1]] += spent
    return dict(found)


@dataclass(frozen=True)
class Recorded:
    """What the run is made for, or what came of it, as its file holds it."""

    values: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The object in the file."""
        return dict(self.values)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(data)


def profile(name: str, inputs: int, n: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Certify with the search of sigma, a memory on disk and a run directory, stage by stage.

    Args:
        name: the case.
        inputs: how many inputs, one after another.
        n: estimation votes.
        say: told about every input.

    Raises:
        RuntimeError: no time was seen in a stage that must have taken some: what it wraps moved.
    """
    import torch

    import ddrs
    from ddrs.runs.directory import Run
    from ddrs.runs.rows import CertifiedRow

    case = CASES[name]
    model, batch = case.build(), case.inputs(inputs)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'memory.db'}"
        watch = Stopwatch()
        model.register_forward_pre_hook(lambda *_: watch.enter("forward"))
        model.register_forward_hook(lambda *_: watch.leave())
        with _memory(watch, url) as memory, Run(Path(folder) / "run", Recorded({"seed": 0})) as run:
            smoothed = ddrs.SmoothedClassifier(
                model,
                case.num_classes,
                sigma=_Policy(ddrs.SearchSigma(SIGMA), watch),
                noise=_noise(watch),
                memory=memory,
                n=n,
                seed=0,
            )
            (base,) = smoothed.alternatives.classifiers
            base.count = _timed(base.count, "adding and counting", watch)  # type: ignore[method-assign]
            smoothed.certify(case.inputs(inputs + 1)[-1:])  # warm, and the batch size is found
            watch.seconds.clear()
            start = time.perf_counter()
            votes = 0
            for index, x in enumerate(torch.split(batch, 1)):
                with watch.stage("everything else"):
                    (certificate,) = smoothed.certify(x)
                votes += certificate.votes
                with watch.stage("writing"):
                    row = CertifiedRow(
                        index=index,
                        label=0,
                        correct=certificate.prediction == 0,
                        clean_prediction=0,
                        certificate=certificate,
                    )
                    run.append([row])
                say(f"{case.title}: {index + 1}/{inputs} inputs")
            with watch.stage("writing"):
                run.finish(Recorded({"inputs": inputs}))
            total = time.perf_counter() - start
    stages = by_stage(watch.seconds)
    for stage in ("noise", "forward"):
        if not stages.get(stage) and not watch.aside.get(stage):
            raise RuntimeError(f"no time was seen in the stage {stage!r}: what it wraps has moved")
    return {
        "title": case.title,
        "caption": f"{inputs} inputs, n = {n:,}",
        "inputs": inputs,
        "n": n,
        "votes": votes,
        "seconds": total,
        "stages": stages,
        "nested": {" > ".join(path): spent for path, spent in sorted(watch.seconds.items())},
        "at the same time, on other threads": dict(watch.aside),
    }


def _timed(function: Callable[..., Any], stage: str, watch: Stopwatch) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        with watch.stage(stage):
            return function(*args, **kwargs)

    return timed


class _Policy:
    """A sigma policy on the clock."""

    per_input: ClassVar[bool] = True

    def __init__(self, policy: Any, watch: Stopwatch) -> None:
        self._policy = policy
        self.initial, self.cost = policy.initial, policy.cost
        self.choose = _timed(policy.choose, "search of sigma", watch)


def _noise(watch: Stopwatch) -> Any:
    import ddrs

    class Timed(ddrs.Gaussian):
        def sample(self, *args: Any, **kwargs: Any) -> None:
            with watch.stage("noise"):
                super().sample(*args, **kwargs)

    return Timed()


def _memory(watch: Stopwatch, url: str) -> Any:
    import ddrs

    class Timed(ddrs.Memory):
        recall = _timed(ddrs.Memory.recall, "memory", watch)
        resolve = _timed(ddrs.Memory.resolve, "memory", watch)
        resolve_many = _timed(ddrs.Memory.resolve_many, "memory", watch)

    return Timed(url)

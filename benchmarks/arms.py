"""What is measured: each arm sets itself up in a process of its own and then casts votes.

An arm is a function of a case and options. It imports what it needs, builds the model, notes facts
for the report, and returns `make`, which constructs what a user would construct and returns `call`,
which does one piece of work and returns how many votes (noisy forward passes) that was.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import nn

from benchmarks.cases import SIGMA, Case

__all__ = ["ARMS", "Call", "Make", "best_of", "tune_bare"]

Call = Callable[[], int]
Make = Callable[[], Call]
Facts = dict[str, Any]
Precision = Literal["fp32", "bf16"]
Layout = Literal["contiguous", "channels last"]
T = TypeVar("T")

ALPHA = 0.001
LAYOUTS: dict[Layout, torch.memory_format] = {
    "contiguous": torch.contiguous_format,
    "channels last": torch.channels_last,
}

LONGEST_PASS = 5.0  # seconds; larger batches are not tried

# Algorithm 1: this many inputs with DRAWS draws each go through the model together, STEPS times.
INPUTS, DRAWS = 8, 8


def bare(
    case: Case, facts: Facts, precision: Precision, batch: int, layout: Layout, n: int
) -> Make:
    """The forward pass alone: one batch without noise, again and again."""
    model = case.build().to(memory_format=LAYOUTS[layout])
    x = case.inputs(batch).contiguous(memory_format=LAYOUTS[layout])
    facts.update(batch=batch, layout=layout)
    passes = max(1, n // batch)

    def make() -> Call:
        _free_one_large_block()

        @torch.no_grad()
        def call() -> int:
            with _autocast(precision):
                for _ in range(passes):
                    model(x)
            return passes * batch

        return call

    return make


def smoothed(case: Case, facts: Facts, precision: Precision, compile: bool, n: int) -> Make:
    """`ddrs.SmoothedClassifier.certify` with a fixed sigma and the batch size it finds itself."""
    import ddrs

    model, x = case.build(), case.inputs()

    def make() -> Call:
        classifier = ddrs.SmoothedClassifier(
            model,
            case.num_classes,
            sigma=SIGMA,
            n0=case.n0,
            n=n,
            alpha=ALPHA,
            seed=0,
            precision=precision,
            compile=compile,
        )

        batches: Counter[int] = Counter()
        classifier.on_votes(lambda votes: batches.update([votes]))

        def call() -> int:
            batches.clear()
            (certificate,) = classifier.certify(x)
            facts["batch"] = batches.most_common(1)[0][0]
            return certificate.votes

        return call

    return make


def toolbox(case: Case, facts: Facts, n: int, batch: int | None = None) -> Make:
    """`PyTorchRandomizedSmoothing.certify` of the adversarial-robustness-toolbox.

    Args:
        case: the network.
        facts: what to report.
        n: estimation votes.
        batch: batch size; None for the toolbox's default.
    """
    from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing

    model, x = case.build(), case.inputs().numpy()
    facts["batch"] = batch or PyTorchRandomizedSmoothing.certify.__defaults__[-1]

    def make() -> Call:
        classifier = PyTorchRandomizedSmoothing(
            model=model,
            loss=nn.CrossEntropyLoss(),
            input_shape=case.shape,
            nb_classes=case.num_classes,
            device_type="cpu",
            sample_size=case.n0,
            scale=SIGMA,
            alpha=ALPHA,
        )
        options = {} if batch is None else {"batch_size": batch}

        def call() -> int:
            classifier.certify(x, n=n, **options)
            return case.n0 + n

        return call

    return make


def ddsmoothing(case: Case, facts: Facts, batch: int, n: int) -> Make:
    """`Smooth.certify` of ddsmoothing-python, which has no default batch size."""
    facts["note"] = _lend_binom_test()
    from ddsmoothing.certificate import L2Certificate
    from ddsmoothing.smooth import Smooth

    model, x = case.build(), case.inputs()[0]
    facts["batch"] = batch

    def make() -> Call:
        classifier = Smooth(model, case.num_classes, SIGMA, L2Certificate(1, device="cpu"))

        def call() -> int:
            classifier.certify(x, case.n0, n, ALPHA, batch, device="cpu")
            return case.n0 + n

        return call

    return make


def ascent_passes(case: Case, facts: Facts, steps: int) -> Make:
    """The forward and backward passes of Algorithm 1 alone, in the faster memory layout.

    The backward pass is the one to the input, through which sigma gets its gradient. The forward
    passes of the comparison at the end of `GradientSigma.choose` are part of it.
    """
    import ddrs

    check_votes = ddrs.GradientSigma(SIGMA, steps=steps, n=DRAWS).cost - steps * DRAWS
    rows = INPUTS * DRAWS
    facts["batch"] = rows

    def prepare(layout: Layout) -> tuple[Callable[[int], None], Callable[[int], None]]:
        model = case.build().to(memory_format=LAYOUTS[layout]).requires_grad_(False)
        x = case.inputs(rows).contiguous(memory_format=LAYOUTS[layout])

        def ascend(passes: int) -> None:
            for _ in range(passes):
                noisy = x.detach().requires_grad_()
                torch.autograd.grad(model(noisy).sum(), noisy)

        @torch.no_grad()
        def check(passes: int) -> None:
            for _ in range(passes):
                model(x)

        return ascend, check

    def make() -> Call:
        _free_one_large_block()
        prepared = {layout: prepare(layout) for layout in LAYOUTS}
        layout, _ = best_of(tuple(LAYOUTS), lambda name: 1 / _seconds(prepared[name][0], 3), 2)
        facts["layout"] = layout
        ascend, check = prepared[layout]

        def call() -> int:
            ascend(steps)
            check(INPUTS * check_votes // rows)
            return steps * rows

        return call

    return make


def ascent(case: Case, facts: Facts, steps: int) -> Make:
    """`GradientSigma.choose`: Algorithm 1, and the comparison that keeps its end or not."""
    import ddrs
    from ddrs.networks.frozen import frozen
    from ddrs.votes.requests import Inputs

    model, x = case.build(), case.inputs(INPUTS)
    rows = INPUTS * DRAWS
    facts["batch"] = rows

    def make() -> Call:
        policy = ddrs.GradientSigma(SIGMA, steps=steps, n=DRAWS)
        smoothed = ddrs.SmoothedClassifier(
            model, case.num_classes, sigma=policy, seed=0, batch_size=rows
        )
        (base,) = smoothed.alternatives.classifiers
        inputs = Inputs.of(x, seed=0)

        def call() -> int:
            with frozen(base.model):
                policy.choose(base, inputs, np.zeros(INPUTS, dtype=np.int64))
            return steps * rows

        return call

    return make


def ddsmoothing_ascent(case: Case, facts: Facts, steps: int) -> Make:
    """`optimize_isotropic_dds` of ddsmoothing-python: Algorithm 1 without a comparison."""
    from ddsmoothing import optimize_isotropic_dds
    from ddsmoothing.certificate import L2Certificate

    rows = INPUTS * DRAWS
    model = nn.Sequential(case.build(), nn.Softmax(dim=1))  # it expects probabilities
    x = case.inputs(INPUTS)
    facts["batch"] = rows

    def make() -> Call:
        certificate = L2Certificate(INPUTS, device="cpu")

        def call() -> int:
            optimize_isotropic_dds(
                model,
                x,
                certificate,
                learning_rate=1e-4,
                sig_0=torch.full((INPUTS,), SIGMA),
                iterations=steps,
                samples=DRAWS,
                device="cpu",
            )
            return steps * rows

        return call

    return make


ARMS: dict[str, tuple[Callable[..., Make], dict[str, Any]]] = {
    "bare fp32": (bare, {"precision": "fp32"}),
    "bare bf16": (bare, {"precision": "bf16"}),
    "ddrs fp32": (smoothed, {"precision": "fp32", "compile": False}),
    "ddrs bf16": (smoothed, {"precision": "bf16", "compile": False}),
    "ddrs compiled fp32": (smoothed, {"precision": "fp32", "compile": True}),
    "ddrs compiled bf16": (smoothed, {"precision": "bf16", "compile": True}),
    "toolbox": (toolbox, {}),
    "toolbox tuned": (toolbox, {}),
    "ddsmoothing": (ddsmoothing, {}),
    "passes alone": (ascent_passes, {}),
    "ddrs ascent": (ascent, {}),
    "ddsmoothing ascent": (ddsmoothing_ascent, {}),
}
"""Name -> the arm and the options that make it this one."""


def tune_bare(case: Case, precision: Precision) -> Facts:
    """The batch size and memory layout in which the bare forward pass is fastest, and its rate."""
    tried: dict[Layout, dict[int, list[float]]] = {layout: {} for layout in LAYOUTS}

    def rate(candidate: tuple[int, Layout]) -> float:
        batch, layout = candidate
        known = tried[layout]
        fastest = max((rate for rates in known.values() for rate in rates), default=math.inf)
        if batch not in known and batch > LONGEST_PASS * fastest:
            return 0.0
        call = bare(case, {}, precision, batch, layout, n=batch)()
        call()
        passes, start = 0, time.perf_counter()
        while (seconds := time.perf_counter() - start) < case.trial:
            passes += call()
        known.setdefault(batch, []).append(passes / seconds)
        return passes / seconds

    candidates = [(batch, layout) for layout in LAYOUTS for batch in case.batches]
    (batch, layout), fastest = best_of(candidates, rate, finalists=3)
    facts: Facts = {"batch": batch, "layout": layout, "rate": fastest, "tried": tried}
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        facts["note"] = "this processor has no bf16 arithmetic: torch emulates it, slowly"
    return facts


def best_of(candidates: Sequence[T], rate: Callable[[T], float], finalists: int) -> tuple[T, float]:
    """The candidate with the highest rate, measured twice among the best of a first look."""
    first = sorted(candidates, key=rate, reverse=True)[:finalists]
    second = {candidate: rate(candidate) for candidate in first}
    best = max(second, key=lambda candidate: second[candidate])
    return best, second[best]


def _autocast(precision: Precision) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def _free_one_large_block() -> None:
    """Make glibc keep freed memory: until a large block has been freed it maps every other anew.

    Otherwise a fresh process runs some networks at half the speed, and the bare pass, which has
    nothing else to free, would be the only arm to suffer.
    """
    torch.zeros(31 * 2**18)  # 31 MiB, just under the largest block that glibc learns from


def _seconds(passes: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    passes(count)
    return time.perf_counter() - start


def _lend_binom_test() -> str:
    """Put back the function that ddsmoothing imports and SciPy no longer has."""
    import scipy.stats

    if hasattr(scipy.stats, "binom_test"):
        return ""

    def binom_test(k: int, n: int, p: float = 0.5) -> float:
        return float(scipy.stats.binomtest(int(k), int(n), p).pvalue)

    scipy.stats.binom_test = binom_test
    return (
        "ddsmoothing imports scipy.stats.binom_test, which SciPy removed in 1.12; it was lent one "
        "so that it can be imported, and what is measured does not call it"
    )

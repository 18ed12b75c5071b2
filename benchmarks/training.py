"""What a training step costs beside its bare forward and backward passes, and beside a plain loop.

An arm does the steps of one turn and calls `on_batch` after each, as `ddrs.training.train` does. A
turn is timed from its first step's end to its last one's, so it holds whole steps, the change of
epoch among them, and no set-up. The arms take turns in one process, round after round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.cases import CASES, SIGMA
from ddrs.training.config import TrainingConfig
from ddrs.training.loop import train
from ddrs.training.sigmas import DataDependent

__all__ = ["ARMS", "PLANS", "Arm", "Cost", "Plan", "costs", "measure", "seconds_a_step"]

OnBatch = Callable[[int], None]

LR = 0.01  # low enough for labels that mean nothing
ALLOWED = 1.10  # times its bare passes, for a step of ours
COSTS: list[tuple[str, str, float | None]] = [
    ("ddrs", "bare", ALLOWED),
    ("ddrs augment", "bare", ALLOWED),
    ("ddrs data-dependent", "bare", ALLOWED),
    ("ddrs smoothadv", "bare", ALLOWED),
    ("ddrs macer", "bare", ALLOWED),
    ("ddrs macer", "bare, 4 batches at once", ALLOWED),
    ("ddrs bf16", "bare bf16", ALLOWED),
    ("ddrs", "bare contiguous", None),
    ("plain loop", "bare", None),
    ("plain loop, 2 workers", "bare", None),
    ("ddrs", "plain loop", None),
    ("ddrs bf16", "ddrs", None),
]


@dataclass(frozen=True)
class Plan:
    """How a network is trained, and for how long.

    Attributes:
        title: what it is called in tables.
        case: its name in `CASES`.
        arms: the arms measured, keys of `ARMS`.
        batch: examples per step.
        steps: of plain training in an epoch; a method of several passes makes fewer.
        epochs: of a turn.
        rounds: turns of every arm.
    """

    title: str
    case: str
    arms: tuple[str, ...]
    batch: int
    steps: int
    epochs: int
    rounds: int

    def quick(self) -> Plan:
        """The same, only long enough to see that everything works; its figures are rough."""
        return replace(self, batch=self.batch // 8, steps=2, epochs=1, rounds=2)

    def build(self) -> nn.Module:
        """The network, with the same weights every time."""
        return CASES[self.case].build()

    def examples(self, passes: float = 1.0) -> tuple[Tensor, Tensor]:
        """Images `[examples, *shape]` with pixels k/255, and labels, for an epoch."""
        count = self.batch * max(2, round(self.steps / passes))
        case, generator = CASES[self.case], torch.Generator().manual_seed(1)
        x = torch.randint(256, (count, *case.shape), generator=generator) / 255
        return x, torch.randint(case.num_classes, (count,), generator=generator)


@dataclass(frozen=True)
class Arm:
    """A way to train.

    Attributes:
        run: makes the steps of a turn, and calls what it is given with the number of examples after
            each.
        passes: forward and backward passes of a step, in those of plain training.
    """

    run: Callable[[OnBatch], object]
    passes: float = 1.0


def bare(
    plan: Plan,
    layout: torch.memory_format = torch.channels_last,
    *,
    copies: int = 1,
    bf16: bool = False,
) -> Arm:
    """Passes and optimizer steps for one batch; its layout is the library's unless told."""
    model = plan.build()
    x, y = (torch.cat(copies * [values[: plan.batch]]) for values in plan.examples())
    x = x.contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)

    def run(on_batch: OnBatch) -> None:
        model.train()
        for _ in range(plan.epochs * max(2, round(plan.steps / copies))):
            with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
                loss = cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            on_batch(plan.batch)

    return Arm(run, float(copies))


def ours(plan: Plan, **fields: Any) -> Arm:
    """`ddrs.training.train`, which leaves the model trained: a turn resumes from the one before."""
    config = TrainingConfig(sigma=SIGMA, epochs=plan.epochs, batch_size=plan.batch, lr=LR, **fields)
    passes = config.passes / config.epochs
    x, y = plan.examples(passes)
    model, examples = plan.build(), list(zip(x, y.tolist(), strict=True))
    return Arm(lambda on_batch: train(model, examples, config, on_batch=on_batch), passes)


def plain_loop(plan: Plan, workers: int = 0) -> Arm:
    """The loop that research code has, on what torch offers; its workers stay between epochs."""
    model, examples = plan.build(), TensorDataset(*plan.examples())
    loader = DataLoader(
        examples, plan.batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)

    def run(on_batch: OnBatch) -> None:
        model.train()
        for _ in range(plan.epochs):
            loss_sum, correct = 0.0, 0
            for clean, labels in loader:
                scores = model(clean + SIGMA * torch.randn_like(clean))
                loss = cross_entropy(scores, labels)
                loss_sum += loss.item() * len(labels)
                correct += int((scores.argmax(1) == labels).sum())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                on_batch(len(labels))

    return Arm(run)


ARMS: dict[str, Callable[[Plan], Arm]] = {
    "bare contiguous": partial(bare, layout=torch.contiguous_format),
    "bare": bare,
    "bare, 4 batches at once": partial(bare, copies=4),
    "ddrs": ours,
    "ddrs augment": partial(ours, augment=True),
    "ddrs data-dependent": partial(ours, data_dependent=DataDependent(warmup=0)),
    "ddrs smoothadv": partial(ours, method="smoothadv", options={"steps": 2, "m": 1}),
    "ddrs macer": partial(ours, method="macer", options={"k": 4}),
    "plain loop": plain_loop,
    "plain loop, 2 workers": partial(plain_loop, workers=2),
    "bare bf16": partial(bare, bf16=True),
    "ddrs bf16": partial(ours, precision="bf16"),
}
"""Name -> what makes the arm for a plan."""

FP32 = tuple(name for name in ARMS if not name.endswith("bf16"))
BF16 = ("bare", "ddrs", "bare bf16", "ddrs bf16")
PLANS = {
    "resnet20": Plan("ResNet-20, 32x32", "resnet20", FP32, 128, steps=2, epochs=2, rounds=7),
    "resnet20 bf16": Plan("the same in bf16", "resnet20", BF16, 128, steps=2, epochs=1, rounds=5),
    "digits": Plan("digits network, 8x8", "digits", FP32, 64, steps=22, epochs=8, rounds=15),
}
"""What is measured -> its plan."""


def clock_for(threads: int) -> tuple[str, Callable[[], float]]:
    """The processor's time for one thread, which stands still while others have the processor.

    Several threads wait for each other, and that is time too: theirs is the wall clock's.
    """
    return ("processor", time.process_time) if threads == 1 else ("wall", time.perf_counter)


def seconds_a_step(arm: Arm, clock: Callable[[], float]) -> float:
    """The mean over the steps of a turn, without the first one and what is before it."""
    moments: list[float] = []
    arm.run(lambda examples: moments.append(clock()))
    return (moments[-1] - moments[0]) / (len(moments) - 1)


@dataclass(frozen=True)
class Cost:
    """How long a step of one arm takes, in the passes of another.

    Attributes:
        of: the arm.
        to: the arm whose passes it is measured in.
        passes: how many of its steps are as many passes as one step of `of`.
        pairs: in every round, the time of a step of `of` over that of `passes` steps of `to`.
        allowed: what the median may be; None where nothing is promised.
    """

    of: str
    to: str
    passes: float
    pairs: tuple[float, ...]
    allowed: float | None

    def to_json(self) -> dict[str, Any]:
        """Everything, derived figures included."""
        figure = median(self.pairs)
        return {
            **asdict(self),
            "pairs": list(self.pairs),
            "median": figure,
            "lowest": min(self.pairs),
            "highest": max(self.pairs),
            "met": None if self.allowed is None else figure <= self.allowed,
        }


def costs(
    seconds: Mapping[str, Sequence[float]],
    passes: Mapping[str, float],
    asked: Sequence[tuple[str, str, float | None]],
) -> list[Cost]:
    """The costs asked for, round by round, of the arms that were measured.

    Args:
        seconds: arm -> seconds per step in every round; rounds are the same for all.
        passes: arm -> passes of a step.
        asked: (arm, arm it is measured in, what is allowed).
    """
    found = []
    for of, to, allowed in asked:
        if of in seconds and to in seconds:
            share = passes[of] / passes[to]
            pairs = tuple(a / (share * b) for a, b in zip(seconds[of], seconds[to], strict=True))
            found.append(Cost(of, to, share, pairs, allowed))
    return found


def measure(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Let all arms take turns; every other round goes backwards.

    Args:
        plan: of one network.
        say: told about every turn.

    Returns:
        The arms with every measurement, and the costs.
    """
    threads = torch.get_num_threads()
    name_of_clock, clock = clock_for(threads)
    arms = {name: ARMS[name](plan) for name in plan.arms}
    for name, arm in arms.items():
        say(f"{plan.title}: {name}: warming up")
        arm.run(lambda examples: None)
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(plan.rounds):
        order = list(arms)
        for name in order if number % 2 == 0 else reversed(order):
            spent = seconds_a_step(arms[name], clock)
            seconds[name].append(spent)
            turn = f"round {number + 1}/{plan.rounds} {name}"
            say(f"{plan.title}: {turn}: {1000 * spent:,.2f} ms per step")
    passes = {name: arm.passes for name, arm in arms.items()}
    return {
        "title": plan.title,
        "batch": plan.batch,
        "threads": threads,
        "clock": name_of_clock,
        "arms": {name: {"passes": passes[name], "seconds": seconds[name]} for name in arms},
        "costs": [cost.to_json() for cost in costs(seconds, passes, COSTS)],
    }

"""What a step costs, on a clock that the test turns; and that every arm makes the steps it says."""

import time
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from benchmarks.report import training_tables
from benchmarks.training import ARMS, PLANS, Arm, Plan, clock_for, costs, measure, seconds_a_step

TINY = Plan("tiny", "digits", tuple(ARMS), batch=4, steps=3, epochs=2, rounds=3)


def test_a_step_is_timed_from_the_end_of_the_first_to_the_end_of_the_last():
    now = 0.0

    def run(on_batch):
        nonlocal now
        for spent in (100.0, 2.0, 3.0, 7.0):  # set-up and the first step, and then three
            now += spent
            on_batch(4)
        now += 50.0  # what comes after

    assert seconds_a_step(Arm(run), clock=lambda: now) == 4.0


def test_one_thread_is_timed_while_it_has_the_processor():
    assert clock_for(1) == ("processor", time.process_time)
    assert clock_for(2) == ("wall", time.perf_counter)


def test_a_cost_is_taken_round_by_round_over_as_many_passes():
    seconds = {"bare": [1.0, 2.0, 4.0], "ours": [2.5, 4.4, 8.0]}
    (cost,) = costs(seconds, {"bare": 1.0, "ours": 2.0}, [("ours", "bare", 1.1)])
    assert cost.pairs == (1.25, 1.1, 1.0)
    found = cost.to_json()
    assert (found["lowest"], found["median"], found["highest"]) == (1.0, 1.1, 1.25)
    assert found["passes"] == 2.0
    assert found["met"] is True  # from its own value on


@pytest.mark.parametrize(("allowed", "met"), [(1.26, True), (1.24, False), (None, None)])
def test_a_cost_above_what_is_allowed_is_not_met(allowed, met):
    seconds = {"bare": [1.0], "ours": [1.25]}
    (cost,) = costs(seconds, {"bare": 1.0, "ours": 1.0}, [("ours", "bare", allowed)])
    assert cost.to_json()["met"] is met


def test_an_arm_that_was_not_measured_has_no_cost():
    assert costs({"ours": [1.0]}, {"ours": 1.0}, [("ours", "bare", 1.1)]) == []


def test_the_images_are_pixels_and_methods_of_more_passes_get_fewer():
    x, y = TINY.examples()
    assert x.shape == (12, 1, 8, 8)
    assert y.shape == (12,)
    assert torch.equal((x * 255).round() / 255, x)
    assert 0 == x.min() < 0.1 < 0.9 < x.max() == 1
    assert len(TINY.examples(1.5)[0]) == 8
    assert len(TINY.examples(100.0)[0]) == 8  # an epoch needs two steps


def test_every_arm_makes_the_steps_of_its_turn_and_knows_its_passes():
    done, passes = {}, {}
    for name in set(ARMS) - {"plain loop, 2 workers"}:
        arm, done[name] = ARMS[name](TINY), []
        arm.run(done[name].append)
        passes[name] = arm.passes
    heavy = {
        "bare, 4 batches at once": 4.0,
        "ddrs data-dependent": 5 / 3,
        "ddrs smoothadv": 7 / 3,
        "ddrs macer": 4.0,
    }
    assert passes == pytest.approx({name: heavy.get(name, 1.0) for name in done})
    assert done == {name: [4] * (4 if name in heavy else 6) for name in done}


class Seeing(nn.Linear):
    """A linear layer that keeps what it sees."""

    def __init__(self, inputs):
        super().__init__(inputs, 2)
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach())
        return super().forward(x.flatten(1))


@dataclass(frozen=True)
class Given(Plan):
    """A plan with a network and examples of the test's."""

    network: nn.Module | None = None
    x: torch.Tensor | None = None

    def build(self):
        return self.network

    def examples(self, passes=1.0):
        return self.x, torch.arange(len(self.x)) % 2


def given(network, x, **fields):
    return Given("", "", (), rounds=1, network=network, x=x, **fields)


def test_the_bare_arm_makes_the_steps_of_its_optimizer_in_the_layout_of_the_library():
    model, same, x = Seeing(12), nn.Linear(12, 2), torch.rand(6, 3, 2, 2)
    same.load_state_dict(model.state_dict())
    ARMS["bare"](given(model, x, batch=4, steps=3, epochs=1)).run(lambda examples: None)
    assert all(torch.equal(seen, x[:4]) for seen in model.seen)
    assert all(seen.is_contiguous(memory_format=torch.channels_last) for seen in model.seen)
    speed = [torch.zeros_like(weight) for weight in same.parameters()]
    for _ in range(3):
        loss = nn.functional.cross_entropy(same(x[:4].flatten(1)), torch.tensor([0, 1, 0, 1]))
        slopes = torch.autograd.grad(loss, list(same.parameters()))
        with torch.no_grad():
            for weight, v, slope in zip(same.parameters(), speed, slopes, strict=True):
                v.mul_(0.9).add_(slope)
                weight.sub_(0.01 * v)
    assert torch.allclose(model.weight, same.weight, atol=1e-6)


def test_the_wide_bare_arm_has_four_batches_in_a_pass():
    model, x = Seeing(1), torch.rand(6, 1, 1, 1)
    arm = ARMS["bare, 4 batches at once"](given(model, x, batch=3, steps=8, epochs=1))
    done = []
    arm.run(done.append)
    assert done == [3, 3]
    assert all(torch.equal(seen, x[:3].repeat(4, 1, 1, 1)) for seen in model.seen)


@pytest.mark.parametrize("arm", ["plain loop", "plain loop, 2 workers", "ddrs"])
def test_an_epoch_shows_every_example_once_under_fresh_noise(arm):
    model, x = Seeing(1), 100.0 * torch.arange(6).view(6, 1)
    torch.manual_seed(0)
    ARMS[arm](given(model, x, batch=2, steps=3, epochs=2)).run(lambda examples: None)
    seen = [batch for batch in model.seen if len(batch) == 2]  # one alone is a look at the model
    assert len(seen) == 6
    clean = 100 * (torch.cat(seen) / 100).round()
    for epoch in clean.split(6):
        assert torch.equal(epoch.sort(dim=0).values, x)
    noise = torch.cat(seen) - clean
    assert len(noise.unique()) == 12
    assert 0.1 < noise.std() < 0.5  # sigma 0.25


def test_arms_take_turns_and_the_table_says_what_each_step_costs():
    said = []
    found = measure(replace(TINY, arms=("bare", "ddrs", "ddrs macer")), said.append)
    turns = [line.split(": ")[1] for line in said if "round" in line]
    names = list(found["arms"])
    rounds = [f"round {n}/3 " for n in (1, 2, 3)]
    orders = [names, names[::-1], names]
    assert turns == [
        mark + name for mark, order in zip(rounds, orders, strict=True) for name in order
    ]
    assert all(len(arm["seconds"]) == 3 for arm in found["arms"].values())
    table = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in training_tables({"digits": found}).splitlines()
    ]
    row = next(cells for cells in table if cells[1:3] == ["ddrs macer", "4.00 x bare"])
    pairs = sorted(
        a / (4 * b)
        for a, b in zip(
            found["arms"]["ddrs macer"]["seconds"], found["arms"]["bare"]["seconds"], strict=True
        )
    )
    assert row[3:8] == [f"{pairs[1]:.3f}", f"{pairs[0]:.3f}", f"{pairs[2]:.3f}", "3", "1.10"]
    assert row[8] == ("yes" if pairs[1] <= 1.1 else "NO")


def test_a_quick_run_has_the_same_networks_and_little_to_do():
    for plan in PLANS.values():
        quick = plan.quick()
        assert quick.case == plan.case
        assert quick.batch * quick.steps * quick.rounds < plan.batch * plan.steps * plan.rounds / 10

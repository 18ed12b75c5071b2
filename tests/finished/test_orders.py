import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.engines.local.certify import certify_run
from ddrs.errors import ConfigurationError, RunError
from ddrs.finished.orders import Range, reorder
from ddrs.inputs import input_digest
from ddrs.jobs.certify import CertifyJob
from support import toy
from support.memory_reference import Reference

# x, own class, own radius, label: the first two are in each other's way, the third is inside of
# both, the fourth has no class of its own, the fifth is far away.
CLAIMS = [
    (0.0, 0, 1.0, 0),
    (1.5, 1, 1.0, 0),
    (0.625, 1, 0.25, 1),
    (0.25, -1, 0.0, 0),
    (9.0, 2, 2.0, 2),
]
RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 2.0)


def made_up_run(folder: Path, memory: str) -> Path:
    """A run whose inputs lie on a line, with the claims above."""
    x = np.zeros((len(CLAIMS), *toy.SHAPE), np.float32)
    x[:, 0, 0] = [claim[0] for claim in CLAIMS]
    labels = np.array([claim[3] for claim in CLAIMS])
    np.savez(folder / "data.npz", x=x, y=labels)
    asked = CertifyJob(
        f"npz:{folder / 'data.npz'}",
        "py:support.toy:linear",
        sigma=0.5,
        n=20,
        seed=1,
        memory=memory,
    )
    certify_run(asked, folder / "run", quiet=True)
    rows = pq.read_table(folder / "run" / "certificates.parquet").to_pylist()
    for row, one, (_, prediction, radius, label) in zip(rows, x, CLAIMS, strict=True):
        row.update(
            own_prediction=prediction,
            own_radius=radius,
            prediction=prediction,
            radius=radius,
            outcome="abstained" if prediction == -1 else "own",
            correct=prediction == label,
            input_digest=input_digest(one),
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "run" / "certificates.parquet")
    return folder / "run"


def every_order() -> list[list[tuple[int, float, str]]]:
    """The answers to the claims in each of their orders, from the rule in slow arithmetic."""
    found = []
    for order in itertools.permutations(range(len(CLAIMS))):
        reference, answers = Reference("l2"), {}
        for i in order:
            x, prediction, radius, _ = CLAIMS[i]
            kept, exact, outcome = reference.expect([x], prediction, radius)
            answers[i] = (kept, float(exact), outcome)
            if kept != -1:
                reference.entries.append(([x], kept, float(exact)))
        found.append([answers[i] for i in range(len(CLAIMS))])
    return found


def accuracy(answers: list[tuple[int, float, str]], radius: float) -> float:
    right = [
        prediction == label and r >= radius
        for (prediction, r, _), (*_, label) in zip(answers, CLAIMS, strict=True)
    ]
    return sum(right) / len(right)


@pytest.mark.parametrize("memory", ["none", "run"])
def test_many_orders_show_what_all_orders_can_do(tmp_path: Path, memory: str) -> None:
    run = made_up_run(tmp_path, memory)
    everything = every_order()
    found = reorder(run, 400, seed=1, quiet=True)  # of 120 orders
    assert found.remembered == (memory == "run")
    given = [(p, r, "abstained" if p == -1 else "own") for _, p, r, _ in CLAIMS]
    for radius in RADII:
        values = [accuracy(answers, radius) for answers in everything]
        spread = found.certified_accuracy[radius]
        assert spread.run == accuracy(given, radius)
        assert (spread.lowest, spread.highest) == (min(values), max(values))
        assert spread.lowest <= spread.median <= spread.highest
    assert any(s.lowest < s.highest for s in found.certified_accuracy.values())
    changed = [
        sum(any(answers[i][part] != given[i][part] for answers in everything) for i in range(5))
        for part in (0, 2, 1)
    ]
    assert [found.changed_class, found.changed_outcome, found.changed_radius] == changed
    assert changed[0] == 2  # the third and the fourth
    acrs = [
        sum(r for (p, r, _), c in zip(answers, CLAIMS, strict=True) if p == c[3]) / len(CLAIMS)
        for answers in everything
    ]
    assert (found.acr.lowest, found.acr.highest) == (
        pytest.approx(min(acrs)),
        pytest.approx(max(acrs)),
    )
    assert found.acr.run == (1.0 + 2.0 + 0.25) / 5


def test_the_seed_decides_the_orders(tmp_path: Path) -> None:
    run = made_up_run(tmp_path, "none")
    assert reorder(run, 3, seed=1, quiet=True) == reorder(run, 3, seed=1, quiet=True)
    one = [reorder(run, 1, seed=seed, quiet=True).acr.median for seed in range(12)]
    assert len(set(one)) > 1


def test_batches_are_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made_up_run(tmp_path, "none")
    expected = reorder(run, 10, quiet=True)
    monkeypatch.setattr("ddrs.finished.orders.INPUTS_PER_BATCH", 2)
    assert reorder(run, 10, quiet=True) == expected


def test_inputs_that_are_far_apart_do_not_depend_on_the_order(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(data, "py:support.toy:linear", policy="search", sigma=0.1, n=400, seed=1)
    certify_run(asked, tmp_path / "run", quiet=True)
    found = reorder(tmp_path / "run", 5, quiet=True)
    assert (found.changed_class, found.changed_outcome, found.changed_radius) == (0, 0, 0)
    assert found.acr == Range(*[pytest.approx(found.acr.run)] * 4)
    assert found.inputs == 12


def test_data_that_is_gone_or_another_is_refused(tmp_path: Path) -> None:
    run = made_up_run(tmp_path, "none")
    whole = (tmp_path / "data.npz").read_bytes()
    with np.load(tmp_path / "data.npz") as file:
        x, y = file["x"], file["y"]
    for inputs, labels in ((x + 1, y), (x, y + 1), (x[:3], y[:3])):
        np.savez(tmp_path / "data.npz", x=inputs, y=labels)
        with pytest.raises(RunError, match=r"data changed|fewer inputs"):
            reorder(run, 2, quiet=True)
    (tmp_path / "data.npz").unlink()
    with pytest.raises(RunError, match=r"cannot be read.*data\.npz"):
        reorder(run, 2, quiet=True)
    (tmp_path / "data.npz").write_bytes(whole)
    assert reorder(run, 2, quiet=True).orders == 2


@pytest.mark.parametrize(("orders", "seed"), [(0, 0), (-1, 0), (1, -1)])
def test_what_can_never_work_is_refused(tmp_path: Path, orders: int, seed: int) -> None:
    with pytest.raises(ConfigurationError, match="at least one order"):
        reorder(tmp_path, orders, seed=seed)

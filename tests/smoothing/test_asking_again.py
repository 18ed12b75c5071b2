"""All tries at one input through one memory share one alpha."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from scipy.stats import binom

from ddrs import ABSTAIN, Memory, SmoothedClassifier
from ddrs.errors import InputError
from ddrs.proof.tries import alpha_left
from support.classifiers import Halfspace, Recorder

ALPHA = 0.05
INPUTS = 60
# More false certificates than this come once in a million such experiments at a rate of ALPHA.
MOST_FALSE = binom.ppf(1 - 1e-6, INPUTS, ALPHA)

COIN = Halfspace([1.0, 0.0])


def smoothed(memory, seed, model=COIN, **options):
    settings = {"sigma": 0.5, "n": 100, "n0": 1, "alpha": ALPHA, **options}
    return SmoothedClassifier(model, 2, seed=seed, memory=memory, **settings)


def on_the_boundary(count=INPUTS):
    """Inputs whose classes are a fair coin under noise, so far apart that no regions meet."""
    return torch.stack([torch.zeros(count), 100.0 * torch.arange(count)], dim=1)


@pytest.mark.parametrize("call", ["certify", "predict"])
@pytest.mark.parametrize(
    "alphas", [[ALPHA] * 10, [0.005 * k for k in range(1, 11)]], ids=["the same", "ever more"]
)
def test_ten_tries_are_false_no_more_often_than_alpha(call, alphas):
    x = on_the_boundary()
    with Memory("memory://") as memory:
        for seed, alpha in enumerate(alphas):
            getattr(smoothed(memory, seed, alpha=alpha), call)(x)
        assert memory.audit().ok
        assert len(memory) <= MOST_FALSE  # ten independent tries: a third of the inputs


def test_tries_through_two_memories_of_one_file_share_alpha(tmp_path):
    url = f"sqlite:///{tmp_path}/memory.db"
    with Memory(url) as one, Memory(url) as other:
        tries = [smoothed([one, other][k % 2], k).certify(on_the_boundary()) for k in range(10)]
        assert all(again == tries[0] for again in tries)
        assert len(one) == sum(row.prediction != ABSTAIN for row in tries[0]) <= MOST_FALSE


def test_asking_again_gives_the_remembered_abstention_without_votes():
    model, x = Recorder(COIN), on_the_boundary(1)
    with Memory("memory://") as memory:
        first = smoothed(memory, 0, model).certify(x)
        assert first[0].outcome == "abstained"
        votes = model.rows
        for again in (
            smoothed(memory, 1, model),
            smoothed(memory, None, model, n=5000, n0=50),
            smoothed(memory, 1, model, alpha=0.01, sigma=0.3, bound="two-sided"),
            smoothed(memory, 0, model),
        ):
            assert again.certify(x) == again.certify(x, at_radii=[0.1]) == first
            assert again.predict(x) == [ABSTAIN]
        assert model.rows == votes
        assert smoothed(memory, 1, model).certify(x.roll(1, 0) + 1e-6) != first  # another input
        assert model.rows > votes


def test_without_a_memory_nothing_is_remembered():
    x = on_the_boundary(60)
    tries = [smoothed(None, seed).certify(x) for seed in range(10)]
    assert (
        sum(any(row.prediction != ABSTAIN for row in some) for some in zip(*tries, strict=True))
        > 10
    )


@pytest.mark.parametrize("call", ["certify", "predict"])
def test_a_larger_alpha_gets_what_is_left(call):
    x = torch.tensor([[0.06, 0.0]])  # class 0 with probability 0.55
    with Memory("memory://") as memory:
        (first,) = smoothed(memory, 1, alpha=1e-9).certify(x)
        assert first.prediction == ABSTAIN
        asked = smoothed(memory, 2, n=4000, n0=1000)
        answers = getattr(asked, call)(x)
        (stored,) = asked.certify(x)
        assert (stored.prediction, stored.alpha) == (0, alpha_left(ALPHA, 1e-9))
        assert answers == ([stored] if call == "certify" else [0])
        entry = next(memory.entries())
        assert json.loads(entry.resolution.evidence)["alpha"] == stored.alpha < ALPHA


def test_a_share_that_can_prove_nothing_is_not_voted_for():
    model, x = Recorder(COIN), on_the_boundary(1)
    with Memory("memory://") as memory:
        first = smoothed(memory, 0, model).certify(x)
        votes = model.rows
        assert smoothed(memory, 1, model, alpha=ALPHA * (1 + 1e-14), n=20).certify(x) == first
        assert model.rows == votes


def test_inputs_of_one_batch_with_and_without_tries_keep_their_order():
    x = torch.cat([on_the_boundary(6), torch.tensor([[2.0, 0.0]])])
    with Memory("memory://") as memory:
        tried = smoothed(memory, 0).certify(x[[1, 4]])
        assert [c.outcome for c in tried] == ["abstained"] * 2
        found = smoothed(memory, 3, alpha=0.08, n=400).certify(x)
        assert [c.input_digest for c in found] == [
            c.input_digest for c in smoothed(None, 3, n=400).certify(x)
        ]
        left = alpha_left(0.08, ALPHA)
        assert [c.alpha == left for c in found] == [k in (1, 4) for k in range(7)]
        for row in range(7):  # as if each came alone, at its share
            alone = smoothed(None, 3, alpha=found[row].alpha, n=400).certify(x[row : row + 1])
            assert replace(found[row], outcome=alone[0].outcome) == alone[0]


def test_the_same_try_again_is_the_same_and_spends_nothing():
    x = on_the_boundary(5)
    with Memory("memory://") as memory:
        classifier = smoothed(memory, 0)
        own = classifier.own(x)
        given = classifier.resolve(x, own)
        spent = list(memory.abstentions())
        assert classifier.resolve(x, own) == classifier.certify(x) == given == own
        assert list(memory.abstentions()) == spent
        # another try that was made meanwhile comes too late
        late = smoothed(memory, 4)
        certain = replace(late.own(torch.tensor([[3.0, 0.0]]))[0], input_digest=own[0].input_digest)
        assert certain.prediction == 0
        assert late.resolve(x[:1], [certain]) == given[:1]
        assert len(memory) == 0


def test_threads_with_other_seeds_store_one_try_of_each_input(tmp_path):
    url, x = f"sqlite:///{tmp_path}/memory.db", on_the_boundary(40)

    def work(seed):
        with Memory(url) as memory:
            return smoothed(memory, seed).certify(x)

    Memory(url).close()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(work, range(6)))
    with Memory(url) as memory:
        stored = {e.point.digest for e in memory.entries()}
        spent = [a.input_digest for a in memory.abstentions()]
        assert memory.audit().ok
        final = smoothed(memory, 99).certify(x)
    assert len(spent) == len(set(spent))
    assert not stored & set(spent)
    assert all(given == final for given in answers)


def test_a_region_that_came_later_answers_what_abstained():
    with Memory("memory://") as memory:
        wide = {"n": 20, "alpha": 1e-6}
        first = smoothed(memory, 0, **wide).certify(torch.tensor([[0.16, 0.25]]))
        assert first[0].prediction == ABSTAIN
        smoothed(memory, 0, n=2000).certify(torch.tensor([[0.5, 0.25]]))
        (again,) = smoothed(memory, 1, **wide).certify(torch.tensor([[0.16, 0.25]]))
    assert (again.prediction, again.outcome) == (0, "inherited")
    assert replace(again, prediction=ABSTAIN, radius=0.0, outcome="abstained") == first[0]


def test_a_read_only_memory_answers_with_what_was_remembered_and_leaves_no_trace(tmp_path):
    url, x = f"sqlite:///{tmp_path}/memory.db", on_the_boundary(2)
    with Memory(url) as memory:
        (first,) = smoothed(memory, 0).certify(x[:1])
        assert first.prediction == ABSTAIN
    with Memory(url, read_only=True) as memory:
        assert smoothed(memory, 1).certify(x[:1]) == [first]
        found = [smoothed(memory, seed).certify(x[1:])[0].seed for seed in (1, 2)]
        assert found == [1, 2]
        assert len(list(memory.abstentions())) == 1


@pytest.mark.parametrize("call", ["certify", "predict"])
def test_another_shape_is_no_other_input(call):
    """A network that takes any shape would be asked at one point as often as one likes."""

    class AnyShape(Halfspace):
        def forward(self, x):
            return super().forward(x.flatten(1))

    model, x = AnyShape([1.0, 0.0]), on_the_boundary(1)
    with Memory("memory://") as memory:
        first = smoothed(memory, 0, model).certify(x)
        assert first[0].outcome == "abstained"
        for axes in range(1, 4):
            with pytest.raises(InputError, match=r"the inputs in the memory have \(2,\)"):
                getattr(smoothed(memory, axes, model), call)(x.reshape(1, *[1] * axes, 2))
        assert smoothed(memory, 9, model).certify(x) == first
        smoothed(memory, 0, model).certify(x + 2)
        assert len(memory) == 1
        assert memory.audit().ok

"""Threads that share a smoothed classifier, or a network, get what one alone gets.

DDRS_LOAD is how often they do so; `make stress` sets it to many times.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from ddrs import Memory, SearchSigma, SmoothedClassifier
from ddrs.errors import ModelError
from support.classifiers import Normalised

LOAD = int(os.environ.get("DDRS_LOAD", "1"))
X = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def often():
    """Let the interpreter change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def network():
    torch.manual_seed(0)
    model = Normalised().train()
    model.body[1].running_mean.uniform_(-1, 1)
    return model


def smoothed(model, **options):
    return SmoothedClassifier(model, 3, sigma=0.4, n=150, n0=10, seed=1, batch_size=32, **options)


@pytest.mark.parametrize("number", range(LOAD))
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("shared", [True, False], ids=["one classifier", "one network"])
def test_votes_are_those_of_one_thread(shared, compile, number):
    if compile:
        pytest.importorskip("openvino")
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = smoothed(model, compile=compile).certify(X)
    one = smoothed(model, compile=compile)

    def work(number):
        mine = one if shared else smoothed(model, compile=compile)
        rows = [(number + k) % len(X) for k in range(len(X))]
        return rows, [mine.certify(X[row : row + 1])[0] for row in rows], mine.predict(X)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(12)))
    for rows, certificates, _ in found:
        assert certificates == [expected[row] for row in rows]
    assert len({tuple(predictions) for _, _, predictions in found}) == 1
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("number", range(LOAD))
def test_a_memory_that_threads_share_stays_sound(number):
    model = network()
    x = torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(5))
    with Memory("memory://") as memory:
        one = SmoothedClassifier(
            model, 3, sigma=SearchSigma(0.3, votes=64), n=150, n0=10, memory=memory
        )

        def work(number):
            return [one.certify(x[k : k + 1])[0] for k in range(number % 5, 24, 2)]

        with ThreadPoolExecutor(8) as pool:
            given = [one for some in pool.map(work, range(10)) for one in some]
        assert memory.audit().ok
        stored = {one.input_digest: (one.prediction, one.radius) for one in one.certify(x)}
    for one in given:
        if one.outcome != "abstained":
            assert stored[one.input_digest] == (one.prediction, one.radius)


def test_weights_that_another_thread_changes_while_they_vote_store_nothing():
    model = network()
    calls = []

    def change(*_):
        calls.append(None)
        if len(calls) == 7:  # after the check and the selection
            model.head.bias.data += 1

    model.register_forward_hook(change)
    with Memory("memory://") as memory:
        with pytest.raises(ModelError, match="changed since"):
            smoothed(model, memory=memory).certify(X[:1])
        assert len(memory) == 0
    assert len(calls) > 7


def test_a_network_put_into_training_by_another_thread_stores_nothing():
    model = network()

    class Meddled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.calls = model, 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 6:
                self.model.train()  # as a training loop of another thread would
            return self.model(x)

    with Memory("memory://") as memory:
        with pytest.raises(ModelError, match=r"training mode while it voted|changes its buffer"):
            smoothed(Meddled(), memory=memory).certify(X)
        assert len(memory) == 0

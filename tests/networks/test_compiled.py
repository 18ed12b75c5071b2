"""Compiled classifiers. They need OpenVINO, which `make install` brings."""

import importlib.util
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ddrs.networks.compiled as compiled
from ddrs import ABSTAIN, GradientSigma, SearchSigma, SmoothedClassifier
from ddrs.engines.local.certify import certify_run
from ddrs.errors import ConfigurationError, ModelError
from ddrs.jobs.certify import CertifyJob
from ddrs.networks.architectures import digits_cnn
from ddrs.networks.compiled import CompiledNetwork, check_compilable
from ddrs.networks.frozen import frozen
from ddrs.networks.identity import model_digest
from ddrs.noise.distributions import Gaussian
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs
from support import toy

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def digits():
    """The digits network after a while of training, as far as its normalisation can tell."""
    torch.manual_seed(0)
    model = digits_cnn(10)
    for _ in range(3):
        model(torch.rand(64, *SHAPE))
    return model.eval()


@pytest.fixture(scope="module")
def network(digits):
    return CompiledNetwork(digits, 10, "fp32", SHAPE)


def pictures(count, seed=0):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_a_compiled_network_gives_the_scores_of_its_model(digits, network):
    x = pictures(50)
    ((key, scores),) = network.run([("key", x)])
    assert key == "key"
    with torch.no_grad():
        torch.testing.assert_close(scores, digits(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_scores_depend_neither_on_the_batch_nor_on_what_else_is_on_its_way(network, rows):
    x = pictures(100)
    ((_, whole),) = network.run([(None, x)])
    parts = list(network.run(enumerate(torch.split(x, rows))))
    assert [key for key, _ in parts] == list(range(len(parts)))
    torch.testing.assert_close(torch.cat([scores for _, scores in parts]), whole, rtol=0, atol=1e-6)


def test_scores_stay_as_they_were_when_the_network_goes_on(network):
    batches = [pictures(8, seed) for seed in range(20)]
    kept = list(network.run(enumerate(batches)))
    for (_, scores), batch in zip(kept, batches, strict=True):
        ((_, again),) = network.run([(None, batch)])
        assert torch.equal(scores, again)


def test_a_run_that_is_given_up_leaves_the_network_usable(network):
    def failing():
        for seed in range(5):
            yield seed, pictures(8, seed)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(network.run(failing()))
    abandoned = network.run(enumerate(pictures(8, seed) for seed in range(5)))
    next(abandoned)
    abandoned.close()
    x = pictures(8)
    ((_, scores),) = network.run([(None, x)])
    assert scores.shape == (8, 10)


def test_its_threads_may_run_on_every_core_that_the_process_may_use(network):
    """Threads bound to the first cores would make two processes wait for each other."""
    seen = set()

    def batches():
        for seed in range(20):
            yield seed, pictures(2048, seed)
            for thread in Path("/proc/self/task").iterdir():  # while the batch is worked on
                with suppress(ProcessLookupError):  # it has just ended
                    seen.add(frozenset(os.sched_getaffinity(int(thread.name))))

    list(network.run(batches()))
    assert seen == {frozenset(os.sched_getaffinity(0))}


def test_the_copy_is_frozen():
    torch.manual_seed(0)
    model = nn.Linear(4, 3).eval()
    network = CompiledNetwork(model, 3, "fp32", (4,))
    x = torch.randn(5, 4)
    ((_, before),) = network.run([(None, x)])
    model.weight.data.zero_()
    ((_, after),) = network.run([(None, x)])
    assert torch.equal(before, after)


def test_compiled_votes_are_those_of_the_model_up_to_rounding(digits):
    inputs = Inputs.of(pictures(3), seed=0)
    eager = NoisyClassifier(digits, 10, Gaussian())
    fast = NoisyClassifier(digits, 10, Gaussian(), compile=True, batch_size=100)
    with frozen(eager.model):
        expected = eager.count_each(inputs, 0.3, 2000, "estimation")
        counts = fast.count_each(inputs, 0.3, 2000, "estimation")
    assert (counts.sum(axis=1) == 2000).all()
    assert np.abs(counts - expected).max() <= 2  # the same noise: only exact ties can differ
    assert np.array_equal(fast.classify(inputs.x), eager.classify(inputs.x))


def test_a_compiled_classifier_is_another_classifier(digits):
    plain = model_digest(digits, "fp32")
    assert NoisyClassifier(digits, 10, Gaussian()).digest == plain
    fast = NoisyClassifier(digits, 10, Gaussian(), compile=True)
    assert fast.digest == model_digest(digits, "fp32", compiled=True) != plain
    fast.check_unchanged()


def test_a_compiled_classifier_certifies_what_can_be_proved():
    model = nn.Linear(4, 2, bias=False).requires_grad_(False)
    model.weight[:] = torch.tensor([[0.6, 0.8, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    model.train()
    x = torch.tensor([[0.3, 0.1, 5.0, 0.0], [-0.2, -0.4, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    smoothed = SmoothedClassifier(model, 2, sigma=0.5, n=20_000, seed=0, compile=True)
    first, second, third = smoothed.certify(x)
    assert (first.prediction, second.prediction, third.prediction) == (0, 1, ABSTAIN)
    assert 0.24 < first.radius < 0.26  # the distance to the boundary, 0.26
    assert 0.41 < second.radius < 0.44
    assert smoothed.predict(x[:2]) == [0, 1]
    assert model.training


@pytest.mark.parametrize("policy", [GradientSigma(0.5, steps=3), SearchSigma(0.5)])
def test_a_compiled_classifier_takes_every_sigma_policy(policy):
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    smoothed = SmoothedClassifier(model, 2, sigma=policy, n=500, seed=0, compile=True)
    (certificate,) = smoothed.certify(torch.ones(1, 4))
    assert certificate.votes == 100 + policy.cost + 500


def test_what_cannot_be_compiled_leaves_no_run_behind(tmp_path):
    job = CertifyJob(
        data=toy.write_inputs(tmp_path / "data.npz"),
        model="py:support.toy:linear",
        sigma=0.5,
        n=100,
        compile=True,
    )
    out = tmp_path / "run"
    with pytest.raises(ModelError, match="cannot be compiled"):
        certify_run(job, out, quiet=True)
    assert not out.exists()
    summary = certify_run(replace(job, compile=False), out, quiet=True)
    assert summary.inputs == 12


class Looking(nn.Module):
    """A network whose Python code looks at the values in a batch."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize("model", [Looking(), Pair()])
def test_what_is_no_single_graph_is_one_clear_error(model):
    with pytest.raises(ModelError, match=r"cannot be compiled.*leave compile out") as caught:
        CompiledNetwork(model, 3, "fp32", (3,))
    assert "\n" not in str(caught.value)


def test_a_model_with_other_scores_is_refused():
    network = CompiledNetwork(nn.Linear(8, 4).eval(), 7, "fp32", (8,))
    with pytest.raises(ModelError, match="scores of shape"):
        list(network.run([(None, torch.zeros(2, 8))]))


def test_what_cannot_be_compiled_for_is_refused_with_advice(monkeypatch):
    with pytest.raises(ConfigurationError, match=r"CPU.*leave compile out"):
        check_compilable(torch.device("cuda"), "fp32")

    class Core:
        def get_property(self, device, name):
            return ["FP32"]

    monkeypatch.setattr(compiled, "_core", Core)
    check_compilable(torch.device("cpu"), "fp32")
    with pytest.raises(ConfigurationError, match="no bfloat16"):
        check_compilable(torch.device("cpu"), "bf16")
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"ddrs\[compile\]"):
        check_compilable(torch.device("cpu"), "fp32")


def test_openvino_is_there():
    assert importlib.util.find_spec("openvino") is not None

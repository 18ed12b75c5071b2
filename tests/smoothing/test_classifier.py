import copy
import doctest
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch

from ddrs import ABSTAIN, Memory, SmoothedClassifier, recompute_radius
from ddrs.errors import (
    ConfigurationError,
    DDRSError,
    InputError,
    ModelError,
    StoreMismatchError,
)
from ddrs.noise.distributions import Gaussian, Uniform
from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.policy import SigmaChoice
from ddrs.sigma.search import SearchSigma
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs
from support.classifiers import Ball, Halfspace, Normalised, Recorder, Returns, Table

SIDE = Halfspace([1.0, 0.0])


def smoothed(model=SIDE, classes=2, **options):
    return SmoothedClassifier(model, classes, **{"n": 400, "n0": 20, "seed": 0, **options})


def points(count=6, features=8):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(2))


def test_a_certificate_holds_its_evidence():
    model = Recorder(Halfspace([0.6, 0.8], bias=0.2))
    x = torch.tensor([[0.4, 0.7]])
    (certificate,) = smoothed(model, sigma=0.5, alpha=0.01).certify(x)
    assert certificate.prediction == certificate.own_prediction == 0
    assert certificate.outcome == "own"
    assert certificate.radius == certificate.own_radius == recompute_radius(certificate)
    assert 0.5 < certificate.radius / float(model.model.distance(x)[0]) < 1
    assert (certificate.n, certificate.n0, certificate.alpha) == (400, 20, 0.01)
    assert certificate.votes == model.rows == 420
    assert (certificate.sigma, certificate.norm, certificate.bound) == (0.5, "l2", "one-sided")
    assert certificate.count + certificate.runner_up == 400
    assert certificate.seed == 0


@pytest.mark.parametrize("bound", ["one-sided", "two-sided"])
@pytest.mark.parametrize("noise", [Gaussian(), Uniform()])
def test_counts_do_not_depend_on_batches_order_or_company(noise, bound):
    x = points()
    options = {"model": Table(8, 4), "classes": 4, "noise": noise, "bound": bound, "sigma": 0.5}
    expected = smoothed(**options).certify(x)
    assert len({certificate.count for certificate in expected}) > 3
    for size in (1, 7, 512):
        assert smoothed(batch_size=size, **options).certify(x) == expected
    assert smoothed(**options).certify(x.flip(0)) == expected[::-1]
    assert [smoothed(**options).certify(x[row : row + 1])[0] for row in range(6)] == expected
    for certificate in expected:
        assert recompute_radius(certificate) == certificate.own_radius
        assert certificate.norm == noise.norm


def test_another_seed_gives_other_counts():
    x = points()
    counts = [
        [c.count for c in smoothed(Table(8, 4), 4, sigma=0.8, seed=seed).certify(x)]
        for seed in (0, 1, 2**32)
    ]
    assert all(first != second for first, second in pairwise([*counts, counts[0]]))


def test_without_a_seed_each_call_draws_one_and_records_it():
    x = points()
    classifier = smoothed(Table(8, 4), 4, sigma=0.8, seed=None)
    first, second = classifier.certify(x), classifier.certify(x)
    assert [c.count for c in first] != [c.count for c in second]
    assert first[0].seed != second[0].seed
    assert len({certificate.seed for certificate in first}) == 1
    assert smoothed(Table(8, 4), 4, sigma=0.8, seed=first[0].seed).certify(x) == first


def test_the_bounds_never_see_the_votes_that_select():
    # With n0 = n the counts of selection and of estimation would be the same if shared.
    x = points(20)
    classifier = smoothed(Table(8, 4), 4, sigma=0.8, n0=400)
    inputs = [classifier.certify(x[row : row + 1])[0] for row in range(20)]
    selection = classifier.alternatives.classifiers[0].count_each(
        Inputs.of(x, 0), 0.8, 400, "selection"
    )
    assert [c.count for c in inputs] != selection.max(axis=1).tolist()


def test_two_sided_proves_at_least_as_much_for_many_classes():
    x = points(20) * 0.3
    one, two = (
        smoothed(Table(8, 10), 10, sigma=0.6, n=5000, bound=bound).certify(x)
        for bound in ("one-sided", "two-sided")
    )
    assert [c.count for c in one] == [c.count for c in two]
    undecided = [row for row, c in enumerate(one) if c.count < 4500]
    assert len(undecided) > 5
    assert all(two[row].radius >= one[row].radius for row in undecided)
    assert sum(c.radius > 0 for c in two) > sum(c.radius > 0 for c in one)


def test_double_precision_inputs_and_models():
    x = points(2).double()
    assert [c.prediction for c in smoothed(Table(8, 4), 4, sigma=0.1).certify(x)] == [
        c.prediction for c in smoothed(Table(8, 4), 4, sigma=0.1).certify(x.float())
    ]
    policy = GradientSigma(0.2, steps=5, lr=0.01)
    assert all(c.sigma > 0 for c in smoothed(Table(8, 4), 4, sigma=policy).certify(x))


def test_bfloat16_changes_the_identity_and_runs():
    torch.manual_seed(0)
    model, x = torch.nn.Linear(8, 3), points(2)
    full, half = (
        smoothed(model, 3, precision=precision).certify(x) for precision in ("fp32", "bf16")
    )
    assert full[0].model_digest != half[0].model_digest
    seen = []
    spy = Returns(lambda batch: seen.append(model(batch).dtype) or model(batch))
    smoothed(spy, 3, precision="bf16", identity="spy").certify(x)
    assert set(seen) == {torch.bfloat16}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_memory_takes_inputs_of_every_float_dtype(dtype):
    with Memory("memory://") as memory:
        classifier = smoothed(SIDE, memory=memory)
        (first,) = classifier.certify(torch.tensor([[1.0, 0.5]], dtype=dtype))
        assert classifier.certify(torch.tensor([[1.0, 0.5]])) == [first]


def test_no_inputs_have_no_certificates():
    with Memory("memory://") as memory:
        for classifier in (smoothed(), smoothed(memory=memory)):
            assert classifier.certify(torch.empty(0, 2)) == []
            assert classifier.predict(torch.empty(0, 2)) == []


@pytest.mark.parametrize("policy", [0.5, FixedSigma(0.5), GradientSigma(0.5, steps=3),
                                    SearchSigma(0.5, votes=100)])  # fmt: skip
def test_the_cost_bounds_the_votes(policy):
    model = Recorder(Table(8, 4))
    classifier = smoothed(model, 4, sigma=policy)
    certificates = classifier.certify(points())
    assert sum(certificate.votes for certificate in certificates) == model.rows
    assert all(certificate.votes <= classifier.cost for certificate in certificates)


def test_predict_names_the_class_or_abstains():
    x = torch.tensor([[0.5, 0.0], [-0.5, 0.0], [0.0, 3.0]])
    assert smoothed().predict(x) == [0, 1, ABSTAIN]


# What comes in wrong


@pytest.mark.parametrize(
    "x",
    [
        torch.tensor([[1.0, float("nan")]]),
        torch.tensor([[1.0, float("inf")]]),
        torch.ones(2, 2, dtype=torch.int64),
        torch.ones(2),
        torch.ones(2, 0),
        np.ones((2, 2), np.int64),
    ],
)
@pytest.mark.parametrize("call", ["certify", "predict"])
def test_bad_inputs_are_one_clear_error(x, call):
    with Memory("memory://") as memory:
        with pytest.raises(InputError) as caught:
            getattr(smoothed(memory=memory), call)(x)
        assert "\n" not in str(caught.value)
        assert len(memory) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"sigma": 0.0},
        {"sigma": -0.5},
        {"sigma": float("nan")},
        {"sigma": "0.5"},
        {"sigma": None},
        {"n": 0},
        {"n": 10.5},
        {"n0": 0},
        {"n0": None},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"alpha": float("nan")},
        {"alpha": "x"},
        {"seed": "x"},
        {"classes": 1},
        {"model": lambda x: x},
        {"bound": "both"},
        {"precision": "int8"},
        {"batch_size": 0},
        {"memory": "sqlite:///regions.db"},
    ],
)
def test_arguments_that_can_never_work_are_refused_at_once(options):
    with pytest.raises(ConfigurationError) as caught:
        smoothed(**options)
    assert "\n" not in str(caught.value)


def test_votes_that_can_certify_nothing_are_refused_and_predict_still_abstains():
    classifier, x = smoothed(n=9, alpha=0.001), torch.ones(1, 2)
    for call in (classifier.certify, classifier.own):
        with pytest.raises(ConfigurationError, match="give n of at least 10"):
            call(x)
    assert classifier.predict(x) == [ABSTAIN]
    with Memory("memory://") as memory, pytest.raises(ConfigurationError, match="at least 10"):
        smoothed(n=9, alpha=0.001, memory=memory).predict(x)
    assert smoothed(n=10, alpha=0.001).certify(x)
    looks = smoothed(n=130, alpha=2**-129.5)  # a second look halves the level
    assert looks.certify(x)
    with pytest.raises(ConfigurationError, match="give n of at least 131"):
        looks.certify(x, at_radii=[0.5])


def test_numpy_scalars_are_numbers():
    options = {"sigma": np.float32(0.5), "n": np.int64(400), "seed": np.uint32(0)}
    with Memory("memory://") as memory:
        classifier = smoothed(memory=memory, alpha=np.float64(0.01), **options)
        assert classifier.certify(torch.ones(1, 2)) == smoothed(sigma=0.5, alpha=0.01).certify(
            torch.ones(1, 2)
        )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Table(5, 4), "failed on"),
        (Table(8, 3), r"got \[\d+, 3\]"),
        (Returns(lambda x: (x[:, :4],)), "got tuple"),
        (Returns(lambda x: x[:, :4].log() * float("nan")), "NaN"),
        (Recorder(Table(8, 4), limit=3), "out of luck"),
    ],
)
@pytest.mark.parametrize("sigma", [0.5, SearchSigma(0.5), GradientSigma(0.5, steps=3)])
def test_a_failing_model_is_one_error_that_says_what_was_certified(model, message, sigma):
    model = copy.deepcopy(model)
    with Memory("memory://") as memory:
        classifier = smoothed(model, 4, batch_size=16, alpha=0.01, sigma=sigma, memory=memory)
        with pytest.raises(ModelError, match=message) as caught:
            classifier.certify(points())
        for part in ("n=400", "n0=20", "alpha=0.01", "sigma 0.5", "6 inputs of shape [8]"):
            assert part in str(caught.value)
        assert isinstance(caught.value.__cause__, DDRSError)
        assert len(memory) == 0


# The user's model


def state(model):
    return {
        "modes": [module.training for module in model.modules()],
        "grads": [(p.requires_grad, p.grad is None) for p in model.parameters()],
        "places": [(t.dtype, t.device, t.data_ptr()) for t in model.state_dict().values()],
        "values": [t.clone().tolist() for t in model.state_dict().values()],
        "gradient": model.head.bias.grad.tolist(),
    }


def trained_halfway():
    torch.manual_seed(0)
    model = Normalised().train()
    model(torch.randn(4, 1, 5, 5)).sum().backward()
    model.body[1].eval()
    model.body[0].weight.requires_grad_(False)
    model.head.weight.grad = None
    return model


@pytest.mark.parametrize("sigma", [0.5, GradientSigma(0.5, steps=3), SearchSigma(0.5, votes=100)])
@pytest.mark.parametrize("call", ["certify", "predict"])
def test_the_model_comes_back_as_it_was(sigma, call):
    model = trained_halfway()
    before = state(model)
    getattr(smoothed(model, 3, sigma=sigma), call)(torch.randn(2, 1, 5, 5))
    assert state(model) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_model_comes_back_as_it_was_after_a_failure(error):
    model = trained_halfway()

    def fail(module, arguments):
        raise error("stop")

    classifier = smoothed(model, 3)
    model.head.register_forward_pre_hook(fail)
    before = state(model)
    with pytest.raises((ModelError, KeyboardInterrupt)):
        classifier.certify(torch.randn(2, 1, 5, 5))
    assert state(model) == before


# With a memory


def test_the_same_input_gets_its_stored_certificate_without_new_votes():
    model = Recorder(Halfspace([1.0, 0.0]))
    x = torch.tensor([[1.0, 0.0], [-2.0, 0.3]])
    with Memory("memory://") as memory:
        classifier = smoothed(model, memory=memory, seed=None)
        first = classifier.certify(x)
        votes = model.rows
        assert classifier.certify(x.flip(0)) == first[::-1]
        assert classifier.predict(x) == [0, 1]
        assert model.rows == votes
        assert len(memory) == 2


def test_a_covered_input_inherits_what_its_own_votes_cannot_prove():
    with Memory("memory://") as memory:
        classifier = smoothed(memory=memory, sigma=0.5)
        (wide,) = classifier.certify(torch.tensor([[1.0, 0.0]]))
        assert wide.radius > 0.5
        (near,) = classifier.certify(torch.tensor([[1.0 - wide.radius / 2, 0.0]]))
        assert near.prediction == 0
        assert near.radius >= near.own_radius
        (far,) = classifier.certify(torch.tensor([[1.0, 0.01]]))
        assert far.outcome in ("own", "inherited")
        assert memory.audit().ok


def test_predict_inside_a_region_answers_without_votes():
    model = Recorder(Halfspace([1.0, 0.0]))
    with Memory("memory://") as memory:
        classifier = smoothed(model, memory=memory)
        (certificate,) = classifier.certify(torch.tensor([[1.0, 0.0]]))
        votes = model.rows
        inside = torch.tensor([[1.0 - 0.99 * certificate.radius, 0.0]])
        assert classifier.predict(inside) == [0]
        assert model.rows == votes
        assert classifier.predict(torch.tensor([[-1.0, 0.0]])) == [1]
        assert model.rows == votes + 420
        assert len(memory) == 2


@dataclass(frozen=True)
class Quarrel:
    """A small scale for some inputs and a large one for others, so that their balls conflict."""

    initial: ClassVar[float] = 0.1
    cost: ClassVar[int] = 0
    per_input: ClassVar[bool] = True

    def choose(self, classifier, inputs, selected):
        small = np.array([int(digest, 16) % 8 > 0 for digest in inputs.digests])
        return SigmaChoice(np.where(small, self.initial, 1.5), np.zeros(len(small), np.int64))


@pytest.mark.parametrize("call", ["certify", "predict"])
@pytest.mark.parametrize("noise", [Gaussian(), Uniform()])
def test_a_batch_is_answered_as_if_one_by_one(call, noise):
    # Class 0 is a small ball: balls of class 1 certified under a large sigma reach into it.
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(5)) * 2 - 1
    x = torch.cat([x, x[:5]])
    answers, entries = [], []
    for rows in (45, 1, 7):
        with Memory("memory://", norm=noise.norm) as memory:
            classifier = smoothed(
                Ball(0.9), sigma=Quarrel(), noise=noise, memory=memory, alpha=0.05
            )
            parts = [getattr(classifier, call)(part) for part in x.split(rows)]
            answers.append([answer for part in parts for answer in part])
            entries.append(len(memory))
            assert memory.audit().ok
    assert answers[0] == answers[1] == answers[2]
    assert len(set(entries)) == 1
    if call == "predict":
        assert set(answers[0]) >= {0, 1}
        return
    assert {"own", "trimmed", "inherited"} <= {certificate.outcome for certificate in answers[0]}
    overruled = [c.own_prediction for c in answers[0] if c.prediction != c.own_prediction]
    assert noise.norm == "l1" or overruled
    assert all(recompute_radius(c) == c.own_radius for c in answers[0])
    assert answers[0][40:] == answers[0][:5]


def test_an_abstention_is_answered_and_not_stored():
    with Memory("memory://") as memory:
        classifier = smoothed(memory=memory)
        (certificate,) = classifier.certify(torch.zeros(1, 2))
        assert (certificate.prediction, certificate.radius) == (ABSTAIN, 0.0)
        assert certificate.outcome == "abstained"
        assert classifier.predict(torch.zeros(1, 2)) == [ABSTAIN]
        assert len(memory) == 0


def test_a_memory_of_another_norm_model_or_noise_is_refused():
    with Memory("memory://", norm="l1") as memory, pytest.raises(StoreMismatchError, match="l1"):
        smoothed(memory=memory)
    with Memory("memory://") as memory:
        smoothed(memory=memory).certify(torch.ones(1, 2))
        smoothed(memory=memory, sigma=SearchSigma(0.5))  # another policy may share it
        with pytest.raises(StoreMismatchError):
            smoothed(Halfspace([1.0, 0.1]), memory=memory)
        with pytest.raises(StoreMismatchError):
            smoothed(precision="bf16", memory=memory)
        assert len(memory) == 1


def test_a_noisy_classifier_is_taken_as_it_is():
    noisy = NoisyClassifier(Table(8, 4), 4, Uniform(), precision="fp32")
    options = {"classes": 4, "noise": Uniform(), "sigma": 0.5}
    assert smoothed(noisy, **options).certify(points()) == smoothed(noisy.model, **options).certify(
        points()
    )
    assert smoothed([noisy], **options).alternatives.classifiers == [noisy]
    for other in ({"classes": 3}, {"noise": Gaussian()}):
        with pytest.raises(ConfigurationError, match="every classifier must be one of"):
            smoothed(noisy, **{**options, **other})


def test_the_example_of_the_docstring_runs():
    test = doctest.DocTestFinder().find(SmoothedClassifier, globs={})[0]
    assert len(test.examples) == 5
    assert doctest.DocTestRunner().run(test).failed == 0

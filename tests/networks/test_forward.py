import copy
from collections import namedtuple

import pytest
import torch
from torch import nn

from ddrs.errors import ModelError
from ddrs.networks.forward import (
    EagerNetwork,
    Forward,
    check_ready,
    check_scores,
    count_classes,
    number_type,
)
from support.classifiers import Normalised, Recorder, Returns
from support.toy_training import same, weights


class Viewing(nn.Module):
    """A convolution whose output is flattened by `view`, which the channels-last layout forbids."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(3, 5, 3)
        self.head = nn.Linear(5 * 2 * 2, 4)

    def forward(self, x):
        return self.head(self.body(x).view(len(x), -1))


def images(count=4):
    return torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def test_a_model_that_insists_on_the_usual_layout_gets_it():
    x, model = images(), Viewing().eval()
    with pytest.raises(RuntimeError, match="view"):
        model(x.contiguous(memory_format=torch.channels_last))
    network = EagerNetwork(model, 4, "fp32")
    with torch.no_grad():
        torch.testing.assert_close(network(x), model(x))
        torch.testing.assert_close(network(x), model(x))  # and so the next time


def test_an_error_of_later_passes_is_not_taken_for_one_of_the_layout():
    layouts, model = [], nn.Sequential(nn.Conv2d(3, 5, 4), nn.Flatten())
    model.register_forward_pre_hook(lambda _, inputs: layouts.append(inputs[0].is_contiguous()))
    network = EagerNetwork(model, 5, "fp32")
    network(images())
    memory = model.register_forward_hook(lambda *_: torch.empty(2**60))
    with pytest.raises(ModelError, match="memory"):
        network(images())
    memory.remove()
    network(images())
    assert layouts == [False, False, False]


def test_scores_come_with_their_keys_and_in_order():
    model, batches = Viewing().eval(), dict(zip("abc", torch.split(images(7), 3), strict=False))
    with torch.no_grad():
        done = dict(EagerNetwork(model, 4, "fp32").run(batches.items()))
        assert list(done) == ["a", "b", "c"]
        for key, batch in batches.items():
            torch.testing.assert_close(done[key], model(batch))


def test_bfloat16_rounds_the_scores():
    x, model = images(), Viewing().eval()
    with torch.no_grad():
        exact, rounded = (EagerNetwork(model, 4, precision)(x) for precision in ("fp32", "bf16"))
    assert not torch.equal(rounded.float(), exact)
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.05)


ZEROS = torch.zeros(3, 4)
Named = namedtuple("Named", "logits hidden")


def one_nan():
    scores = ZEROS.clone()
    scores[1, 2] = torch.nan
    return scores


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.zeros(3, 5), r"got \[3, 5\]"),
        (torch.zeros(2, 4), r"got \[2, 4\]"),
        ([1.0], "got list: .*out.logits"),
        ((ZEROS, ZEROS), r"got tuple: .*out.logits or out\[0\]"),
        ({"logits": ZEROS}, r'got dict: .*out\["logits"\]'),
        (Named(ZEROS, ZEROS), "got Named: return the tensor of scores, such as out.logits"),
        (None, "got NoneType: return the tensor"),
        (ZEROS.numpy(), "got ndarray: return the tensor"),
        (torch.full((3, 4), torch.nan), "NaN scores for 3 of 3 rows"),
        (one_nan(), "NaN scores for 1 of 3 rows"),
        (ZEROS.to(torch.complex64), "got complex64 scores: return real numbers"),
        (ZEROS.to_sparse(), "got sparse scores: return out.to_dense"),
        (ZEROS.to("meta"), "got scores without values"),
        (ZEROS.to(torch.float8_e4m3fn), "got float8_e4m3fn scores: return real numbers"),
        (ZEROS.to(torch.uint16), "got uint16 scores: return real numbers"),
        (ZEROS > 0, "got bool scores: return real numbers"),
    ],
)
def test_what_decides_no_class_is_refused_with_what_to_return(scores, message):
    with pytest.raises(ModelError, match=message) as caught:
        check_scores(scores, 3, 4)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # torch warns of what is a prototype
@pytest.mark.parametrize("kind", ["quantised", "nested"])
def test_scores_in_other_forms_are_refused(kind):
    if kind == "quantised":
        scores = torch.quantize_per_tensor(ZEROS, 0.1, 0, torch.quint8)
    else:
        scores = torch.nested.nested_tensor(list(ZEROS))
    with pytest.raises(ModelError, match=f"got {kind} scores: return out.(to_)?de"):
        check_scores(scores, 3, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_scores_that_can_be_compared_are_taken(dtype):
    assert check_scores(ZEROS.to(dtype), 3, 4).dtype == dtype


def with_weights(function):
    return nn.Sequential(nn.Linear(4, 4), Returns(function))


def test_scores_are_the_model_s():
    model, x = Normalised().eval(), torch.rand(5, 1, 6, 6)
    assert torch.allclose(Forward(model, "fp32")(x), model(x), atol=1e-6)
    assert dict(Forward(model, "fp32").named_parameters()).keys() == {
        f"model.{name}" for name, _ in model.named_parameters()
    }


def test_bf16_is_near_and_its_gradients_are_single():
    model, x = Normalised().eval(), torch.rand(5, 1, 6, 6)
    scores = Forward(model, "bf16")(x)
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, model(x))
    assert torch.allclose(scores, model(x), atol=0.02)
    scores.sum().backward()
    assert all(weight.grad.dtype == torch.float32 for weight in model.parameters())


def test_double_precision_stays():
    assert Forward(nn.Linear(3, 2).double(), "fp32")(torch.rand(1, 3).double()).dtype == (
        torch.float64
    )


class Noting(nn.Module):
    """A network that needs the usual memory layout, and notes the layouts that it gets."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 1)
        self.layouts = []

    def forward(self, x):
        self.layouts.append(x.is_contiguous())
        return self.convolution(x).view(len(x), -1)


def test_a_model_that_needs_the_usual_layout_gets_it():
    model = Noting()
    network, x = Forward(model, "fp32"), torch.rand(4, 2, 5, 5)
    assert count_classes(network, x) == 75
    assert torch.equal(network(x), model.convolution(x).flatten(1))
    assert model.layouts == [False, True, True]


class Exhausted(Noting):
    """A network that any layout suits, until it runs out of memory."""

    exhausted = False

    def forward(self, x):
        self.layouts.append(x.is_contiguous())
        if self.exhausted:
            raise RuntimeError("out of memory")
        return self.convolution(x).flatten(1)


def test_an_error_after_the_first_pass_is_no_matter_of_layout():
    model = Exhausted()
    network, x = Forward(model, "fp32"), torch.rand(4, 2, 5, 5)
    network(x)
    model.exhausted = True
    with pytest.raises(RuntimeError, match="out of memory"):
        network(x)
    model.exhausted = False
    network(x)
    assert model.layouts == [False, False, False]


def test_classes_are_counted_without_a_trace():
    model = Normalised(7)
    before = weights(model)
    assert count_classes(Forward(model, "fp32"), torch.rand(1, 1, 6, 6)) == 7
    assert same(weights(model), before)
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(5, 3), r"the model failed on inputs of shape \[4\]: .*choose one"),
        (Recorder(nn.Linear(4, 3), limit=0), "out of luck"),
        (with_weights(lambda x: x[:, 0]), "must return scores of shape"),
        (with_weights(lambda x: x[:, :1]), "must return scores of shape"),
        (with_weights(lambda x: x[None]), "must return scores of shape"),
        (with_weights(lambda x: {"logits": x}), "scores of shape .* got dict"),
        (with_weights(lambda x: x.long()), "no gradient"),
        (with_weights(lambda x: x.to_sparse()), "out.to_dense"),
        (Returns(lambda x: x), "no weights that can be trained"),
        (nn.Linear(4, 3).requires_grad_(False), "no weights that can be trained"),
    ],
)
def test_a_model_that_does_not_fit_is_one_error(model, message):
    with pytest.raises(ModelError, match=message) as caught:
        count_classes(Forward(model, "fp32"), torch.rand(1, 4), to_train=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "model",
    [nn.Sequential(nn.Flatten(), nn.Linear(8, 3)), nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten())],
    ids=["linear", "convolution"],
)
def test_a_network_of_another_type_gets_its_inputs_in_it(model, kind):
    model = copy.deepcopy(model).to(kind)
    x = torch.rand(4, 2, 2, 2)
    assert number_type(model) == kind
    found = Forward(model, "fp32")(x)
    assert found.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    assert torch.allclose(found, model(x.to(kind)).to(found.dtype), rtol=1e-2)


def test_a_network_of_several_types_or_none_gets_its_inputs_as_they_are():
    mixed = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3).double())
    assert number_type(mixed) == number_type(nn.Flatten()) == torch.float32
    seen = Returns(lambda x: seen_types.append(x.dtype) or x)
    seen_types = []
    Forward(seen, "fp32")(torch.rand(2, 3, dtype=torch.float64))
    assert seen_types == [torch.float64]


def test_float64_inputs_of_a_float32_network_are_said_to_be_so():
    network = EagerNetwork(nn.Linear(3, 2), 2, "fp32")
    with pytest.raises(ModelError, match="give it float32 inputs"):
        network(torch.rand(1, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), "1.weight .* run the model once"),
        (nn.Linear(3, 2, device="meta"), "weight of the model is on the meta device"),
    ],
)
def test_a_model_without_values_is_refused(model, message):
    with pytest.raises(ModelError, match=message):
        check_ready(model)

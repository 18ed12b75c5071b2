import pytest
import torch
from torch import nn

from ddrs.errors import ConfigurationError, ModelError
from ddrs.training.network import Network, check_precision, count_classes
from support.classifiers import Normalised, Recorder, Returns
from support.toy_training import same, weights


def with_weights(function):
    return nn.Sequential(nn.Linear(4, 4), Returns(function))


def test_scores_are_the_model_s():
    model, x = Normalised().eval(), torch.rand(5, 1, 6, 6)
    assert torch.allclose(Network(model, "fp32")(x), model(x), atol=1e-6)
    assert dict(Network(model, "fp32").named_parameters()).keys() == {
        f"model.{name}" for name, _ in model.named_parameters()
    }


def test_bf16_is_near_and_its_gradients_are_single():
    model, x = Normalised().eval(), torch.rand(5, 1, 6, 6)
    scores = Network(model, "bf16")(x)
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, model(x))
    assert torch.allclose(scores, model(x), atol=0.02)
    scores.sum().backward()
    assert all(weight.grad.dtype == torch.float32 for weight in model.parameters())


def test_double_precision_stays():
    assert Network(nn.Linear(3, 2).double(), "fp32")(torch.rand(1, 3).double()).dtype == (
        torch.float64
    )


class Viewing(nn.Module):
    """A network that needs the usual memory layout, and notes the layouts that it gets."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 1)
        self.layouts = []

    def forward(self, x):
        self.layouts.append(x.is_contiguous())
        return self.convolution(x).view(len(x), -1)


def test_a_model_that_needs_the_usual_layout_gets_it():
    model = Viewing()
    network, x = Network(model, "fp32"), torch.rand(4, 2, 5, 5)
    assert count_classes(network, x) == 75
    assert torch.equal(network(x), model.convolution(x).flatten(1))
    assert model.layouts == [False, True, True]


class Exhausted(Viewing):
    """A network that any layout suits, until it runs out of memory."""

    exhausted = False

    def forward(self, x):
        self.layouts.append(x.is_contiguous())
        if self.exhausted:
            raise RuntimeError("out of memory")
        return self.convolution(x).flatten(1)


def test_an_error_after_the_first_pass_is_no_matter_of_layout():
    model = Exhausted()
    network, x = Network(model, "fp32"), torch.rand(4, 2, 5, 5)
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
    assert count_classes(Network(model, "fp32"), torch.rand(1, 1, 6, 6)) == 7
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
        (with_weights(lambda x: {"logits": x}), "the model failed"),
        (Returns(lambda x: x), "no weights that can be trained"),
        (nn.Linear(4, 3).requires_grad_(False), "no weights that can be trained"),
    ],
)
def test_a_model_that_does_not_fit_is_one_error(model, message):
    with pytest.raises(ModelError, match=message) as caught:
        count_classes(Network(model, "fp32"), torch.rand(1, 4))
    assert "\n" not in str(caught.value)


def test_bf16_needs_a_gpu_that_has_it(monkeypatch):
    cuda = torch.device("cuda")
    check_precision("bf16", torch.device("cpu"))
    check_precision("fp32", cuda)
    for has in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, has=has: has)
        if has:
            check_precision("bf16", cuda)
        else:
            with pytest.raises(ConfigurationError, match="no bfloat16"):
                check_precision("bf16", cuda)

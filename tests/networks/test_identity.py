import torch
from torch import nn

from ddrs.networks.identity import model_digest
from support.classifiers import Normalised


def test_the_digest_names_weights_buffers_structure_and_precision():
    torch.manual_seed(0)
    model = Normalised()
    digest = model_digest(model, "fp32")
    assert digest == model_digest(model, "fp32") == model_digest(model.eval(), "fp32")
    assert digest != model_digest(model, "bf16")

    def after(change):
        other = Normalised()
        other.load_state_dict(model.state_dict())
        assert model_digest(other, "fp32") == digest
        change(other)
        return model_digest(other, "fp32")

    assert after(lambda m: m.head.bias.data[0].add_(1e-6)) != digest
    assert after(lambda m: m.body[1].running_mean[0].add_(1e-6)) != digest
    assert after(lambda m: m.body.__setitem__(2, nn.Tanh())) != digest
    assert after(lambda m: m.double()) != digest


def test_a_digest_for_every_kind_of_tensor():
    model = nn.Linear(2, 2).bfloat16()
    model.register_buffer("scalar", torch.tensor(1.0))
    model.register_buffer("nothing", torch.empty(0))
    model.register_buffer("mask", torch.tensor([True, False]))
    digest = model_digest(model, "fp32")
    model.scalar += 1
    assert model_digest(model, "fp32") != digest


def test_the_digest_sees_settings_that_are_no_tensors():
    layers = [nn.Conv2d(1, 2, 3, stride=stride) for stride in (1, 2)]
    layers[1].load_state_dict(layers[0].state_dict())
    assert model_digest(layers[0], "fp32") != model_digest(layers[1], "fp32")


def test_a_module_that_is_used_twice_counts_twice():
    linear, relu = nn.Linear(4, 4), nn.ReLU()
    once, twice = nn.Sequential(linear, relu), nn.Sequential(linear, relu, linear)
    assert model_digest(once, "fp32") != model_digest(twice, "fp32")

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from ddrs.networks.frozen import frozen
from support.classifiers import Normalised


def mixed():
    """A model whose parts differ in mode and in what is trained."""
    model = Normalised().train()
    model.body[1].eval()
    model.head.bias.requires_grad_(False)
    return model


def state(model):
    return (
        {name: module.training for name, module in model.named_modules()},
        {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        {name: value.clone() for name, value in model.state_dict().items()},
    )


def assert_same(first, second):
    assert first[:2] == second[:2]
    assert all(torch.equal(first[2][name], second[2][name]) for name in first[2])


def test_inside_nothing_trains_and_outside_all_is_as_before():
    model = mixed()
    before = state(model)
    with frozen(model) as network:
        assert network is model
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        network(torch.rand(4, 1, 5, 5))
    assert_same(state(model), before)


def test_an_error_inside_restores_too():
    model = mixed()
    before = state(model)
    with pytest.raises(ZeroDivisionError), frozen(model):
        raise ZeroDivisionError
    assert_same(state(model), before)


def test_a_distributed_model_is_called_without_its_wrapper(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        model = mixed()
        before = state(model)
        with frozen(DistributedDataParallel(model)) as network:
            assert network is model
            assert not model.training
        assert_same(state(model), before)
    finally:
        torch.distributed.destroy_process_group()

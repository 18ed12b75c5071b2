import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ddrs.errors import ModelError
from ddrs.networks.frozen import check_frozen, frozen
from support.classifiers import Normalised
from support.distributed import process_group


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
    with process_group(tmp_path):
        model = mixed()
        before = state(model)
        with frozen(DistributedDataParallel(model)) as network:
            assert network is model
            assert not model.training
        assert_same(state(model), before)


def test_the_last_one_out_puts_it_back():
    model = mixed()
    before = state(model)
    first, second = frozen(model), frozen(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    second.__exit__(None, None, None)
    assert_same(state(model), before)


def test_models_that_share_a_part_are_put_back_too():
    model = mixed()
    wrapper = nn.Sequential(model.body, nn.Flatten())
    before = state(model), state(wrapper)
    with frozen(model):
        with frozen(wrapper):
            pass
        assert not model.body.training
    assert_same(state(model), before[0])
    assert_same(state(wrapper), before[1])


def test_a_model_that_is_put_into_training_meanwhile_is_found_out():
    model = mixed()
    with frozen(model):
        check_frozen(model)
        model.body[1].train()
        with pytest.raises(ModelError, match="put into training mode while it voted"):
            check_frozen(model)


def test_a_model_that_cannot_be_frozen_is_left_as_it_was():
    class Stubborn(nn.Linear):
        def train(self, mode=True):
            raise RuntimeError("no")

    model = nn.Sequential(nn.Linear(2, 2), Stubborn(2, 2))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no"), frozen(model):
            pass
    assert all(module.training for module in model)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_mode_that_another_freezing_took_back_is_not_forgotten():
    model = Normalised().train()
    with frozen(model):
        check_frozen(model)
        model.train()
        # another thread begins, in evaluation mode again
        with frozen(model), pytest.raises(ModelError, match="training mode while it voted"):
            check_frozen(model)
        with pytest.raises(ModelError, match="training mode while it voted"):
            check_frozen(model)
    with frozen(model), frozen(model):
        check_frozen(model)

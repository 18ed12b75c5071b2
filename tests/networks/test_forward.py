import pytest
import torch
from torch import nn

from ddrs.errors import ModelError
from ddrs.networks.forward import EagerNetwork, check_scores


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


@pytest.mark.parametrize(
    "scores", [torch.zeros(3, 5), torch.zeros(2, 4), [1.0], torch.full((3, 4), torch.nan)]
)
def test_what_is_no_table_of_scores_is_refused(scores):
    with pytest.raises(ModelError):
        check_scores(scores, 3, 4)

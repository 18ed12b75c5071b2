import pytest
import torch

from classifiers import Table
from ddrs.noise import NOISES
from ddrs.training.objectives import OBJECTIVES
from ddrs.training.objectives.gaussian import gaussian


def batch():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, 4, generator=generator, dtype=torch.float64)
    return x, torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_the_loss_is_cross_entropy_on_inputs_noised_at_their_own_scale(noise):
    model, (x, y) = Table(8, 4), batch()
    sigma = torch.tensor([0.0, 0.1, 0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    loss, scores = gaussian(model, x, y, sigma, noise, torch.Generator().manual_seed(1))
    draws = noise.sample_like(x, torch.Generator().manual_seed(1))
    expected = 0.0
    for row in range(6):
        logits = model((x[row] + sigma[row] * draws[row])[None])[0].detach()
        assert torch.allclose(scores[row], logits, rtol=1e-12)
        expected -= float(logits[y[row]] - logits.logsumexp(0)) / 6
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(scores[0], model(x[:1])[0])  # no noise at scale 0


def test_gradients_reach_the_weights_and_the_input_is_kept():
    model, (x, y) = Table(8, 4), batch()
    kept = x.clone()
    loss, _ = gaussian(
        model, x, y, torch.ones(6, dtype=x.dtype), NOISES["gaussian"], torch.Generator()
    )
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert torch.equal(x, kept)


def test_it_is_known_by_its_name():
    assert OBJECTIVES["gaussian"] is gaussian

"""What every objective promises; a subclass gives the objective."""

import pytest
import torch

from ddrs.noise.distributions import NOISES
from ddrs.training.objectives.objective import Objective
from support.classifiers import Normalised, Table
from support.objective_reference import batch, sigmas


class Rows:
    """A noise that draws for the whole batch and keeps the rows of one process."""

    def __init__(self, noise, total, rows):
        self.noise, self.total, self.rows = noise, total, rows
        self.soft_radius = noise.soft_radius

    def sample_like(self, x, generator):
        whole = self.noise.sample_like(x.new_empty(self.total, *x.shape[1:]), generator)
        return whole[self.rows]


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
class ObjectiveContract:
    def objective(self) -> Objective:
        raise NotImplementedError

    def run(self, model, x, y, sigma, noise, seed=1):
        return self.objective()(model, x, y, sigma, noise, torch.Generator().manual_seed(seed))

    def test_shares_of_a_batch_average_to_the_whole(self, noise):
        model, (x, y), sigma = Table(8, 4), batch((6, 2, 4), 4), sigmas(6)
        loss, scores = self.run(model, x, y, sigma, noise)
        assert scores.shape == (6, 4)
        whole = torch.autograd.grad(loss, list(model.parameters()))
        parts = [slice(0, 3), slice(3, 6)]
        found = [
            self.run(model, x[rows], y[rows], sigma[rows], Rows(noise, 6, rows)) for rows in parts
        ]
        assert torch.allclose(sum(part for part, _ in found) / 2, loss, rtol=1e-12)
        assert torch.allclose(torch.cat([s for _, s in found]), scores, rtol=1e-12)
        halves = [torch.autograd.grad(part, list(model.parameters())) for part, _ in found]
        for first, second, expected in zip(*halves, whole, strict=True):
            assert torch.allclose((first + second) / 2, expected, rtol=1e-9, atol=1e-12)

    def test_all_randomness_is_the_generator_s(self, noise):
        model, (x, y), sigma = Table(8, 4), batch((6, 2, 4), 4), sigmas(6) + 0.1
        losses = []
        for seed, disturbance in ((1, 1), (1, 2), (2, 1)):
            torch.manual_seed(disturbance)
            before = torch.get_rng_state()
            losses.append(self.run(model, x, y, sigma, noise, seed)[0].item())
            assert torch.equal(torch.get_rng_state(), before)
        assert losses[0] == losses[1] != losses[2]

    def test_the_inputs_and_the_state_of_the_model_are_kept(self, noise):
        model = Normalised().train()
        x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        y, sigma = torch.tensor([0, 1, 2, 0, 1, 2]), sigmas(6).float()
        kept = [value.clone() for value in (x, y, sigma)]
        loss, _ = self.run(model, x, y, sigma, noise)
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert all(module.training for module in model.modules())
        assert int(model.body[1].num_batches_tracked) == 1  # the training pass alone
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        for value, before in zip((x, y, sigma), kept, strict=True):
            assert torch.equal(value, before)
            assert value.grad is None

    @pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e3, 1e30])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_finite_scores_give_a_finite_loss_and_gradient(self, noise, scale, dtype):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 3), torch.nn.ReLU())
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            model[1].weight.copy_(scale * torch.randn(3, 8, generator=generator))
        x = torch.rand(9, 2, 4, generator=generator).to(dtype)
        model.to(dtype)
        loss, scores = self.run(model, x, torch.arange(9) % 3, sigmas(6).repeat(2)[:9], noise)
        assert scores.isfinite().all()
        loss.backward()
        assert loss.isfinite()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())

    def test_scores_of_minus_infinity_for_other_classes_do_no_harm(self, noise):
        linear = torch.nn.Linear(8, 2).double()

        class Never(torch.nn.Module):
            def forward(self, x):
                scores = linear(x.flatten(1))
                return torch.cat([scores, torch.full_like(scores[:, :1], -torch.inf)], dim=1)

        x, y = batch((6, 2, 4), 2)
        loss, _ = self.run(Never(), x, y, sigmas(6), noise)
        loss.backward()
        assert loss.isfinite()
        assert linear.weight.grad.isfinite().all()

    def test_an_epoch_s_objective_is_an_objective_of_the_same_cost(self, noise):
        for epoch in (0, 1, 50):
            assert self.objective().at_epoch(epoch).passes == self.objective().passes > 0

"""The objectives once more: NumPy and SciPy, one example at a time, straight from the formulas."""

import numpy as np
import torch
from scipy.special import softmax
from scipy.stats import norm

from ddrs.noise.distributions import Noise
from support.classifiers import Table


class Network:
    """`Table` in NumPy, with the gradient of -log(mean softmax_y) at an input by hand."""

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        self.first, self.second = first, second

    def scores(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x.ravel() @ self.first) @ self.second

    def loss(self, points: list[np.ndarray], y: int) -> float:
        return -np.log(np.mean([softmax(self.scores(point))[y] for point in points]))

    def slope(self, points: list[np.ndarray], y: int) -> np.ndarray:
        total, slope = 0.0, np.zeros(points[0].size)
        for point in points:
            hidden = np.tanh(point.ravel() @ self.first)
            p = softmax(hidden @ self.second)
            label = np.eye(len(p))[y]
            d_scores = p[y] * (label - p)
            slope -= self.first @ ((1 - hidden**2) * (self.second @ d_scores))
            total += p[y]
        return (slope / total).reshape(points[0].shape)


def gaussian(network, x, y, sigma, draws):
    return -np.log(softmax(network.scores(x + sigma * draws[0]))[y])


def pgd(network, x, y, sigma, draws, epsilon, steps):
    point = x.copy()
    for _ in range(steps):
        slope = network.slope([point + sigma * e for e in draws], y)
        length = np.sqrt((slope**2).sum())
        if length > 0:
            point = point + 2 * epsilon / steps * slope / length
        change = point - x
        size = np.sqrt((change**2).sum())
        if size > epsilon:
            change *= epsilon / size
        point = np.clip(x + change, 0, 1)
    return point


def ddn(network, x, y, sigma, draws, epsilon, steps):
    change, size, best = np.zeros_like(x), epsilon, None
    for step in range(steps):
        points = [x + change + sigma * e for e in draws]
        wrong = np.mean([softmax(network.scores(p)) for p in points], axis=0).argmax() != y
        distance = np.sqrt((change**2).sum())
        if wrong and (best is None or distance < np.sqrt((best**2).sum())):
            best = change
        slope = network.slope(points, y)
        rate = 0.01 + 0.99 / 2 * (1 + np.cos(np.pi * step / steps))
        change = change + rate * slope / np.sqrt((slope**2).sum())
        size *= 0.95 if wrong else 1.05
        change = np.clip(x + size * change / np.sqrt((change**2).sum()), 0, 1) - x
    if best is None:
        return x
    return x + best * min(1.0, epsilon / max(np.sqrt((best**2).sum()), 1e-300))


def cross_entropy(network, x, y, sigma, draws):
    """The mean over draws, as SmoothAdv trains at its adversarial inputs."""
    return np.mean([-np.log(softmax(network.scores(x + sigma * e))[y]) for e in draws])


def gap(q, y, noise: str) -> float:
    """The gap of MACER in units of sigma/2; -inf where y does not lead."""
    other = max(p for c, p in enumerate(q) if c != y)
    if q[y] <= other:
        return -np.inf
    if noise == "gaussian":
        return norm.ppf(q[y]) - norm.ppf(other)
    return 2 * (q[y] - other)


def macer(network, x, y, sigma, draws, noise, beta, gamma, weight):
    scores = np.array([network.scores(x + sigma * e) for e in draws])
    loss = -np.log(softmax(scores, axis=1).mean(axis=0)[y])
    found = gap(softmax(beta * scores, axis=1).mean(axis=0), y, noise)
    if np.isfinite(found) and found <= gamma:
        loss += weight * sigma / 2 * (gamma - found)
    return loss


def check_value_and_slopes(model: Table, loss: torch.Tensor, examples) -> None:
    """`loss` of the weights of `model` is the mean of `examples(network)`, and so is its slope.

    The slope is compared along five random directions, by central differences of the reference.
    """
    weights = [model.first, model.second]
    values = [weight.detach().numpy() for weight in weights]
    expected = np.mean(examples(Network(*values)))
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-10)
    slopes = torch.autograd.grad(loss, weights)
    rng, step = np.random.default_rng(5), 1e-5
    for _ in range(5):
        way = [rng.normal(size=value.shape) for value in values]
        ahead, behind = (
            np.mean(examples(Network(*[v + s * w for v, w in zip(values, way, strict=True)])))
            for s in (step, -step)
        )
        slope = sum((s.numpy() * w).sum() for s, w in zip(slopes, way, strict=True))
        np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)


def drawn(noise: Noise, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """What an objective draws in float64 from a generator with this seed."""
    like = torch.empty(shape, dtype=torch.float64)
    return noise.sample_like(like, torch.Generator().manual_seed(seed))


def batch(shape: tuple[int, ...], classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs in [0, 1], a few of them on its edge, and labels."""
    generator = torch.Generator().manual_seed(seed)
    x = (1.2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 0.1).clamp(0, 1)
    return x, torch.randint(classes, (shape[0],), generator=generator)


def sigmas(count: int) -> torch.Tensor:
    """A scale for each example, 0 among them."""
    return torch.tensor([0.25, 0.0, 0.1, 0.5, 1.0, 2.0], dtype=torch.float64)[:count]

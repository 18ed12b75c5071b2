import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import NOISES, Gaussian, Noise, Uniform, noise_for_norm
from ddrs.proof.bounds import Confidence

RATE = 1e-6  # how often a correct sampler would fail a distribution test; the seeds are fixed


def quantile(p):
    """Phi^-1 to 50 digits."""
    p = mpmath.mpf(p)
    if p > mpmath.mpf(1) / 2:
        return -quantile(1 - p)
    start = mpmath.mpf(float(stats.norm.ppf(float(p))))
    return mpmath.findroot(lambda z: mpmath.ncdf(z) - p, start)


def exact_radius(noise, sigma, p_lower, p_upper):
    sigma, p_lower, p_upper = map(mpmath.mpf, (sigma, p_lower, p_upper))
    if isinstance(noise, Uniform):
        return sigma * (p_lower - p_upper)
    return sigma / 2 * (quantile(p_lower) - quantile(p_upper))


def probabilities():
    """Pairs that votes really give, and pairs so close that their difference loses digits."""
    rng = np.random.default_rng(0)
    pairs = [
        Confidence(0.001, bound).interval(count, runner_up, n)
        for n in (100, 100_000)
        for count, runner_up in ((n, 0), (n - 1, 1), (9 * n // 10, n // 20), (n // 2 + n // 5, 9))
        for bound in ("one-sided", "two-sided")
    ]
    pairs += [(0.5 + gap, 0.5 - gap) for gap in (2.0**-50, 1e-9, 1e-3)]
    for top in rng.uniform(0.01, 0.99, size=30):
        gap = 10.0 ** rng.uniform(-14, -1)
        pairs.append((float(top), float(top * (1 - gap))))
    for top in (1e-6, 0.999, 1 - 1e-9, 1 - 1e-12):
        pairs += [(top, float(np.nextafter(top, 0))), (top, 1e-13), (top, top * 0.999)]
    return pairs


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("sigma", [0.25, 0.1, 12.0])
def test_the_radius_is_rounded_down_and_hardly_less_than_exact(noise, sigma):
    with mpmath.workdps(50):
        for p_lower, p_upper in probabilities():
            radius = noise.radius(sigma, p_lower, p_upper)
            exact = exact_radius(noise, sigma, p_lower, p_upper)
            assert radius <= exact, (p_lower, p_upper)
            assert exact - radius < sigma * mpmath.mpf("2e-11"), (p_lower, p_upper)


@pytest.mark.parametrize(
    ("noise", "expected"), [(Gaussian(), 0.5 * 1.2815515655446004), (Uniform(), 0.5 * 0.8)]
)
def test_the_published_formulas(noise, expected):
    assert noise.radius(0.5, 0.9, 0.1) == pytest.approx(expected, rel=1e-11)
    assert noise.radius(1.0, 0.9, 0.1) == pytest.approx(2 * expected, rel=1e-11)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_nothing_is_proved_when_the_bounds_meet_or_cross(noise):
    assert noise.radius(0.5, 0.5, 0.5) == 0.0
    assert noise.radius(0.5, 0.3, 0.4) == 0.0
    assert noise.radius(0.5, 0.0, 1.0) == 0.0


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_the_soft_radius_is_the_radius_and_differentiable(noise):
    rng = np.random.default_rng(0)
    sigma, top, other = rng.uniform(0.05, 0.95, size=(3, 20))
    soft = noise.soft_radius(*map(torch.tensor, (sigma, top, other))).numpy()
    signed = [
        noise.radius(s, t, o) - noise.radius(s, o, t)
        for s, t, o in zip(sigma, top, other, strict=True)
    ]
    assert soft == pytest.approx(signed, rel=1e-10)
    inputs = [
        torch.tensor(values, dtype=torch.float64, requires_grad=True)
        for values in (sigma, top, other)
    ]
    assert torch.autograd.gradcheck(noise.soft_radius, inputs)


@pytest.mark.parametrize(
    ("noise", "cdf"), [(Gaussian(), stats.norm.cdf), (Uniform(), stats.uniform(-1, 2).cdf)]
)
def test_training_noise_has_the_distribution_and_the_form_of_its_input(noise, cdf):
    x = torch.full((200, 5, 50), 7.0, dtype=torch.float64)
    draws = noise.sample_like(x, torch.Generator().manual_seed(0))
    assert (draws.shape, draws.dtype) == (x.shape, x.dtype)
    assert (x == 7).all()
    assert stats.kstest(draws.numpy().ravel(), cdf).pvalue > RATE
    again = noise.sample_like(x, torch.Generator().manual_seed(0))
    assert torch.equal(draws, again)
    assert not torch.equal(draws, noise.sample_like(x, torch.Generator().manual_seed(1)))


def test_the_scale_of_uniform_noise_is_its_half_width():
    out = np.empty((100_000,), dtype=np.float32)
    Uniform().sample(np.random.default_rng(0), out)
    # std of the sample variance of a uniform is about 0.0009; five of them
    assert out.var() == pytest.approx(1 / 3, abs=0.005)


def normals(draws, size, seed=0):
    out = np.empty((draws, size), dtype=np.float32)
    Gaussian().sample(np.random.Generator(np.random.SFC64(seed)), out)
    return out


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_every_part_of_a_normal_draw_is_normal(size):
    sample = normals(200_000, size).astype(np.float64)
    for column in {0, size // 2, size - 1}:
        assert stats.kstest(sample[:, column], stats.norm.cdf).pvalue > RATE


def test_the_tails_of_normal_draws_are_those_of_a_normal():
    sample = np.abs(normals(500_000, 16))
    for far in (2.0, 3.0, 4.0, 4.8):
        beyond = int((sample > far).sum())
        assert stats.binomtest(beyond, sample.size, 2 * stats.norm.sf(far)).pvalue > RATE
    assert np.isfinite(sample).all()


def test_the_two_normals_of_a_pair_are_independent():
    # They share a distance from 0, so it is their sizes, too, that must not go together.
    sample = normals(400_000, 2).astype(np.float64)
    for first, second in [(sample[:, 0], sample[:, 1]), (*np.abs(sample).T,), (*(sample**2).T,)]:
        assert stats.pearsonr(first, second).pvalue > RATE
    angles = np.arctan2(sample[:, 1], sample[:, 0])
    assert stats.kstest(angles, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > RATE


def test_noises_are_found_by_name_and_by_norm():
    noise: Noise
    for name, noise in NOISES.items():
        assert noise.name == name
        assert noise_for_norm(noise.norm) == noise
    with pytest.raises(ConfigurationError, match="linf"):
        noise_for_norm("linf")

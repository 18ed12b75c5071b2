"""Data that an index could stumble over: every answer is that of a search through everything."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from scipy import fft
from sklearn.datasets import load_digits, load_sample_image

from ddrs.memory.memory import Memory
from ddrs.memory.sketch import sketch
from ddrs.proof.certificate import ABSTAIN
from support import memory_reference as reference
from support.memory_reference import BruteForce, Reference, check

BATCH = 50


def compare(x, classes, radii, norm, *, exact=None, url="memory://"):
    """Resolve all claims, in batches and in two objects in turn where the store can be shared.

    Returns:
        How often each outcome came.
    """
    exact = exact or BruteForce(norm, len(x), x[0].size)
    outcomes = Counter()
    with Memory(url, norm) as memory, Memory(url, norm) as other:
        for low in range(0, len(x), BATCH):
            part = slice(low, low + BATCH)
            if url != "memory://":
                memory, other = other, memory
            answers = memory.resolve_many(x[part], classes[part], radii[part])
            for row, c, r, answer in zip(x[part], classes[part], radii[part], answers, strict=True):
                check(answer, exact.expect(row.ravel(), c, r))
                exact.record(row.ravel(), answer)
                outcomes[answer.outcome] += 1
        report = memory.audit()
        assert report.ok, report.violations[:3]
        assert len(memory) == report.entries == len(exact.entries)
    return outcomes


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_inputs_whose_sketches_are_all_the_same(norm):
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(6, 8, 8))
    spectrum = kinds[rng.integers(6, size=200)] + rng.normal(size=(200, 8, 8)) / 4
    product = np.outer(np.arange(1, 9), np.arange(1, 9))
    spectrum[:, product < 16] = 0.0  # all that a sketch sees one by one, and more
    spectrum /= np.sqrt((spectrum**2).sum(axis=(1, 2), keepdims=True))
    x = np.round(fft.idctn(spectrum, norm="ortho", axes=(1, 2)) * 2**40) / 2**40
    assert np.ptp(sketch(x), axis=0).max() < 1e-6
    typical = 0.5 if norm == "l2" else 3.0
    classes = rng.integers(ABSTAIN, 4, 200).tolist()
    outcomes = compare(x, classes, (rng.random(200) * typical).tolist(), norm)
    assert len(outcomes) == 4
    assert min(outcomes.values()) > 5


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_thousands_of_balls_around_one_input(norm):
    rng = np.random.default_rng(1)
    orders = np.array(list(permutations(range(1, 7))))
    ring = np.repeat(orders, 3, axis=0) * rng.choice([-1, 1], (3 * len(orders), 6)) / 8
    ring = np.unique(ring, axis=0)  # all of them exactly as far from the centre
    assert len(ring) > 2000
    inner = rng.integers(-40, 41, (3, 6)) / 1024
    probes = rng.integers(-90, 91, (4, 6)) / 128
    x = np.concatenate([ring, np.zeros((1, 6)), inner, probes])
    classes = [*rng.integers(1, 4, len(ring)).tolist(), *[0] * 4, *[ABSTAIN] * 2, *[2] * 2]
    radii = [*rng.choice([0.03, 0.05, 0.0625], len(ring)).tolist(), *[9.0, 0.5] * 4]
    outcomes = compare(x, classes, radii, norm)
    assert outcomes["own"] > 2000
    assert outcomes["trimmed"] + outcomes["inherited"] >= 5


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-40, 1e-19, 1e15, 1e19, 1e150, 1e306])
def test_any_magnitude(norm, scale):
    rng = np.random.default_rng(2)
    x = rng.integers(0, 12, (100, 2)) * scale
    radii = (rng.integers(0, 8, 100) * scale / 2).tolist()
    classes = rng.integers(ABSTAIN, 3, 100).tolist()
    outcomes = compare(x, classes, radii, norm, exact=Reference(norm))
    assert len(outcomes) >= 3


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_all_magnitudes_at_once(norm, monkeypatch):
    monkeypatch.setattr(reference, "DIGITS", 1400)  # the squares go from 1e-600 to 1e600
    rng = np.random.default_rng(3)
    x = rng.choice([-1.0, 1.0], (80, 2)) * 10.0 ** rng.uniform(-300, 300, (80, 2))
    x[::4] = x[1::4] * (1 + 2.0**-52)  # pairs next to each other
    radii = np.abs(x[:, 0]) * rng.choice([0.0, 2.0**-53, 0.5, 1.0, 2.0], 80)
    outcomes = compare(
        x, rng.integers(ABSTAIN, 3, 80).tolist(), radii.tolist(), norm, exact=Reference(norm)
    )
    assert len(outcomes) == 4


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_handwritten_digits(norm, tmp_path):
    rng = np.random.default_rng(4)
    digits = load_digits()
    count = 300 if norm == "l2" else 150
    x = (digits.images[:count] / 16).astype(np.float32)[:, None]
    x = np.concatenate([x, x[:50], x[-50:] + np.float32(1 / 64)])  # repeated, and other shades
    classes = [*digits.target[:count].tolist(), *[0] * 50, *rng.integers(ABSTAIN, 10, 50).tolist()]
    radii = (rng.random(len(x)) * (1.5 if norm == "l2" else 6.0)).tolist()
    outcomes = compare(x, classes, radii, norm, url=f"sqlite:///{tmp_path}/memory.db")
    assert len(outcomes) >= 3
    assert outcomes["trimmed"] > 10


def photographs(rng, each):
    """Patches `[n, 3, 32, 32]` of two photographs as k/255, and noisy variants of them.

    Returns:
        The patches, and for each the place that it was cut from.
    """
    patches = []
    for name in ("china.jpg", "flower.jpg"):
        image = load_sample_image(name)
        for row, column in rng.integers(0, [427 - 32, 640 - 32], (each, 2)):
            patches.append(image[row : row + 32, column : column + 32].transpose(2, 0, 1))
    k = np.array(patches).astype(np.int64)
    near = np.clip(k + rng.integers(-2, 3, k.shape), 0, 255)
    x = np.concatenate([k, near]).astype(np.float32) / np.float32(255)
    noisy = x[: len(k)] + rng.normal(0, 0.02, k.shape).astype(np.float32)
    return np.concatenate([x, noisy]), np.tile(np.arange(len(k)), 3)


def test_patches_of_photographs(tmp_path):
    rng = np.random.default_rng(5)
    x, places = photographs(rng, each=40)
    order = rng.permutation(len(x))
    x, places = x[order], places[order]
    classes = np.where(rng.random(len(x)) < 0.8, places % 3, rng.integers(ABSTAIN, 3, len(x)))
    radii = rng.choice([0.1, 0.5, 1.0, 4.0], len(x))
    url = f"sqlite:///{tmp_path}/memory.db"
    outcomes = compare(x, classes.tolist(), radii.tolist(), "l2", url=url)
    assert len(outcomes) == 4
    assert min(outcomes.values()) > 5

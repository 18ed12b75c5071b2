import numpy as np
import torch

from benchmarks.claims import PublicList, claims, images
from ddrs.memory.memory import Memory


def test_claims_are_the_images_first_and_then_other_images():
    x, labels = images("digits")
    batches = list(claims(x, labels, 2 * len(x), seed=0, batch=500))
    made = np.concatenate([batch for batch, _, _ in batches])
    classes = np.concatenate([found for _, found, _ in batches])
    radii = np.concatenate([found for _, _, found in batches])
    assert made.shape == (2 * len(x), *x.shape[1:])
    assert made.dtype == np.float32
    exact = (made * 255 == np.rint(made * 255)).all(axis=(1, 2, 3))
    assert 0.9 < exact.mean() < 0.99
    untouched = exact[: len(x)]
    assert np.array_equal(np.rint(made[: len(x)][untouched] * 255), x[untouched])
    assert 0.98 < (classes[: len(x)] == labels).mean() < 1
    assert radii.min() >= 0
    assert radii.max() <= 0.95


def test_the_public_rule_agrees_with_the_memory_where_one_ball_decides():
    rng = np.random.default_rng(0)
    peer = PublicList()
    agreed = 0
    with Memory("memory://") as memory:
        for _ in range(60):
            x = rng.random(3).astype(np.float32)
            claim = int(rng.integers(3)), 0.05
            if len(memory):
                prediction, radius = peer.resolve(torch.from_numpy(x), *claim)
                expected = memory.resolve(x, *claim)
                if expected.outcome != "inherited":
                    assert prediction == expected.prediction
                    assert (
                        radius == np.float32(expected.radius)
                        or abs(radius - expected.radius) < 1e-6
                    )
                    agreed += 1
                peer.add(torch.from_numpy(x), expected.prediction, expected.radius)
            else:
                memory.resolve(x, *claim)
                peer.add(torch.from_numpy(x), *claim)
    assert agreed > 20

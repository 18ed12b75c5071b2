"""A classifier whose memory is read-only: it answers from regions and stores nothing."""

from pathlib import Path

import pytest
import torch

from ddrs import ABSTAIN, Memory, SmoothedClassifier, recompute_radius
from ddrs.errors import StoreMismatchError
from ddrs.sigma.search import SearchSigma
from support.classifiers import Halfspace, Recorder


def smoothed(memory, model=None, **options):
    model = Recorder(Halfspace([1.0, 0.0])) if model is None else model
    return SmoothedClassifier(
        model, 2, **{"sigma": 0.5, "n": 2000, "n0": 20, "seed": 0, "memory": memory, **options}
    )


def points(*firsts):
    return torch.tensor([[first, 0.25] for first in firsts])


@pytest.fixture
def url(tmp_path):
    """A memory with a region of class 0 around 0.5, and nothing else."""
    url = f"sqlite:///{tmp_path}/memory.db"
    with Memory(url) as memory:
        (stored,) = smoothed(memory).certify(points(0.5))
        assert stored.prediction == 0
        assert 0.3 < stored.radius < 0.5
    return url


def content(url):
    return Path(url.removeprefix("sqlite:///")).read_bytes()


@pytest.mark.parametrize("sigma", [0.5, SearchSigma(0.5)])
def test_what_is_certified(url, sigma):
    before = content(url)
    with Memory(url) as memory:
        (stored,) = smoothed(memory).certify(points(0.5))
    with Memory(url, read_only=True) as memory:
        reader = smoothed(memory, sigma=sigma)
        same, covered, uncovered, abstaining = reader.certify(points(0.5, 0.6, -0.5, 0.0))
    assert same == stored
    assert (covered.prediction, covered.outcome) == (0, "inherited")
    assert covered.radius == pytest.approx(stored.radius - 0.1)
    assert covered.own_radius == recompute_radius(covered)
    assert (uncovered.prediction, uncovered.radius, uncovered.outcome) == (1, 0.0, "unrecorded")
    assert uncovered.own_radius == recompute_radius(uncovered) > 0.3
    assert (abstaining.prediction, abstaining.radius) == (ABSTAIN, 0.0)
    assert abstaining.outcome == "abstained"
    assert content(url) == before


def test_a_region_answers_even_what_abstains_itself(url):
    # 0.16 is inside the region; with so few votes it certifies nothing itself
    with Memory(url, read_only=True) as memory:
        (certificate,) = smoothed(memory, n=20, alpha=1e-6).certify(points(0.16))
    assert certificate.own_prediction == ABSTAIN
    assert (certificate.prediction, certificate.outcome) == (0, "inherited")
    assert certificate.radius > 0


def test_predictions_spend_votes_only_outside_of_regions(url):
    before = content(url)
    with Memory(url, read_only=True) as memory:
        model = Recorder(Halfspace([1.0, 0.0]))
        reader = smoothed(memory, model)
        assert reader.predict(points(0.5, 0.6, 0.4)) == [0, 0, 0]
        assert model.rows == 0
        assert reader.predict(points(0.5, -0.5, 0.0)) == [0, 1, ABSTAIN]
        assert model.rows == 2 * reader.cost
        assert reader.predict(points(-0.5)) == [1]  # again: it was not stored
        assert model.rows == 3 * reader.cost
        assert len(memory) == 1
    assert content(url) == before


def test_the_memory_of_another_model_is_refused(url):
    before = content(url)
    with Memory(url, read_only=True) as memory:
        with pytest.raises(StoreMismatchError, match="another model"):
            smoothed(memory, Halfspace([0.0, 1.0]))
        smoothed(memory)
    assert content(url) == before


def test_a_memory_of_no_model_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/memory.db"
    Memory(url).close()
    with (
        Memory(url, read_only=True) as memory,
        pytest.raises(StoreMismatchError, match="not tied to a model"),
    ):
        smoothed(memory)


def test_a_reader_sees_what_a_writer_adds(url):
    with Memory(url, read_only=True) as memory, Memory(url) as writing:
        reader, writer = smoothed(memory), smoothed(writing)
        assert reader.certify(points(-0.5))[0].outcome == "unrecorded"
        (stored,) = writer.certify(points(-0.5))
        assert reader.certify(points(-0.5)) == [stored]
        assert reader.predict(points(-0.6)) == [1]

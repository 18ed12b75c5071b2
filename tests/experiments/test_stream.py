"""The stream has what it says, where it says, and makes a memory act."""

import numpy as np
import pytest
import torch

from ddrs import data, models
from ddrs.engines.local.certify import certify_run
from ddrs.engines.local.train import train_run
from ddrs.errors import InputError
from ddrs.finished.audit import audit_run
from ddrs.finished.orders import reorder
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.train import TrainJob
from ddrs.networks.frozen import frozen
from ddrs.noise.distributions import Gaussian
from ddrs.smoothing import attack as smoothing_attack
from ddrs.smoothing.attack import lengths, pushed
from ddrs.training.config import TrainingConfig
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs
from experiments.cifar10.probes import stream
from support import toy
from support.classifiers import Halfspace, Recorder, Table

INPUTS, DISTANCE, HALVINGS = 12, 0.5, 12


def write(out, *words):
    stream.main([*words, "--out", str(out)])
    with np.load(out) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("stream") / "model"
    training = TrainingConfig(sigma=0.25, epochs=12, seed=0)
    train_run(TrainJob("digits", "digits-cnn", training), out, quiet=True)
    return out


@pytest.fixture(scope="module")
def words(model):
    numbers = ["--inputs", str(INPUTS), "--halvings", str(HALVINGS)]
    return ["--data", "digits", "--model", str(model), *numbers]


@pytest.fixture(scope="module")
def made(words, model):
    return write(model.parent / "stream.npz", *words)


def votes(model, x):
    """Votes of the smoothed classifier, of a seed that the stream does not use."""
    base = NoisyClassifier(models.load(str(model)).module, 10, Gaussian())
    with frozen(base.model):
        return base.count_each(Inputs.of(torch.from_numpy(x), 1), 0.25, 2000, "test")


def test_it_has_every_kind_with_the_labels_of_the_origins(made):
    dataset = data.load("digits")
    x, labels = dataset.batch(0, INPUTS)
    assert set(made["kind"]) == set(stream.KINDS)
    for kind in ("input", "adversarial"):
        assert sorted(made["origin"][made["kind"] == kind]) == list(range(INPUTS))
    plain = made["kind"] == "input"
    assert np.array_equal(made["x"][plain], x.numpy()[made["origin"][plain]])
    assert np.array_equal(made["y"], labels.numpy()[made["origin"]])
    assert made["x"].dtype == np.float32
    assert made["x"].min() >= 0
    assert made["x"].max() <= 1
    assert len(set(made["kind"][:INPUTS])) > 1  # they are mixed


def test_adversarial_points_are_at_the_distance_and_adversarial(made, model):
    x = data.load("digits").batch(0, INPUTS)[0].numpy()
    chosen = made["kind"] == "adversarial"
    points, origins = made["x"][chosen], made["origin"][chosen]
    change = (points.astype(np.float64) - x[origins]).reshape(INPUTS, -1)
    assert np.linalg.norm(change, axis=1) == pytest.approx(DISTANCE, abs=1e-6)
    classes = votes(model, x).argmax(axis=1)[origins]
    generator = torch.Generator().manual_seed(0)
    away = x[origins] + torch.randn(points.shape, generator=generator).numpy()
    at_random = pushed(*map(torch.from_numpy, (x[origins], away)), torch.full((INPUTS,), DISTANCE))
    kept = [votes(model, some)[np.arange(INPUTS), classes] for some in (points, at_random.numpy())]
    assert (kept[0] < kept[1]).all()
    assert (kept[0] < 1000).any()  # of 2000: the class is another one


def test_interpolated_points_are_on_both_sides_of_a_border(made, model):
    x = data.load("digits").batch(0, INPUTS)[0].numpy()
    counts = votes(model, x)
    pairs = stream.partners(torch.from_numpy(x), counts.argmax(axis=1))
    chosen = made["kind"] == "interpolated"
    points, origins = made["x"][chosen].reshape(-1, 64).astype(np.float64), made["origin"][chosen]
    assert sorted(origins) == sorted(pairs.flatten())
    for first, second in pairs:
        start, end = x[[first, second]].reshape(2, 64).astype(np.float64)
        whole = np.linalg.norm(end - start)
        gone, left = (np.linalg.norm(points - one, axis=1) for one in (start, end))
        on_line = np.isclose(gone + left, whole, rtol=0, atol=1e-6)
        (before,), (behind,) = (gone[on_line & (origins == one)] for one in (first, second))
        assert behind - before == pytest.approx(whole / 2**HALVINGS, rel=1e-2)
    # That close to a border no class has a clear majority over the one behind it.
    top = np.sort(votes(model, made["x"][chosen]), axis=1)[:, -2:]
    assert np.median(top[:, 1] - top[:, 0]) < 600
    top = np.sort(counts, axis=1)[:, -2:]
    assert np.median(top[:, 1] - top[:, 0]) > 1500


def test_certifying_it_makes_the_memory_act(made, model):
    source, run = model.parent / "stream.npz", model.parent / "run"
    job = CertifyJob(f"npz:{source}", str(model), policy="search", n=500, seed=0)
    memory = certify_run(job, run, quiet=True).memory
    assert memory.trimmed + memory.inherited > 0
    assert audit_run(run).ok
    assert reorder(run, 20, quiet=True).changed_outcome > 0


def test_the_seed_decides_everything_and_the_words_say_what_came(words, made, tmp_path, capsys):
    again = write(tmp_path / "again.npz", *words, "--seed", "0")
    assert all(np.array_equal(again[name], made[name]) for name in made)
    pairs = (made["kind"] == "interpolated").sum() // 2
    said = capsys.readouterr().out
    assert f"{INPUTS} test inputs; {INPUTS} adversarial ones at distance 0.5, " in said
    assert f"; {2 * pairs} interpolated ones, between {pairs} pairs" in said
    other = write(tmp_path / "other.npz", *words, "--seed", "1")
    assert not np.array_equal(other["origin"], made["origin"])


def test_a_halfspace_is_attacked_along_its_normal_each_row_at_its_own_distance(monkeypatch):
    x = torch.full((5, 1, 2, 2), 0.5)
    normal = torch.tensor([2.0, -1.0, 0.0, 2.0]) / 3
    distance = torch.tensor([0.01, 0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    settings = {"noise": Gaussian(), "steps": 5, "draws": 3, "seed": 0}
    passes = []
    monkeypatch.setattr(stream, "COPIES_PER_PASS", 7)  # two rows at a time
    model = Recorder(Halfspace(normal.tolist()))
    found = stream.adversarial(
        model,
        x,
        torch.tensor([0, 0, 1, 1, 0]),
        torch.full((5,), 0.1),
        distance,
        on_passes=passes.append,
        **settings,
    )
    sign = torch.tensor([-1, -1, 1, 1, -1])
    expected = x.flatten(1) + (sign * distance)[:, None] * normal
    assert found.flatten(1).numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert model.batches == [6] * 5 + [6] * 5 + [3] * 5
    assert passes == [30, 30, 15]


def test_pgd_keeps_each_row_in_a_ball_of_its_own(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = 0.3 + 0.4 * torch.rand(4, 6, generator=generator)
    y, distance = torch.tensor([0, 1, 2, 0]), torch.tensor([0.02, 0.1, 0.5, 1.0])
    monkeypatch.setattr(smoothing_attack, "pushed", lambda x, point, *_, **__: point)
    monkeypatch.setattr(stream, "draw", lambda x, copies, *_: x.new_zeros(len(x), copies, 6))

    def attacked(rows):
        inputs = (x[rows], y[rows], torch.full((len(rows),), 0.1), distance[rows])
        settings = {"noise": Gaussian(), "steps": 6, "draws": 2, "seed": 0}
        return stream.adversarial(Table(6, 3), *inputs, **settings)

    together = attacked([0, 1, 2, 3])
    one_by_one = torch.cat([attacked([row]) for row in range(4)])
    assert together.numpy() == pytest.approx(one_by_one.numpy(), abs=1e-6)
    assert (lengths(together - x) <= distance + 1e-6).all()


def test_what_the_border_cuts_the_rest_makes_up_for():
    x = torch.tensor([[0.9, 0.5], [0.9, 0.9], [0.5, 0.5], [0.2, 0.2], [0.5, 0.5]])
    point = torch.tensor([[1.0, 0.6], [1.0, 0.95], [0.5, 0.5], [0.2, 0.1], [0.53, 0.54]])
    found = pushed(x, point, torch.tensor([0.3, 1.0, 0.1, 0.5, 0.2]))
    corner = [1.0, 0.5 + np.sqrt(0.3**2 - 0.1**2)]
    expected = [corner, [1.0, 1.0], [0.5, 0.5], [0.2, 0.0], [0.62, 0.66]]
    assert found.numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_pushed_points_reach_their_distance_and_never_pass_it():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, 1, 8, 8, generator=generator).round(decimals=1)
    away = (x + torch.randn(x.shape, generator=generator)).clamp(0, 1)
    distance = torch.linspace(0.05, 3, 50)
    found = lengths(pushed(x, away, distance).double() - x) / distance
    assert found.max() < 1 + 1e-5
    assert found.min() > 0.999


def test_partners_are_the_nearest_of_another_class():
    x = torch.tensor([[0.0], [0.1], [0.4], [0.45], [1.0]])
    classes = np.array([0, 0, 1, 1, 0])
    assert stream.partners(x, classes).tolist() == [[0, 2], [1, 2], [1, 3], [3, 4]]
    with pytest.raises(InputError, match="all 5 inputs get class 3: give more --inputs"):
        stream.partners(x, np.full(5, 3))


def test_borders_close_in_on_where_a_class_ends():
    x = torch.tensor([[0.0, 0.5], [1.0, 0.5], [0.25, 0.0]])

    def classify(points):
        return (points[:, 0] > 0.3).numpy().astype(np.int64)

    pairs = np.array([[0, 1], [1, 2]])
    before, behind = stream.borders(classify, x, np.array([0, 1, 0]), pairs, 8)
    assert (before[0, 0], behind[0, 0]) == (76 / 256, 77 / 256)
    assert before[1, 0] > 0.3 >= behind[1, 0]
    line = x[1] - x[2]
    assert (before[1] - behind[1]).numpy() == pytest.approx((line / 256).numpy(), abs=1e-6)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--inputs", "0"), ("--steps", "-1"), ("--draws", "two"), ("--distance", "inf")],
)
def test_numbers_that_can_never_work_are_wrong_usage(words, tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as exit_:
        stream.main([*words, "--out", str(tmp_path / "new.npz"), option, value])
    assert exit_.value.code == 2
    assert f"{option}: {value} is not a" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_kept_and_a_missing_directory_is_named(words, tmp_path, capsys):
    there = tmp_path / "there.npz"
    there.write_bytes(b"precious")
    for out, message in (
        (there, "is there already: choose another"),
        (tmp_path / "none" / "new.npz", "make it first"),
    ):
        with pytest.raises(SystemExit) as exit_:
            stream.main([*words, "--out", str(out)])
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err
    assert there.read_bytes() == b"precious"


def test_what_cannot_be_attacked_is_refused_in_one_line(tmp_path):
    source = toy.write_inputs(tmp_path / "data.npz")  # values below 0 and above 1
    out = tmp_path / "new.npz"
    asked = ["--data", source, "--model", "py:support.toy:linear", "--out", str(out)]
    with pytest.raises(SystemExit, match=r"^error: the model's training noise.*give --sigma$"):
        stream.main(asked)
    with pytest.raises(SystemExit, match=r"^error: the attack takes inputs from 0 to 1.*$"):
        stream.main([*asked, "--sigma", "0.5"])
    with pytest.raises(SystemExit, match=r"^error: unknown dataset 'magic'.*$"):
        stream.main(["--data", "magic", "--model", "py:support.toy:linear", "--out", str(out)])
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]

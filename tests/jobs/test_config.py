import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ddrs.errors import ConfigurationError
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.config import CertifyConfig
from ddrs.noise.distributions import NOISES
from ddrs.proof.stopping import Estimation, RadiusTolerance
from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.search import SearchSigma
from ddrs.smoothing.alternatives import Alternatives
from ddrs.smoothing.cascade import LevelClassifiers
from ddrs.smoothing.cells import Cells
from ddrs.smoothing.levels import Levels
from ddrs.smoothing.routed import CellClassifiers
from ddrs.votes.classifier import NoisyClassifier
from support.toy import CLASSES, Linear


def decided(job: CertifyJob, trained_sigma: float | None = None) -> CertifyConfig:
    """What the engine makes of a job, with toy classifiers."""
    classifiers = [
        NoisyClassifier(Linear(seed), CLASSES, NOISES[job.noise], precision=job.precision)
        for seed in range(1 + len(job.alternatives))
    ]
    policy = job.build_policy(trained_sigma)
    if isinstance(policy, Levels):
        return CertifyConfig.of(job, LevelClassifiers(classifiers, policy), 5)
    if isinstance(policy, Cells):
        router = NoisyClassifier(Linear(9), CLASSES, NOISES[job.noise])
        return CertifyConfig.of(job, CellClassifiers([*classifiers, router], policy), 5)
    return CertifyConfig.of(job, Alternatives(classifiers, policy, job.n0, job.selection), 5)


def stored(config: CertifyConfig) -> dict[str, Any]:
    """What a file gives back."""
    plain: dict[str, Any] = json.loads(json.dumps(config.to_json()))
    return plain


JOBS = [
    CertifyJob("digits", "runs/a model", sigma=0.5, seed=3),
    CertifyJob(
        "npz:x.npz", "py:a:b", "w.safetensors", policy="gradient", sigma=0.1,
        settings={"low": 0.05, "high": 0.2, "steps": 7, "lr": 1e-3, "n": 2}, noise="uniform",
        memory="none", n=11, n0=5,
        radius_tolerance=0.05, alpha=0.01, bound="two-sided", limit=9, split="train",
        precision="bf16",
    ),
    CertifyJob(
        "digits", "m", alternatives=("a", "b"), policy="search", sigma=0.25,
        settings={"votes": 500}, selection="all", at_radii=(0.0, 0.1, 1 / 3),
        rgb=False, resize=32, crop=24, class_map="a map.json",
    ),
    CertifyJob(
        "digits", "m", alternatives=("a",), policy="search", sigma=0.25,
        memory="sqlite:////there/a.db", read_only=True, rgb=True,
    ),
    CertifyJob(
        "digits", "m", alternatives=("a",), policy="cascade", n=500,
        settings={"sigmas": (0.5, 0.25), "p0": (0.6, 0.5)},
    ),
    CertifyJob(
        "digits", "m", policy="routed", n=500,
        settings={"sigmas": (0.25, 1.0, 0.5), "router": "r", "router_sigma": 1.5},
    ),
]  # fmt: skip


@pytest.mark.parametrize("job", JOBS)
def test_a_configuration_comes_back_from_its_file(job: CertifyJob) -> None:
    config = decided(job)
    assert CertifyConfig.from_json(stored(config)) == config
    assert CertifyConfig.from_json(stored(config) | {"later": 3}) == config


def test_the_file_names_what_decides_results_and_nothing_else() -> None:
    record = stored(decided(CertifyJob("digits", "m", policy="search", batch_size=3, seed=1), 0.5))
    assert record["policy"] == {
        "name": "search",
        "initial": 0.5,
        "low": None,
        "high": None,
        "votes": SearchSigma.votes,
    }
    assert (record["kind"], record["inputs"], record["memory"]) == ("certify", 5, "run")
    assert (record["alternatives"], record["selection"], record["read_only"]) == (
        [],
        "first",
        False,
    )
    assert record["model_digests"] == [record["model_digest"]]
    assert "batch_size" not in record


def test_several_classifiers_are_needed_to_select_together() -> None:
    with pytest.raises(ConfigurationError, match=r"adds up several classifiers: give alternatives"):
        CertifyJob("digits", "m", sigma=0.5, selection="all")


@pytest.mark.parametrize(
    ("policy", "memory", "expected"),
    [
        ("fixed", "auto", "none"),
        ("search", "auto", "run"),
        ("gradient", "auto", "run"),
        ("search", "none", "none"),
        ("fixed", "sqlite:////there/a.db", "sqlite:////there/a.db"),
        ("search", "memory://", "memory://"),
        ("search", "postgresql://me:secret@host/db", "postgresql://me@host/db"),
    ],
)
def test_the_memory_is_recorded_as_it_is_used(policy: Any, memory: str, expected: str) -> None:
    config = decided(CertifyJob("d", "m", policy=policy, memory=memory, sigma=0.1))
    assert config.memory == expected
    assert config.alone == (policy == "fixed")
    assert config.memory_is_its_own == (expected in ("run", "none"))


def test_the_url_of_the_memory() -> None:
    config = decided(CertifyJob("d", "m", policy="search", sigma=0.1))
    assert config.memory_url(Path("/there/run")) == "sqlite:////there/run/memory.db"
    assert replace(config, memory="memory://").memory_url(Path("/there")) == "memory://"


def test_early_files_lack_what_made_no_difference() -> None:
    config = decided(JOBS[0])
    early = stored(config)
    for key in ("alternatives", "read_only", "selection", "model_digests"):
        del early[key]
    assert CertifyConfig.from_json(early) == config
    several = decided(JOBS[2])
    early = stored(several)
    del early["selection"]
    assert several.selection == "all"
    assert CertifyConfig.from_json(early) == several


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "train"},
        {"policy": {}},
        {"policy": "fixed"},
        {"policy": {"name": "search"}},
        {"policy": {"name": "fixed", "sigma": -1.0}},
        {"alternatives": 3},
        {"alpha": "0.1"},
        {"alpha": 1.5},
        {"n": 0},
        {"noise": "pink"},
        {"bound": "none"},
        {"at_radii": [0.5], "radius_tolerance": 0.1},
    ],
)
def test_what_is_no_configuration_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        CertifyConfig.from_json(stored(decided(JOBS[0])) | changes)


def test_a_cascade_needs_no_memory_and_as_many_classifiers_as_levels_or_one() -> None:
    config = decided(JOBS[-2])
    assert (config.memory, config.alone, config.sigma_range) == ("none", True, (0.25, 0.5))
    assert config.summary_settings["alpha"] == config.alpha
    assert "--policy cascade --sigmas 0.5,0.25 --p0 0.6,0.5" in config.command("out")
    settings = {"sigmas": (0.5, 0.25)}
    for changes, message in (
        ({"memory": "run"}, "needs no memory"),
        ({"sigma": 0.5}, "takes --sigmas"),
        ({"settings": {}}, "give --sigmas"),
        ({"selection": "all"}, "adds up several"),
        ({"selection": "all", "alternatives": ("a",)}, "select by themselves"),
        ({"alternatives": ("a", "b")}, "one for each"),
        ({"settings": {"sigmas": (0.25, 0.5)}}, "fall"),
        ({"settings": {**settings, "p0": (0.4,)}}, "p0 must be from 0.5"),
        ({"settings": {**settings, "p0": (0.5, 0.5, 0.5)}}, "each of 2 levels"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            CertifyJob("d", "m", policy="cascade", **{"settings": settings, **changes})
    with pytest.raises(ValueError, match="one for each"):
        CertifyConfig.from_json(stored(config) | {"model_digests": ["a", "b", "c"]})


def test_a_router_needs_no_memory_and_cells_that_differ() -> None:
    config = decided(JOBS[-1])
    assert (config.memory, config.alone, config.sigma_range) == ("none", True, (0.25, 1.0))
    assert config.summary_settings["alpha"] == config.alpha
    assert len(config.model_digests) == 2  # the classifier of all cells, and the router
    wanted = "--policy routed --sigmas 0.25,1.0,0.5 --router r --router-sigma 1.5"
    assert wanted in config.command("out")
    settings = {"sigmas": (0.5, 0.25), "router": "r"}
    assert CertifyJob("d", "m", policy="routed", settings=settings).build_policy(None).scale == 0.5
    for changes, message in (
        ({"memory": "run"}, "a router needs no memory"),
        ({"sigma": 0.5}, "a router takes --sigmas"),
        ({"settings": {"router": "r"}}, "give --sigmas"),
        ({"settings": {"sigmas": (0.5, 0.25)}}, "give --router"),
        ({"settings": {**settings, "sigmas": (0.5, 0.5)}}, "give each cell once"),
        ({"settings": {**settings, "router_sigma": -1.0}}, "positive"),
        ({"settings": {**settings, "p0": (0.5,)}}, "a setting of the policy cascade"),
        ({"selection": "all", "alternatives": ("a",)}, "select by themselves"),
        ({"alternatives": ("a", "b")}, "one for each"),
        ({"n": 10}, "n of at least 11"),  # at half of alpha
    ):
        with pytest.raises(ConfigurationError, match=message):
            CertifyJob("d", "m", policy="routed", **{"settings": settings, **changes})
    for digests in (["a", "b", "c"], ["router"]):
        with pytest.raises(ValueError, match="one for each"):
            CertifyConfig.from_json(stored(config) | {"model_digests": digests})


def test_what_follows_from_a_configuration() -> None:
    config = decided(JOBS[1])
    assert config.policy == GradientSigma(0.1, 0.05, 0.2, 7, 1e-3, 2)
    assert config.policy_name == "gradient"
    assert config.estimation == Estimation(11, 0.01, "two-sided", RadiusTolerance(0.05))
    assert config.sigma_range == (0.05, 0.2)
    assert decided(JOBS[0]).sigma_range == (0.5, 0.5)
    assert config.smoothing_noise is NOISES["uniform"]
    assert config.summary_settings == {
        "alone": False,
        "alpha": None,
        "radii": [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0],
        "n_at_most": 11,
        "start": 0.1,
        "calibration": None,
        "question": str(RadiusTolerance(0.05)),
        "differences": None,
    }
    shared = decided(JOBS[3])
    assert shared.summary_settings["differences"] == shared.differences
    assert 1 / 3 in decided(JOBS[2]).summary_settings["radii"]


def test_the_classifier_of_a_configuration_is_the_one_that_was_asked_for() -> None:
    config = replace(decided(CertifyJob("d", "m", n=20, n0=5, sigma=0.5, alpha=0.1)), seed=4)
    classifier = NoisyClassifier(Linear(0), CLASSES, NOISES["gaussian"])
    smoothed = config.classifier([classifier], None)
    (certificate,) = smoothed.certify(torch.zeros(1, 2, 3))
    assert smoothed.digest == config.model_digest == certificate.model_digest
    assert (certificate.sigma, certificate.n, certificate.n0) == (0.5, 20, 5)
    assert (certificate.alpha, certificate.seed) == (0.1, 4)
    assert config.policy == FixedSigma(0.5)


def test_classifiers_that_are_alike_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="all different"):
        Alternatives(
            [NoisyClassifier(Linear(), CLASSES, NOISES["gaussian"])] * 2, SearchSigma(0.5), 5
        )


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (JOBS[2], ["--gray", "--resize 32", "--crop 24"]),
        (JOBS[3], ["--rgb"]),
        (JOBS[0], []),
    ],
)
def test_the_command_has_what_is_done_to_images(job: CertifyJob, words: list[str]) -> None:
    command = decided(job).command("out")
    flags = ("--rgb", "--gray", "--resize 32", "--crop 24")
    assert [flag for flag in flags if f" {flag} " in command] == words
    assert "/--" not in command


def test_classes_are_different_ones_of_the_model() -> None:
    config = decided(JOBS[2])
    assert "--class-map 'a map.json'" in config.command("out")
    assert "class-map" not in decided(JOBS[0]).command("out")
    mapped = replace(config, classes=(1, 0))
    assert CertifyConfig.from_json(stored(mapped)) == mapped
    for classes in ((0, 0), (-1,), (config.num_classes,)):
        with pytest.raises(ConfigurationError, match="classes must be different ones"):
            CertifyConfig.from_json(stored(config) | {"classes": classes})


def test_a_size_that_no_image_can_have_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="crop must be from 1 to 16384 pixels, got 0"):
        CertifyJob("digits", "m", sigma=0.5, crop=0)

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ddrs.cli.commands import main
from ddrs.errors import ConfigurationError
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.config import CertifyConfig
from ddrs.memory.store.urls import shown_url
from ddrs.proof.stopping import AtRadii, RadiusTolerance
from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.search import SearchSigma


def decided(job: CertifyJob) -> CertifyConfig:
    """The configuration of a job for five inputs, with classifiers that nobody runs."""
    models = [
        SimpleNamespace(num_classes=10, digest=spec) for spec in (job.model, *job.alternatives)
    ]
    policy = job.build_policy(None)
    alternatives: Any = SimpleNamespace(
        policy=policy, classifiers=models, digest="all", alone=not policy.per_input
    )
    return CertifyConfig.of(job, alternatives, 5)


def test_a_policy_starts_from_the_training_noise_unless_sigma_is_given() -> None:
    asked = CertifyJob("digits", "model", policy="search")
    assert asked.build_policy(0.25) == SearchSigma(0.25)
    assert CertifyJob("digits", "model", policy="gradient", sigma=0.5).build_policy(
        0.25
    ) == GradientSigma(0.5)
    assert CertifyJob("digits", "model").build_policy(0.25) == FixedSigma(0.25)


def test_without_any_sigma_the_message_says_what_to_give() -> None:
    with pytest.raises(ConfigurationError, match="give --sigma"):
        CertifyJob("digits", "model").build_policy(None)


@pytest.mark.parametrize(
    ("policy", "memory", "expected"),
    [
        ("fixed", "auto", "none"),
        ("search", "auto", "run"),
        ("gradient", "auto", "run"),
        ("search", "none", "none"),
        ("fixed", "sqlite:////there/a.db", "sqlite:////there/a.db"),
        ("search", "memory://", "memory://"),
        ("search", "postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_the_memory_is_on_by_default_where_sigma_is_chosen(
    policy: str, memory: str, expected: str
) -> None:
    asked = CertifyJob("d", "m", policy=policy, memory=memory, sigma=0.1)  # type: ignore[arg-type]
    assert decided(asked).memory == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"sigma": 0.0},
        {"sigma": -1.0},
        {"sigma": float("nan")},
        {"n": 0},
        {"n0": 0},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"limit": 0},
        {"seed": -1},
        {"seed": 2**63},
        {"memory": "foo"},
        {"memory": "mysql://host/db"},
        {"memory": "sqlite://"},
        {"read_only": True},
        {"read_only": True, "memory": "run"},
        {"read_only": True, "memory": "none"},
        {"read_only": True, "memory": "memory://"},
        {"bound": "three-sided"},
        {"selection": "second"},
        {"policy": "guess"},
        {"noise": "laplace"},
        {"policy": "search", "sigma": 0.5, "settings": {"low": 0.6}},
        {"policy": "gradient", "sigma": 0.5, "settings": {"lr": 0.0}},
        {"policy": "search", "sigma": 0.5, "settings": {"votes": 3}},
        {"at_radii": ()},
        {"at_radii": (0.5, -0.5)},
        {"at_radii": (float("nan"),)},
        {"radius_tolerance": 0.0},
        {"radius_tolerance": float("nan")},
        {"at_radii": (0.5,), "radius_tolerance": 0.1},
    ],
)
def test_a_value_that_can_never_work_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        CertifyJob("digits", "model", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "settings", "message"),
    [
        ("search", {"steps": 3}, "steps is a setting of the policy gradient, not of search"),
        ("gradient", {"votes": 300}, "votes is a setting of the policy search, not of gradient"),
        ("fixed", {"low": 0.1}, "low is a setting of the policy gradient and search, not of fixed"),
        ("search", {"speed": 3}, "settings of the policy search are low, high, votes: there is no"),
        ("fixed", {"speed": 3}, "settings of the policy fixed are none: there is no speed"),
        ("gradient", {"initial": 0.2}, "settings of the policy gradient are low, .*no initial"),
        ("fixed", {"sigma": 0.2}, "there is no sigma"),
    ],
)
def test_a_setting_that_the_policy_does_not_have_is_refused_by_name(
    policy: str, settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CertifyJob("digits", "model", policy=policy, settings=settings)  # type: ignore[arg-type]


def test_settings_reach_the_policy() -> None:
    asked = CertifyJob("d", "m", policy="gradient", settings={"steps": 20, "lr": 0.01, "n": 4})
    assert asked.build_policy(0.5) == GradientSigma(0.5, steps=20, lr=0.01, n=4)


def test_a_relative_path_is_recorded_as_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_url("sqlite:///m.db") == f"sqlite:///{tmp_path}/m.db"
    assert shown_url(shown_url("sqlite:///m.db")) == shown_url("sqlite:///m.db")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:se%40cret@host:5433/db?sslmode=require",
         "postgresql://me@host:5433/db?sslmode=require"),
        ("postgresql+psycopg://me:secret@/db?host=/run/pg", "postgresql://me@/db?host=%2Frun%2Fpg"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me"),
        ("postgresql://host/db?sslpassword=secret", "postgresql://host/db"),
    ],
)  # fmt: skip
def test_a_password_is_never_recorded(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    asked = CertifyJob("digits", "m", policy="search", sigma=0.5, memory=url)
    assert decided(asked).to_json()["memory"] == shown


def test_read_only_is_recorded_where_it_was_asked_for() -> None:
    plain = CertifyJob("digits", "m", sigma=0.5, memory="sqlite:////m.db")
    assert decided(plain).to_json()["read_only"] is False
    asked = replace(plain, read_only=True)
    assert decided(asked).to_json()["read_only"] is True


def test_the_stopping_rule_is_part_of_the_record() -> None:
    plain = CertifyJob("digits", "m", sigma=0.5)
    radii = CertifyJob("digits", "m", sigma=0.5, at_radii=(0.25, 0.5))
    tolerance = CertifyJob("digits", "m", sigma=0.5, radius_tolerance=0.05)
    asked = [
        (
            decided(job).to_json()["at_radii"],
            decided(job).to_json()["radius_tolerance"],
        )
        for job in (plain, radii, tolerance)
    ]
    assert asked == [(None, None), ((0.25, 0.5), None), (None, 0.05)]
    assert [job.stopping for job in (plain, radii, tolerance)] == [
        None,
        AtRadii((0.25, 0.5)),
        RadiusTolerance(0.05),
    ]


def test_the_record_names_what_decides_results_and_nothing_else() -> None:
    asked = CertifyJob("digits", "m", policy="search", sigma=0.5, batch_size=3, seed=1)
    record = decided(asked).to_json()
    assert record["policy"] == {
        "name": "search",
        "initial": 0.5,
        "low": None,
        "high": None,
        "votes": SearchSigma.votes,
    }
    assert record["inputs"] == 5
    assert "batch_size" not in record
    assert record["memory"] == "run"


@pytest.mark.parametrize(
    "asked",
    [
        CertifyJob("digits", "runs/a model", sigma=0.5, seed=3),
        CertifyJob(
            "npz:x.npz", "py:a:b", "w.safetensors", policy="gradient", sigma=0.1,
            settings={"low": 0.05, "high": 0.2, "steps": 7, "lr": 1e-3, "n": 2}, noise="uniform",
            memory="none", n=11, n0=5,
            radius_tolerance=0.05, alpha=0.01, bound="two-sided", limit=9, split="train",
            precision="bf16", compile=True,
        ),
        CertifyJob(
            "digits", "m", alternatives=("a", "b"), policy="search", sigma=0.25,
            settings={"votes": 500}, selection="all", at_radii=(0.0, 0.1, 1 / 3),
        ),
        CertifyJob(
            "digits", "m", alternatives=("a",), policy="search", sigma=0.25,
            memory="sqlite:////there/a.db", read_only=True,
        ),
    ],
)  # fmt: skip
def test_the_command_of_a_configuration_asks_for_it_again(
    asked: CertifyJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = decided(asked)
    program, *words = shlex.split(config.command("out dir"))
    assert program == "ddrs"
    seen: list[Any] = []

    class Seen(BaseException):
        pass

    def carry_out(job: CertifyJob, out: Path) -> None:
        seen.extend([job, out])
        raise Seen

    monkeypatch.setattr("ddrs.engines.local.certify.certify_run", carry_out)
    with pytest.raises(Seen):
        main(words)
    job, out = seen
    assert decided(job) == config
    assert out == Path("out dir")

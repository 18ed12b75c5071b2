"""What can be asked for: frozen descriptions of a certification and of a training.

A job is plain data that any engine can carry out, here or elsewhere; what it says that decides
results is what the run directory is made for.
"""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from ddrs.data.split import Split
from ddrs.errors import ConfigurationError
from ddrs.memory.store.urls import parse_url, shown_url
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import NOISES
from ddrs.noise.streams import check_seed
from ddrs.proof.bounds import Bound
from ddrs.proof.stopping import Estimation, StoppingRule, stopping_rule
from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.policy import SigmaPolicy
from ddrs.sigma.search import SearchSigma
from ddrs.smoothing.selection import Selection, check_selection

__all__ = ["POLICY_OPTIONS", "CertifyJob", "PolicyName", "certify_command"]

PolicyName = Literal["fixed", "gradient", "search"]
PLACES = ("auto", "run", "none")  # what a memory can be beside a URL


@dataclass(frozen=True)
class CertifyJob:
    """Certify the inputs of a dataset with a classifier.

    Attributes:
        data: dataset spec (`ddrs.data.load`).
        model: classifier spec (`ddrs.models.load`).
        weights: weights file, where the spec needs one.
        alternatives: specs of further classifiers: each input gets the one that promises it the
            largest radius. It takes a policy that looks at each input.
        split: which part of the dataset.
        policy: how sigma is chosen.
        sigma: the fixed scale, or where the policy starts; by default the scale the model was
            trained with.
        low: least sigma of a policy; None for its default.
        high: largest sigma of a policy; None for its default.
        steps: ascent steps of the gradient policy.
        lr: step size of the gradient policy.
        draws: draws a step of the gradient policy.
        search_votes: votes an input of the search policy.
        noise: `"gaussian"` (l2) or `"uniform"` (l1).
        memory: a URL; `"run"` for one in the run directory; `"none"`; or `"auto"`, which is
            `"run"` where sigma is chosen per input and `"none"` elsewhere.
        read_only: answer from the memory at a URL and store nothing in it.
        n: estimation votes; the most of them, where a question is asked.
        at_radii: stop an input once it is settled which of these radii are certified; None to not
            ask.
        radius_tolerance: stop an input once more votes could add less than this to its radius; None
            to not ask.
        n0: selection votes.
        selection: with alternatives, whose votes select the class: `"first"`, those of `model`; or
            `"all"` together.
        alpha: failure probability of one certificate.
        bound: `"one-sided"` or `"two-sided"`.
        limit: how many inputs, from the first; None for all.
        seed: key of all randomness; None for a fresh one.
        precision: `"fp32"` or `"bf16"`.
        compile: certify a compiled copy of the model; part of the classifier's identity.
        batch_size: rows of one forward pass; it does not decide results.

    Raises:
        ConfigurationError: a value that can never work.
    """

    data: str
    model: str
    weights: str | None = None
    alternatives: tuple[str, ...] = ()
    split: Split = "test"
    policy: PolicyName = "fixed"
    sigma: float | None = None
    low: float | None = None
    high: float | None = None
    steps: int = GradientSigma.steps
    lr: float = GradientSigma.lr
    draws: int = GradientSigma.n
    search_votes: int = SearchSigma.votes
    noise: str = "gaussian"
    memory: str = "auto"
    read_only: bool = False
    n: int = 100_000
    at_radii: tuple[float, ...] | None = None
    radius_tolerance: float | None = None
    n0: int = 100
    selection: Selection = "first"
    alpha: float = 0.001
    bound: Bound = "one-sided"
    limit: int | None = None
    seed: int | None = None
    precision: Precision = "fp32"
    compile: bool = False
    batch_size: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        check_selection(self.selection)
        if self.policy not in get_args(PolicyName):
            raise ConfigurationError(
                f"policy must be one of {get_args(PolicyName)}, got {self.policy!r}"
            )
        if self.noise not in NOISES:
            raise ConfigurationError(f"noise must be one of {', '.join(NOISES)}, got {self.noise}")
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError(f"limit must be at least 1 input, got {self.limit}")
        if self.n < 1 or self.n0 < 1:
            raise ConfigurationError(
                f"n0 and n must be at least 1 vote, got n0={self.n0}, n={self.n}"
            )
        if not 0 < self.alpha < 1:
            raise ConfigurationError(f"alpha must be strictly between 0 and 1, got {self.alpha}")
        if self.seed is not None:
            check_seed(self.seed)
        Estimation(
            self.n, self.alpha, self.bound, stopping_rule(self.at_radii, self.radius_tolerance)
        )
        if self.alternatives and self.policy == "fixed":
            raise ConfigurationError(
                "alternative classifiers take a policy that looks at each input: use "
                "--policy search"
            )
        if self.memory in PLACES:
            if self.read_only:
                raise ConfigurationError("read-only needs a memory that is there: give its URL")
        elif parse_url(self.memory).drivername == "memory" and self.read_only:
            raise ConfigurationError("a memory:// that is read-only stays empty: give another URL")
        if self.sigma is not None:
            self.build_policy(None)  # refuse a bad value before anything is loaded

    def build_policy(self, trained_sigma: float | None) -> SigmaPolicy:
        """The sigma policy, starting from `sigma` or else from the model's training noise.

        Raises:
            ConfigurationError: neither is known, or a value is out of range.
        """
        initial = trained_sigma if self.sigma is None else self.sigma
        if initial is None:
            raise ConfigurationError("the model's training noise is not known; give --sigma")
        if self.policy == "fixed":
            return FixedSigma(initial)
        if self.policy == "gradient":
            return GradientSigma(initial, self.low, self.high, self.steps, self.lr, self.draws)
        return SearchSigma(initial, self.low, self.high, self.search_votes)

    @property
    def question(self) -> StoppingRule | None:
        """What the estimation votes are to settle; None for `n` votes each."""
        return stopping_rule(self.at_radii, self.radius_tolerance)

    def record(self, policy: SigmaPolicy, **facts: Any) -> dict[str, Any]:
        """What decides the results, for `config.json`: the job, its policy, and `facts`."""
        asked = asdict(self)
        for key in ("sigma", "low", "high", "steps", "lr", "draws", "search_votes", "batch_size"):
            del asked[key]
        # As in runs that were made before there was a choice.
        for key in ("read_only", "alternatives"):
            if not asked[key]:
                del asked[key]
        if not self.alternatives or self.selection == "all":
            del asked["selection"]
        return {
            "kind": "certify",
            **asked,
            "memory": self.memory_for(policy),
            "policy": {"name": self.policy, **asdict(policy)},  # type: ignore[call-overload]
            **facts,
        }

    def memory_for(self, policy: SigmaPolicy) -> str:
        """`memory` as it is recorded: `"auto"` decided, a URL as `shown_url` writes it."""
        if self.memory == "auto":
            return "run" if policy.per_input else "none"
        return self.memory if self.memory in PLACES else shown_url(self.memory)


POLICY_OPTIONS = {"initial": "sigma", "n": "draws", "votes": "search_votes"}
"""Fields of a policy that go by another name on the command line."""


def certify_command(config: Mapping[str, Any], out: str) -> str:
    """The `ddrs certify` command that makes a run again.

    Args:
        config: what `CertifyJob.record` returned, with the run's own seed.
        out: the directory that the command is to write.
    """
    policy: dict[str, Any] = dict(config["policy"])
    options = {field.name: config.get(field.name) for field in fields(CertifyJob)}
    options["policy"] = policy.pop("name")
    options |= {POLICY_OPTIONS.get(key, key): value for key, value in policy.items()}
    options["alternative"] = options.pop("alternatives") or []
    if options["alternative"]:
        options["selection"] = config.get("selection", "all")
    if options["at_radii"] is not None:
        options["at_radii"] = ",".join(f"{radius!r}" for radius in options["at_radii"])
    words = ["ddrs", "certify"]
    for key, value in options.items():
        flag = f"--{key.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            for one in value if isinstance(value, list) else [value]:
                words += [flag, str(one)]
    return shlex.join([*words, "--out", out])

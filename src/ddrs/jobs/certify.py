"""A certification that is asked for, as plain data that any engine can carry out.

The fields of `CertifyJob` say in their metadata what the command line shows of them; the settings
of a policy do so in the policy's own class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from ddrs.data.preparation import (
    CROP_OPTION,
    RESIZE_OPTION,
    RGB_OPTION,
    Preparation,
    preparation_of,
)
from ddrs.data.split import Split
from ddrs.errors import ConfigurationError
from ddrs.jobs.ways import GUARDED, STATELESS, WAYS, Way, WayName, way_settings
from ddrs.memory.store.urls import parse_url
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import NOISES
from ddrs.noise.streams import check_seed
from ddrs.proof.bounds import Bound
from ddrs.proof.stopping import Estimation, StoppingRule, stopping_rule
from ddrs.sigma.policy import INITIAL_OPTION
from ddrs.smoothing.cells import Cells
from ddrs.smoothing.levels import Levels
from ddrs.smoothing.selection import Selection, check_selection
from ddrs.votes.batching import check_batch_size

__all__ = ["CertifyJob"]

MEMORY_WORDS = ("auto", "run", "none")  # what a memory can be beside a URL


@dataclass(frozen=True)
class CertifyJob:
    """Certify the inputs of a dataset with a classifier.

    The `help` of each field says what it is. Beyond that: `memory` is a URL, `"run"`, `"none"` or
    `"auto"`, which is `"run"` where sigma is chosen per input and `"none"` elsewhere; `sigma` is
    by default what the model was trained with; `calibration` is a path, `"none"` or `"auto"`,
    which is what the command has with a policy; without a `seed` a run draws one; and `batch_size`
    does not decide results.

    Raises:
        ConfigurationError: a value that can never work, or a setting that the policy does not have.
    """

    data: str = field(
        metadata={
            "metavar": "SPEC",
            "help": "digits, hf:NAME, parquet:PATH, folder:PATH, npz:PATH or image:PATH; without "
            "labels there is no accuracy.",
        }
    )
    model: str = field(
        metadata={
            "metavar": "SPEC",
            "help": "A run directory of `ddrs train`, hf:NAME_OR_DIR, timm:NAME, torchvision:NAME, "
            "py:package.module:factory, or one of our architectures with --weights.",
        }
    )
    weights: str | None = field(
        default=None, metadata={"metavar": "FILE", "help": "Weights for the model."}
    )
    alternatives: tuple[str, ...] = field(
        default=(),
        metadata={
            "flag": "--alternative",
            "metavar": "SPEC",
            "help": "A further classifier; may be given several times. Each input gets the one "
            "with the largest radius to be expected; with cascade it is that of the next level, "
            "with routed that of the next cell. Not with fixed.",
        },
    )
    selection: Selection = field(
        default="first",
        metadata={
            "help": "With alternatives: whose votes select the class: first, those of --model; "
            "all, those of every classifier, added up."
        },
    )
    sigma: float | None = field(default=None, metadata=INITIAL_OPTION)
    policy: WayName = field(
        default="fixed",
        metadata={
            "help": "How sigma is chosen; `cascade` asks several and `routed` lets a network "
            "pick one: these two need no memory."
        },
    )
    # By the names of the policy's fields, e.g. {"votes": 200}; the others have their defaults.
    settings: Mapping[str, Any] = field(default_factory=dict)
    calibration: str = field(
        default="none",
        metadata={
            "metavar": "FILE",
            "help": "Limits the sigma of a policy: a file of `ddrs calibrate`; `auto` makes one "
            "from inputs that are not certified; `none` for none. Default: auto with a policy.",
        },
    )
    memory: str = field(
        default="auto",
        metadata={
            "metavar": "URL",
            "help": "sqlite:///FILE, postgresql://USER@HOST/DATABASE or memory://; `run` for one "
            "in the run directory (the default with gradient and search); `none` for none (the "
            "default with the others).",
        },
    )
    read_only: bool = field(
        default=False,
        metadata={
            "help": "Answer from the memory at a URL and store nothing in it; radius 0 elsewhere."
        },
    )
    n: int = field(
        default=100_000,
        metadata={
            "metavar": "N",
            "help": "Estimation votes; the most of them where an input may stop earlier.",
        },
    )
    at_radii: tuple[float, ...] | None = field(
        default=None,
        metadata={
            "metavar": "R,R,...",
            "help": "Stop an input once it is settled which of these radii are certified.",
        },
    )
    radius_tolerance: float | None = field(
        default=None,
        metadata={
            "metavar": "T",
            "help": "Stop an input once more votes could add less than T to its radius.",
        },
    )
    n0: int = field(default=100, metadata={"metavar": "N0", "help": "Selection votes."})
    alpha: float = field(
        default=0.001, metadata={"metavar": "A", "help": "Failure probability of one certificate."}
    )
    bound: Bound = field(default="one-sided", metadata={"help": "Confidence bound."})
    noise: str = field(
        default="gaussian",
        metadata={"metavar": "NAME", "help": "gaussian certifies l2 balls, uniform l1 balls."},
    )
    limit: int | None = field(
        default=None, metadata={"metavar": "K", "help": "Only the first K inputs."}
    )
    split: Split = field(
        default="test", metadata={"help": "Part of the dataset; validation where there is no test."}
    )
    class_map: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "JSON object: class of the data -> name or index of the model's class, where "
            "names do not say it.",
        },
    )
    rgb: bool | None = field(default=None, metadata=RGB_OPTION)
    resize: int | None = field(default=None, metadata=RESIZE_OPTION)
    crop: int | None = field(default=None, metadata=CROP_OPTION)
    seed: int | None = field(
        default=None,
        metadata={"metavar": "K", "help": "Key of all randomness; by default a fresh one."},
    )
    precision: Precision = field(
        default="fp32", metadata={"help": "Arithmetic of the forward passes."}
    )
    compile: bool = field(
        default=False,
        metadata={"help": "Certify a compiled copy of the model, which is faster."},
    )
    identity: str | None = field(
        default=None,
        metadata={
            "metavar": "TEXT",
            "help": "A name for what a model keeps outside its tensors and cannot be digested; you "
            "vouch for it.",
        },
    )
    batch_size: int | Literal["auto"] = field(
        default="auto",
        metadata={"metavar": "B", "help": "Rows of a forward pass. Default: the fastest."},
    )

    def __post_init__(self) -> None:
        if self.policy not in get_args(WayName):
            raise ConfigurationError(
                f"policy must be one of {get_args(WayName)}, got {self.policy!r}"
            )
        for name in self.settings:
            self._check_setting(name)
        check_selection(self.selection, 1 + len(self.alternatives))
        if self.noise not in NOISES:
            raise ConfigurationError(f"noise must be one of {', '.join(NOISES)}, got {self.noise}")
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError(f"limit must be at least 1 input, got {self.limit}")
        if self.n0 < 1:
            raise ConfigurationError(f"n0 must be at least 1 vote, got n0={self.n0}")
        if self.seed is not None:
            check_seed(self.seed)
        check_batch_size(self.batch_size)
        self.estimation.check_possible()
        _ = self.preparation  # refuse a size that no image can have
        if self.alternatives and self.policy == "fixed":
            raise ConfigurationError(
                "alternative classifiers take a policy that looks at each input: use "
                "--policy search"
            )
        if self.calibration != "none" and self.policy not in GUARDED:
            raise ConfigurationError(
                "a calibration limits the choice of a policy: use --policy search, or leave "
                "--calibration out"
            )
        self._check_memory()
        self._check_sigma()

    def _check_setting(self, name: str) -> None:
        if name in way_settings(self.policy):
            return
        owners = [each for each in get_args(WayName) if name in way_settings(each)]
        if owners:
            raise ConfigurationError(
                f"{name} is a setting of the policy {' and '.join(owners)}, not of {self.policy}"
            )
        known = ", ".join(way_settings(self.policy)) or "none"
        raise ConfigurationError(
            f"settings of the policy {self.policy} are {known}: there is no {name}"
        )

    def _check_sigma(self) -> None:
        """Refuse a bad value before anything is loaded."""
        if issubclass(WAYS[self.policy], STATELESS):
            self._check_stateless()
        elif self.sigma is not None:
            self.build_policy(None)
        else:  # the sigma of the model may be any in the range
            self.build_policy(self.settings.get("high", self.settings.get("low", 1.0)))

    def _check_stateless(self) -> None:
        what = "a cascade" if self.policy == "cascade" else "a router"
        if self.sigma is not None:
            raise ConfigurationError(f"--sigma is for the other policies: {what} takes --sigmas")
        if self.memory not in ("auto", "none"):
            raise ConfigurationError(f"{what} needs no memory: leave out --memory")
        if self.selection != "first":
            raise ConfigurationError(
                f"the classifiers of {what} select by themselves: leave out --selection"
            )
        policy, classifiers = self.build_policy(None), (self.model, *self.alternatives)
        if isinstance(policy, Levels):
            policy.per_level(classifiers)
        elif isinstance(policy, Cells):
            if policy.router is None:
                raise ConfigurationError("the network that picks a sigma is missing: give --router")
            policy.cells((*classifiers, policy.router))
            replace(self.estimation, alpha=self.alpha / 2).check_possible()

    def _check_memory(self) -> None:
        if self.memory in MEMORY_WORDS:
            if self.read_only:
                raise ConfigurationError("read-only needs a memory that is there: give its URL")
        elif parse_url(self.memory).drivername == "memory" and self.read_only:
            raise ConfigurationError("a memory:// that is read-only stays empty: give another URL")

    def build_policy(self, trained_sigma: float | None) -> Way:
        """The sigma policy, starting from `sigma` or else from the model's training noise.

        A cascade and a router start from no sigma.

        Raises:
            ConfigurationError: neither is known, or a value is out of range.
        """
        build: Any = WAYS[self.policy]
        if issubclass(build, STATELESS):
            stateless: Way = build(**self.settings)
            return stateless
        initial = trained_sigma if self.sigma is None else self.sigma
        if initial is None:
            raise ConfigurationError("the model's training noise is not known; give --sigma")
        policy: Way = build(initial, **self.settings)
        return policy

    @property
    def preparation(self) -> Preparation:
        """What is done to every image."""
        return preparation_of(self)

    @property
    def stopping(self) -> StoppingRule | None:
        """When the estimation votes of an input may stop; None for `n` votes each."""
        return stopping_rule(self.at_radii, self.radius_tolerance)

    @property
    def estimation(self) -> Estimation:
        """How the probabilities of one input are estimated.

        Raises:
            ConfigurationError: a value that can never work.
        """
        return Estimation(self.n, self.alpha, self.bound, self.stopping)

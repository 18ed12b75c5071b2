"""What a certification is made for, decided to the last value: its `config.json`.

torch is imported where a classifier is made, so that commands which only read runs start fast.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, cast

from ddrs.data.preparation import Preparation, preparation_of
from ddrs.data.split import Split
from ddrs.errors import ConfigurationError, RunError
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.ways import GUARDED, STATELESS, WAYS, Way
from ddrs.memory.store.urls import file_url, shown_url
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import NOISES, SAFETY, Noise
from ddrs.noise.streams import check_seed
from ddrs.proof.bounds import Bound
from ddrs.proof.certificate import Certificate
from ddrs.proof.stopping import Estimation, stopping_rule
from ddrs.runs.decoding import decode
from ddrs.runs.files import MEMORY_FILE
from ddrs.sigma.guard import Guard
from ddrs.sigma.policy import check_range
from ddrs.smoothing.cells import Cells
from ddrs.smoothing.levels import Levels, one_for_each
from ddrs.smoothing.selection import Selection
from ddrs.version import __version__

if TYPE_CHECKING:
    from ddrs.memory.memory import Memory
    from ddrs.smoothing.alternatives import Alternatives
    from ddrs.smoothing.cascade import Cascade, LevelClassifiers
    from ddrs.smoothing.classifier import SmoothedClassifier
    from ddrs.smoothing.routed import CellClassifiers, Routed
    from ddrs.votes.classifier import NoisyClassifier

__all__ = ["CertifyConfig", "SummarySettings"]

FLOAT32 = 1e-6  # relative; the ends of a range in the arithmetic that sigma is chosen in


@dataclass(frozen=True, kw_only=True)
class CertifyConfig:
    """A certification, decided: what the job asked for and what its data and models made of it.

    Two runs with equal configurations give the same rows. It is written whole; a key that a file
    lacks has the default of its field (`from_json`).

    Attributes:
        data: dataset spec.
        model: spec of the classifier.
        weights: weights file, where the spec needs one.
        alternatives: specs of further classifiers.
        split: which part of the dataset.
        class_map: the file that says which class of the model each of the data is; None for none.
        classes: class of the model for each of the data, as matched by name or by `class_map`; None
            where they have the same numbers.
        rgb: whether images were read with three channels (true) or one; None for as the first is.
        resize: pixels that the shorter side of every image was resized to; None for as it is.
        crop: pixels of the square in the middle that was taken of every image; None for all of it.
        policy: how sigma is chosen, with the sigma that it starts from.
        noise: `"gaussian"` or `"uniform"`.
        calibration: `"none"`, `"auto"`, or the file that limits sigma; the limits are in `policy`.
        memory: `"run"`, `"none"`, or a URL as `shown_url` writes it.
        read_only: whether nothing was stored in the memory.
        n: estimation votes; the most of them, where a stopping rule is asked for.
        at_radii: stop once it is settled which of these radii are certified; None for no such rule.
        radius_tolerance: stop once more votes could add less than this; None for no such rule.
        n0: selection votes.
        selection: whose votes select the class; `"first"` for one classifier.
        alpha: failure probability of one certificate.
        bound: `"one-sided"` or `"two-sided"`.
        limit: how many inputs were asked for, from the first; None for all.
        seed: key of all randomness; None until the run directory has drawn one.
        precision: `"fp32"` or `"bf16"`.
        compile: whether compiled copies of the models vote.
        identity: name for what the models keep outside their tensors; None where it is digested.
        inputs: how many inputs there are to certify.
        data_digest: `Dataset.digest` of them; None in early files. The engine compares it.
        num_classes: length of the models' outputs.
        model_digest: SHA-256 of what is certified: of the classifier, or of several together.
        model_digests: SHA-256 of each classifier, `model` first; that of a router last.
        version: version of the library.

    Raises:
        ConfigurationError: a value that can never work.
    """

    data: str
    model: str
    weights: str | None = None
    alternatives: tuple[str, ...] = ()
    split: Split
    class_map: str | None = None
    classes: tuple[int, ...] | None = None
    rgb: bool | None = None
    resize: int | None = None
    crop: int | None = None
    policy: Way
    noise: str
    calibration: str = "none"
    memory: str
    read_only: bool = False
    n: int
    at_radii: tuple[float, ...] | None = None
    radius_tolerance: float | None = None
    n0: int
    selection: Selection = "first"
    alpha: float
    bound: Bound
    limit: int | None = None
    seed: int | None
    precision: Precision
    compile: bool
    identity: str | None = None
    inputs: int
    data_digest: str | None = None
    num_classes: int
    model_digest: str
    model_digests: tuple[str, ...]
    version: str

    def __post_init__(self) -> None:
        if self.noise not in NOISES:
            raise ConfigurationError(f"noise must be one of {', '.join(NOISES)}, got {self.noise}")
        _ = self.estimation, self.sigma_range  # refuse what can never work
        if self.seed is not None:
            check_seed(self.seed)
        if isinstance(self.policy, Levels):
            self.policy.per_level(self.model_digests)
        if isinstance(self.policy, Cells):
            self.policy.cells(self.model_digests)
        found = self.classes or ()
        if len({*found}) < len(found) or not all(0 <= each < self.num_classes for each in found):
            raise ConfigurationError(
                f"classes must be different ones of {self.num_classes}, got {found}"
            )
        least = {"inputs": 1, "num_classes": 2, "n0": 1, "limit": 1}
        for name, value in ((name, getattr(self, name)) for name in least):
            if value is not None and value < least[name]:
                raise ConfigurationError(f"{name} must be at least {least[name]}, got {value}")

    @classmethod
    def of(
        cls,
        job: CertifyJob,
        alternatives: "Alternatives | LevelClassifiers | CellClassifiers",
        inputs: int,
        data_digest: str | None = None,
        classes: Sequence[int] | None = None,
    ) -> Self:
        """The configuration of a job.

        Args:
            job: what was asked.
            alternatives: its classifiers, with a policy that chooses sigma, levels, or cells.
            inputs: how many inputs there are to certify.
            data_digest: the digest of their data.
            classes: class of the model for each of the data, where the numbers are not the same.
        """
        policy = cast(Way, alternatives.policy)
        memory = job.memory
        if memory == "auto":
            memory = "none" if alternatives.alone else "run"
        elif memory not in ("run", "none"):
            memory = shown_url(memory)
        decided: dict[str, Any] = {
            "policy": policy,
            "memory": memory,
            "selection": job.selection,
            "inputs": inputs,
            "data_digest": data_digest,
            "classes": None if classes is None else tuple(classes),
            "num_classes": alternatives.classifiers[0].num_classes,
            "model_digest": alternatives.digest,
            "model_digests": tuple(each.digest for each in alternatives.classifiers),
            "version": __version__,
        }
        names = [each.name for each in fields(cls) if each.name not in decided]
        return cls(**{name: getattr(job, name) for name in names}, **decided)

    def to_json(self) -> dict[str, Any]:
        """What `config.json` holds, in this order."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        settings = {each.name: getattr(self.policy, each.name) for each in fields(self.policy)}
        if settings.pop("calibration", None) is not None:
            settings["calibration"] = asdict(self.guard)  # type: ignore[arg-type]
        return {"kind": "certify", **plain, "policy": {"name": self.policy_name, **settings}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_json` wrote; further keys do no harm.

        Early files have the keys `selection` and `model_digests` only where they made a difference:
        without the first, several classifiers select the class together; without the other, there
        is one classifier, and `model_digest` is its digest.

        Raises:
            TypeError, ValueError: it is not one.
        """
        if data.get("kind") != "certify":
            raise ValueError("it is not of `ddrs certify`")
        early: dict[str, Any] = {"model_digests": [data.get("model_digest")]}
        if data.get("alternatives"):
            early["selection"] = "all"
        return decode(cls, {**early, **data, "policy": _policy(data.get("policy"))})

    @property
    def preparation(self) -> Preparation:
        """What was done to every image."""
        return preparation_of(self)

    @property
    def policy_name(self) -> str:
        """The name of the policy in `WAYS`."""
        (name,) = [name for name, kind in WAYS.items() if kind is type(self.policy)]
        return name

    @property
    def estimation(self) -> Estimation:
        """How many votes certify an input, and how surely."""
        rule = stopping_rule(self.at_radii, self.radius_tolerance)
        return Estimation(self.n, self.alpha, self.bound, rule)

    @property
    def guard(self) -> Guard | None:
        """What limits the choice of the policy; None for nothing."""
        found: Guard | None = getattr(self.policy, "calibration", None)
        return None if found is None else Guard(found.digest, found.noise, found.limits)

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The least and the largest sigma that the policy may choose."""
        low, high = self._policy_range
        if self.guard is None:
            return low, high
        return min(low, self.guard.low), min(high, self.guard.high)

    @property
    def _policy_range(self) -> tuple[float, float]:
        """The same without a calibration."""
        initial = self.policy.initial
        low, high = getattr(self.policy, "low", initial), getattr(self.policy, "high", initial)
        return check_range(initial, low, high)

    def _sigma_range_of(self, model_digest: str) -> tuple[float, float]:
        """The same for one classifier: a calibration has a limit for each."""
        limits = () if self.guard is None else self.guard.limits
        for limit in limits:
            if limit.model_digest == model_digest:
                low, high = self._policy_range
                return min(low, limit.high), min(high, limit.high)
        return self.sigma_range

    @property
    def smoothing_noise(self) -> Noise:
        """The smoothing distribution."""
        return NOISES[self.noise]

    @property
    def alone(self) -> bool:
        """Whether the certificates of different inputs hold together without a memory."""
        return isinstance(self.policy, STATELESS) or not self.policy.per_input

    @property
    def summary_settings(self) -> "SummarySettings":
        """What `summarise` takes from a configuration."""
        rule = self.estimation.stopping
        return {
            "alone": self.alone,
            "alpha": self.alpha if isinstance(self.policy, STATELESS) else None,
            "radii": sorted({*DEFAULT_RADII, *(self.at_radii or ())}),
            "n_at_most": self.n,
            "question": None if rule is None else str(rule),
            "start": None if self.alone else self.policy.initial,
            "calibration": None if self.guard is None else self.guard.high,
            "differences": None if self.memory_is_its_own else self.differences,
        }

    @property
    def memory_is_its_own(self) -> bool:
        """Whether no other run can have made a row; one that others share answers with theirs."""
        return self.memory in ("none", "run")

    def differences(self, certificate: Certificate) -> dict[str, str]:
        """The settings that a certificate has otherwise than this run makes it, with a text each.

        A memory that runs share may give such ones. An alpha below the run's is none: it claims
        the same, and more surely.
        """
        c, estimation = certificate, self.estimation
        low, high = self._sigma_range_of(c.model_digest)
        alpha = sum(part.alpha for part in c.parts)
        found = {
            name: f"its {name} is {getattr(c, name)}, the run's is {wanted}"
            for name, wanted in (
                ("n0", self.n0),
                ("bound", self.bound),
                ("looks", estimation.looks),
            )
            if getattr(c, name) != wanted
        }
        if c.n not in estimation.times:
            found["n"] = f"its n is {c.n}, where the run never looks"
        if alpha > self.alpha * (1 + SAFETY):  # a sum of shares may round
            found["alpha"] = f"its alpha is {alpha}, the run's is {self.alpha}"
        if not low * (1 - FLOAT32) <= c.sigma <= high * (1 + FLOAT32):
            found["sigma"] = f"its sigma is {c.sigma}, the run's is from {low} to {high}"
        return found

    def memory_url(self, run: Path) -> str:
        """The URL of the memory, without a password; `run` is the run directory.

        Raises:
            RunError: the run's own memory is a link, which could lead to another's.
        """
        if self.memory == "run":
            if (run / MEMORY_FILE).is_symlink():
                raise RunError(f"{run / MEMORY_FILE} is a link: put the memory itself there")
            return file_url(run / MEMORY_FILE)
        return self.memory

    def classifier(
        self, classifiers: Sequence["NoisyClassifier"], memory: "Memory | None"
    ) -> "SmoothedClassifier | Cascade | Routed":
        """What certifies the inputs of the run.

        Args:
            classifiers: the base classifiers, under `smoothing_noise`, `model` first and a
                router last.
            memory: the open memory; None for none.

        Raises:
            ConfigurationError: the classifiers do not go together.
            StoreMismatchError: the memory belongs to another classifier, noise or norm.
        """
        from ddrs.smoothing.cascade import Cascade
        from ddrs.smoothing.classifier import SmoothedClassifier
        from ddrs.smoothing.routed import Routed

        if isinstance(self.policy, Levels):
            levels = (
                self.policy.per_level(classifiers),
                self.policy.sigmas,
                self.policy.thresholds,
            )
            return Cascade(
                list(zip(*levels, strict=True)),
                self.num_classes,
                noise=self.smoothing_noise,
                n0=self.n0,
                n=self.n,
                alpha=self.alpha,
                bound=self.bound,
                seed=self.seed,
            )
        if isinstance(self.policy, Cells):
            *asked, router = classifiers
            sigmas = self.policy.sigmas
            by_cell = one_for_each(asked, len(sigmas), "router over {} cells")
            return Routed(
                router,
                list(zip(by_cell, sigmas, strict=True)),
                self.num_classes,
                router_sigma=self.policy.scale,
                noise=self.smoothing_noise,
                n0=self.n0,
                n=self.n,
                alpha=self.alpha,
                bound=self.bound,
                seed=self.seed,
            )
        return SmoothedClassifier(
            classifiers,
            self.num_classes,
            sigma=self.policy,
            noise=self.smoothing_noise,
            memory=memory,
            n0=self.n0,
            selection=self.selection,
            n=self.n,
            alpha=self.alpha,
            bound=self.bound,
            seed=self.seed,
        )

    def command(self, out: str) -> str:
        """The `ddrs certify` command that makes the run again in the directory `out`."""
        words = ["ddrs", "certify"]
        for flag, value in self._options():
            yes, _, no = flag.partition("/")
            if value is True or (value is False and no):
                words.append(yes if value else no)
            elif value is not None and value is not False:
                words += [flag, str(value)]
        return shlex.join([*words, "--out", out])

    def _options(self) -> Iterator[tuple[str, object]]:
        for option in fields(CertifyJob):
            flag, value = _flag(option), getattr(self, option.name, None)
            if option.name == "policy":
                yield flag, self.policy_name
                for setting in (each for each in fields(self.policy) if each.metadata):
                    yield _flag(setting), _written(getattr(self.policy, setting.name))
            elif option.name == "alternatives":
                yield from ((flag, spec) for spec in self.alternatives)
            elif option.name == "at_radii" and self.at_radii is not None:
                yield flag, _written(self.at_radii)
            elif option.name == "calibration" and self.policy_name not in GUARDED:
                continue
            elif option.name != "selection" or self.alternatives:
                yield flag, value


class SummarySettings(TypedDict):
    """Arguments of `summarise` that a configuration decides."""

    alone: bool
    alpha: float | None
    radii: Sequence[float]
    n_at_most: int
    question: str | None
    start: float | None
    calibration: float | None
    differences: Callable[[Certificate], Mapping[str, str]] | None


def _policy(data: object) -> Way:
    """The policy that `to_json` wrote."""
    if not isinstance(data, Mapping) or data.get("name") not in WAYS:
        raise ValueError(f"policy: {data!r} is none of {', '.join(WAYS)}")
    kind = WAYS[data["name"]]
    unknown = sorted({*data} - {"name", *(setting.name for setting in fields(kind))})
    if unknown:
        raise ValueError(f"policy: {data['name']} has no {', '.join(unknown)}")
    policy: Way = decode(kind, data)
    return policy


def _written(value: object) -> object:
    """A value as it is written on the command line: several numbers with commas between."""
    return ",".join(map(repr, value)) if isinstance(value, tuple) else value


def _flag(option: Field[Any]) -> str:
    """What a field is called on the command line."""
    return str(option.metadata.get("flag", "--" + option.name.replace("_", "-")))

"""Attack the certified inputs of a finished run, inside their balls and outside.

The run's directory is only read: what is asked of its memory is asked of copies.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ddrs.data.dataset import Dataset
from ddrs.display.progress import ProgressBar
from ddrs.engines.local.certify import load_classifiers, load_router
from ddrs.errors import DDRSError, RunError
from ddrs.evaluation.attacked import attack_figures
from ddrs.files import replacing
from ddrs.jobs.attack import AttackJob
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.config import CertifyConfig
from ddrs.memory.memory import Memory
from ddrs.memory.store.sqlite import copy_store
from ddrs.memory.store.urls import file_url
from ddrs.networks.frozen import frozen
from ddrs.noise.keys import keyed_generator
from ddrs.proof.certificate import Certificate
from ddrs.proof.certify import predict
from ddrs.runs.attacks import (
    ATTACK,
    MEMORY_SETTINGS,
    Answer,
    Attacked,
    AttackResult,
    AttackSettings,
    UnfinishedAttack,
    read_attack,
)
from ddrs.runs.files import CERTIFICATES, CONFIG, MEMORY_FILE
from ddrs.runs.rows import CertifiedRow
from ddrs.smoothing.attack import Box, box_of, doubtful, lengths
from ddrs.smoothing.cascade import Cascade
from ddrs.smoothing.cells import Cells
from ddrs.smoothing.classifier import SmoothedClassifier
from ddrs.smoothing.routed import Routed
from ddrs.training.objectives.noisy import draw
from ddrs.version import __version__
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

if TYPE_CHECKING:  # a room beside this one
    from ddrs.finished.reading import FinishedRun

__all__ = ["attack_points", "attack_run"]

COPIES_PER_PASS = 256
VOTES = 1000  # that tell the class at a point with the input's sigma


def attack_run(
    run: "FinishedRun", job: AttackJob, out: str | Path | None = None, *, quiet: bool = False
) -> AttackResult:
    """Attack the first certified inputs of a run; go on where an earlier call stopped.

    Each input is attacked through the base classifier and the sigma of its certificate, of a
    cascade through the level that answers. `runs.attacks.Attacked` says what is asked at a point.

    Args:
        run: the run, which has a memory of its own or needs none.
        job: what to do.
        out: the file of the result; `attack.json` in the run directory by default.
        quiet: show no progress bar.

    Raises:
        RunError: a run that cannot be attacked, whose data or model changed, or another attack is
            at `out`.
        DDRSError: data or model cannot be loaded. Points found before an error are kept.
    """
    config, norm = run.config, run.config.smoothing_noise.norm
    target = run.path / ATTACK if out is None else Path(out)
    _check_memory(run)
    rows = [row for row in run.rows if row.radius > 0][: job.inputs]
    if not rows:
        raise RunError(f"{run.path} certifies no input, so there is nothing to attack")
    settings = AttackSettings(
        run_digest=_digest(run.path),
        norm=norm,
        alpha=config.alpha,
        memory=config.memory == "run",
        inputs=job.inputs,
        factors=tuple(job.factors),
        steps=job.steps,
        draws=job.draws,
        seed=job.seed,
    )
    if target.exists() or target.is_symlink():
        return _made_before(target, settings)
    dataset = run.load_data(rows)
    made = _classifiers_of(config)
    classifiers, *_ = load_classifiers(made, dataset)
    if isinstance(config.policy, Cells):
        classifiers.append(load_router(made, config.policy, dataset))
    method = config.classifier(classifiers, None)
    if method.digest != config.model_digest:
        raise RunError(
            f"the model is not the one that {run.path} certified: put it back as it was, or "
            "certify again"
        )
    digests = {classifier.digest for classifier in classifiers}
    for row in rows:
        if row.certificate.model_digest not in digests:
            raise RunError(
                f"the certificate of input {row.index} is of a classifier that {run.path} does not "
                "have: audit the run"
            )
    with UnfinishedAttack(target, settings) as unfinished:
        box = box_of(dataset[row.index][0] for row in rows)
        asked = _Asked(run, job, dataset, classifiers, method, len(rows), box)
        points = asked.all_points(rows, unfinished, quiet)
        result = AttackResult(str(run.path), settings, attack_figures(points), points, __version__)
        unfinished.finish(result)
    return result


def attack_points(
    classifiers: Sequence[NoisyClassifier],
    rows: Sequence[CertifiedRow],
    x: Tensor,
    factor: float,
    job: AttackJob,
    box: Box,
) -> Tensor:
    """`[batch, *input]` points in a box, at a factor of the radii of the rows, of inputs `x`.

    The noise of an input is keyed by the seed and its digest, so that no other input matters.
    """
    found = torch.empty_like(x)
    for base, places in _by_classifier(classifiers, rows):
        some, chosen = x[places], [rows[place] for place in places]
        draws = [
            draw(x[place : place + 1], job.draws, base.noise, _generator(job, rows[place]))
            for place in places
        ]
        found[places] = doubtful(
            base.model,
            some,
            torch.tensor([row.prediction for row in chosen]),
            torch.tensor([row.sigma for row in chosen], dtype=torch.float64),
            factor * torch.tensor([row.radius for row in chosen], dtype=torch.float64),
            torch.cat(draws),
            steps=job.steps,
            norm=base.noise.norm,
            box=box,
        )
    return found


@dataclass(frozen=True)
class _Asked:
    """What is asked about the points of one attack.

    Attributes:
        run: the run.
        job: the attack.
        dataset: the inputs.
        classifiers: the base classifiers of the run.
        method: what certified it, without a memory.
        inputs: how many are attacked.
        box: where the points stay.
    """

    run: "FinishedRun"
    job: AttackJob
    dataset: Dataset
    classifiers: Sequence[NoisyClassifier]
    method: SmoothedClassifier | Cascade | Routed
    inputs: int
    box: Box

    def all_points(
        self, rows: Sequence[CertifiedRow], unfinished: UnfinishedAttack, quiet: bool
    ) -> tuple[Attacked, ...]:
        """Every point, those of an earlier call as they are."""
        done = unfinished.points()
        known = {(point.factor, point.index) for point in done}
        # The votes that a stopping rule spares, or a stored region, count too.
        passes = self.job.steps * self.job.draws + VOTES + self.method.cost
        total, step = passes * len(rows) * len(self.job.factors), self._group
        title = f"attack {self.run.path}"
        with ProgressBar(title, total, "passes", done=passes * len(done), quiet=quiet) as bar:
            self.method.on_votes(bar.advance)
            for number, factor in enumerate(self.job.factors):
                bar.note(f"at {factor:g} R")
                rest = [row for row in rows if (factor, row.index) not in known]
                with self._memories(unfinished.folder, number if rest else None) as memories:
                    for start in range(0, len(rest), step):
                        found = self._ask(rest[start : start + step], factor, memories)
                        unfinished.append(found)
                        done += found
                        bar.reach(passes * len(done))
        order = {row.index: place for place, row in enumerate(rows)}
        factors = self.job.factors
        return tuple(sorted(done, key=lambda p: (factors.index(p.factor), order[p.index])))

    @property
    def _group(self) -> int:
        return max(1, COPIES_PER_PASS // self.job.draws)

    @contextmanager
    def _memories(
        self, folder: Path, factor: int | None
    ) -> Iterator[tuple[SmoothedClassifier, SmoothedClassifier] | None]:
        """The run's method with a copy of its memory: one that stores, and one that only reads.

        The copy that stores is kept for each distance until the attack is finished.
        """
        if self.run.config.memory != "run" or factor is None:
            yield None
            return
        norm = self.run.config.smoothing_noise.norm
        still, growing = folder / MEMORY_FILE, folder / f"after-{factor}.db"
        _copy_once(self.run.path / MEMORY_FILE, still)
        _copy_once(still, growing)
        with ExitStack() as stack:
            opened = [
                stack.enter_context(Memory(file_url(path), norm, read_only=reads))
                for path, reads in ((growing, False), (still, True))
            ]
            after, read_only = (self._with(memory) for memory in opened)
            yield after, read_only

    def _with(self, memory: Memory) -> SmoothedClassifier:
        found = self.run.config.classifier(self.classifiers, memory)
        assert isinstance(found, SmoothedClassifier)  # a cascade has no memory
        return found

    def _ask(
        self,
        rows: Sequence[CertifiedRow],
        factor: float,
        memories: tuple[SmoothedClassifier, SmoothedClassifier] | None,
    ) -> list[Attacked]:
        """Attack some inputs, and ask about the points."""
        norm = self.run.config.smoothing_noise.norm
        x = torch.stack([self.dataset[row.index][0] for row in rows])
        try:
            points = attack_points(self.classifiers, rows, x, factor, self.job, self.box)
            if memories is None:
                plain = self.method.predict(points)
                sigmas = [row.sigma for row in rows]
                answers = [{"plain": Answer(one)} for one in plain]
            else:
                own = self._own(points)
                sigmas = [certificate.sigma for certificate in own]
                answers = self._remembered(rows, x, points, own, memories)
        except DDRSError as error:
            where = f"inputs {rows[0].index} to {rows[-1].index}, at {factor:g} R"
            raise error.saying(f"{where}: {error}") from error
        distances = lengths(points.double() - x.double(), norm).tolist()
        return [
            Attacked(row.index, row.prediction, row.radius, factor, distance, sigma, answer)
            for row, distance, sigma, answer in zip(rows, distances, sigmas, answers, strict=True)
        ]

    def _own(self, points: Tensor) -> list[Certificate]:
        """What the points' own votes prove: the half of every answer that no memory changes."""
        config = self.run.config
        assert isinstance(self.method, SmoothedClassifier)
        return self.method.own(
            points, at_radii=config.at_radii, radius_tolerance=config.radius_tolerance
        )

    def _remembered(
        self,
        rows: Sequence[CertifiedRow],
        x: Tensor,
        points: Tensor,
        own: Sequence[Certificate],
        memories: tuple[SmoothedClassifier, SmoothedClassifier],
    ) -> list[dict[str, Answer]]:
        """The answers at the points in every setting of a run with a memory."""
        after, read_only = (memory.resolve(points, own) for memory in memories)
        proved = self._with_own_sigma(rows, points)
        found = []
        for place, row in enumerate(rows):
            with Memory("memory://", self.run.config.smoothing_noise.norm) as empty:
                before, then = empty.resolve_many(
                    [points[place].numpy(), x[place].numpy()],
                    [own[place].own_prediction, row.certificate.own_prediction],
                    [own[place].own_radius, row.certificate.own_radius],
                )
            remembered = (after[place], read_only[place], before, then)
            given = [Answer(one.prediction, one.outcome, one.radius) for one in remembered]
            found.append(dict(zip(MEMORY_SETTINGS, [proved[place], *given], strict=True)))
        return found

    def _with_own_sigma(self, rows: Sequence[CertifiedRow], points: Tensor) -> list[Answer]:
        """The classes that votes with the inputs' own classifier and sigma prove at the points.

        All those of a distance together are wrong with probability alpha at most.
        """
        found = [Answer(0)] * len(rows)
        for base, places in _by_classifier(self.classifiers, rows):
            inputs = Inputs.of(points[places], self.job.seed)
            sigma = torch.tensor([rows[place].sigma for place in places], dtype=torch.float64)
            with frozen(base.model):
                counts = base.count_each(inputs, sigma, VOTES, "attack")
            for place, row in zip(places, counts, strict=True):
                found[place] = Answer(predict(row, alpha=self.run.config.alpha / self.inputs))
        return found


def _check_memory(run: "FinishedRun") -> None:
    """Refuse a run whose memory is elsewhere, or that would need one."""
    config = run.config
    if config.memory == "run":
        config.memory_url(run.path)  # refuses a link
        if not (run.path / MEMORY_FILE).is_file():
            raise RunError(f"the memory of {run.path} is not there: put {MEMORY_FILE} back")
    elif config.memory != "none" or not config.alone:
        raise RunError(
            f"{run.path} has no memory of its own (--memory {config.memory}): certify into another "
            "directory with --memory run, and attack that"
        )


def _made_before(target: Path, settings: AttackSettings) -> AttackResult:
    """The result that is there already, if it is that of the same attack."""
    if target.is_file() and (found := read_attack(target)).settings == settings:
        return found
    raise RunError(f"{target} is there already, of another attack: choose another --out")


def _digest(run: Path) -> str:
    found = hashlib.sha256()
    for name in (CONFIG, CERTIFICATES):
        found.update(hashlib.sha256((run / name).read_bytes()).digest())
    return found.hexdigest()


def _classifiers_of(config: CertifyConfig) -> CertifyJob:
    """What `load_classifiers` takes from a job."""
    return CertifyJob(
        config.data,
        config.model,
        weights=config.weights,
        alternatives=config.alternatives,
        policy="search",
        noise=config.noise,
        sigma=1.0,
        precision=config.precision,
        compile=config.compile,
        identity=config.identity,
    )


def _by_classifier(
    classifiers: Sequence[NoisyClassifier], rows: Sequence[CertifiedRow]
) -> Iterator[tuple[NoisyClassifier, list[int]]]:
    """Each classifier with the places of the rows that its votes certify."""
    for base in dict.fromkeys(classifiers):
        places = [k for k, row in enumerate(rows) if row.certificate.model_digest == base.digest]
        if places:
            yield base, places


def _generator(job: AttackJob, row: CertifiedRow) -> torch.Generator:
    return keyed_generator(job.seed, "attack", row.certificate.input_digest)


def _copy_once(source: Path, target: Path) -> None:
    """Copy a memory, unless an earlier call did."""
    if target.exists():
        return
    try:
        with replacing(target) as partial:
            copy_store(str(source), str(partial))
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, DDRSError):
            raise
        raise RunError(f"the memory {source} cannot be copied to {target}: {error}") from error

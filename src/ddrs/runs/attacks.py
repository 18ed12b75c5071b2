"""What came of an attack on a run: `attack.json`, and how far one is that was stopped.

attack.json             settings, figures and points, written last
attack.unfinished/      until then: the settings, a JSON line per point, copies of the memory
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ddrs.errors import DataError, RunError, one_line
from ddrs.files import cannot_write, check_file, write
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.decoding import decode, read_json

__all__ = [
    "ATTACK",
    "MEMORY_SETTINGS",
    "PLAIN_SETTINGS",
    "Answer",
    "AttackFigures",
    "AttackResult",
    "AttackSettings",
    "Attacked",
    "UnfinishedAttack",
    "read_attack",
]

ATTACK = "attack.json"
KIND = "attack"
UNFINISHED = ".unfinished"
SETTINGS, POINTS = "settings.json", "points.jsonl"
MEMORY_SETTINGS = ("own sigma", "after", "read-only", "before", "input")
PLAIN_SETTINGS = ("plain",)
EXACT = ("after", "read-only")  # a stored region decides these inside of it: no votes, no chance
PROVED = ("own sigma", "plain")  # of these an abstention says nothing
ROUNDING = 1e-9  # of a distance and a radius


@dataclass(frozen=True)
class Answer:
    """What is answered at a point.

    Attributes:
        prediction: the class, or `ABSTAIN`.
        outcome: where it comes from (`ddrs.proof.certificate.Outcome`); None for votes alone.
        radius: the radius that it came with; 0 where there is none.
    """

    prediction: int
    outcome: str | None = None
    radius: float = 0.0


@dataclass(frozen=True)
class Attacked:
    """A point that an attack found, and what is answered there.

    Attributes:
        index: the input that was attacked.
        prediction: its certified class.
        radius: its certified radius.
        factor: the distance that was asked for, in units of the radius.
        distance: the distance of the point from the input.
        sigma: the one that the run's policy chooses at the point.
        answers: by setting. Without a memory `plain`, the run's classifier at the point. With one
            `own sigma`, the smoothed classifier that the certificate is about; `after`, a copy
            of the memory that stores point after point; `read-only`; `before`, an empty memory
            that is asked for the point first; `input`, what that memory then answers at the input.
    """

    index: int
    prediction: int
    radius: float
    factor: float
    distance: float
    sigma: float
    answers: Mapping[str, Answer]

    @property
    def inside(self) -> bool:
        """Whether the point is surely inside of the certified ball."""
        return self.distance * (1 + ROUNDING) < self.radius

    def changed(self, setting: str) -> bool:
        """Whether another class is answered; an abstention is none."""
        return self.answers[setting].prediction not in (self.prediction, ABSTAIN)

    @property
    def violations(self) -> tuple[str, ...]:
        """The settings whose answers the certificate rules out."""
        if not self.inside:
            return ()
        return tuple(
            setting
            for setting, answer in self.answers.items()
            if (setting in EXACT and answer.prediction != self.prediction)
            or (setting in PROVED and self.changed(setting))
        )


@dataclass(frozen=True)
class AttackFigures:
    """The points of one distance, asked in one setting.

    Attributes:
        factor: the distance, in units of the certified radius.
        setting: how they were asked (`Attacked.answers`).
        points: how many there are.
        inside: those surely inside of their input's certified ball.
        changed: those where another class is answered.
        abstained: those where none is.
        interval: Clopper-Pearson interval of 95 % for the share that changed.
        violations: those that the certificates rule out.
    """

    factor: float
    setting: str
    points: int
    inside: int
    changed: int
    abstained: int
    interval: tuple[float, float]
    violations: int


@dataclass(frozen=True)
class AttackSettings:
    """What decides the points: equal means the same attack.

    Attributes:
        run_digest: SHA-256 of the configuration and the certificates of the run.
        norm: of the distances.
        alpha: failure probability of one certificate, and of one answer by votes.
        memory: whether the run has a memory.
        inputs, factors, steps, draws, seed: as in `ddrs.jobs.attack.AttackJob`.
    """

    run_digest: str
    norm: str
    alpha: float
    memory: bool
    inputs: int
    factors: tuple[float, ...]
    steps: int
    draws: int
    seed: int


@dataclass(frozen=True)
class AttackResult:
    """What `attack.json` holds; `kind` is there to tell it from other files.

    Attributes:
        run: the run directory, as it was named.
        settings: what was asked.
        figures: by distance and setting.
        points: those of the first distance first.
        version: version of the library.
    """

    run: str
    settings: AttackSettings
    figures: tuple[AttackFigures, ...]
    points: tuple[Attacked, ...]
    version: str
    kind: str = KIND

    @property
    def violations(self) -> list[tuple[Attacked, str]]:
        """Each answer that a certificate rules out, with its setting."""
        return [(point, setting) for point in self.points for setting in point.violations]


def read_attack(path: str | Path) -> AttackResult:
    """The attack that `UnfinishedAttack.finish` wrote.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        check_file(path)
        found = decode(AttackResult, read_json(Path(path).read_text(encoding="utf-8")))
        if found.kind != KIND:
            raise ValueError(f"it is of the kind {found.kind!r}")
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not what `ddrs attack` wrote: {one_line(error)}") from error
    return found


class UnfinishedAttack:
    """An attack while it goes on, by this process alone; a context manager.

    Args:
        out: the `attack.json` that it will become.
        settings: what is asked.

    Attributes:
        folder: what is kept until it is finished.

    Raises:
        RunError: another attack was begun there, or a process works on it, or it cannot be written.
    """

    def __init__(self, out: Path, settings: AttackSettings) -> None:
        self.out, self.folder = out, out.with_name(out.stem + UNFINISHED)
        self._settings = settings
        if self.folder.is_symlink():
            raise RunError(f"{self.folder} is a link: remove it, or choose another --out")
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise RunError(cannot_write("attack", self.folder, error)) from error
        try:
            self._claim()
        except BaseException:
            os.close(self._lock)
            raise

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"{self.folder} is in use by another process; wait for it") from error
        file = self.folder / SETTINGS
        if not file.exists():
            write(
                file, json.dumps(asdict(self._settings), indent=1) + "\n", "settings of the attack"
            )
        try:
            check_file(file)
            begun = decode(AttackSettings, read_json(file.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise RunError(
                f"{file} is damaged ({one_line(error)}): remove {self.folder}"
            ) from error
        if begun != self._settings:
            raise RunError(
                f"{self.folder} holds an attack with other settings, or on another run: go on with "
                "that one, remove it, or choose another --out"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._lock)

    def points(self) -> list[Attacked]:
        """The points so far; a line that a kill cut short is not among them.

        Raises:
            RunError: they are damaged.
        """
        journal = self.folder / POINTS
        if not journal.exists():
            return []
        try:
            check_file(journal)
            whole, _, cut = journal.read_bytes().rpartition(b"\n")
            if cut:
                os.truncate(journal, len(whole) + 1 if whole else 0)
            found = [decode(Attacked, read_json(line.decode())) for line in whole.splitlines()]
            wanted = MEMORY_SETTINGS if self._settings.memory else PLAIN_SETTINGS
            if any(tuple(point.answers) != wanted for point in found):
                raise ValueError(f"its points are not asked in the settings {', '.join(wanted)}")
            return found
        except (OSError, TypeError, ValueError) as error:
            raise RunError(
                f"{journal} is damaged ({one_line(error)}): remove {self.folder}"
            ) from error

    def append(self, points: Iterable[Attacked]) -> None:
        """Add points; they are on disk when this returns.

        Raises:
            RunError: they cannot be written.
        """
        text = "".join(json.dumps(asdict(point)) + "\n" for point in points)
        try:
            with open(self.folder / POINTS, "a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(cannot_write("attack", self.folder, error)) from error

    def finish(self, result: AttackResult) -> None:
        """Write the result in one step, and remove what was kept until then.

        Raises:
            RunError: it cannot be written; what was kept is kept.
        """
        write(self.out, json.dumps(asdict(result), indent=1) + "\n", "attack")
        shutil.rmtree(self.folder, ignore_errors=True)

"""`Memory`: the stored regions of one smoothed classifier, behind one lock and one store."""

import json
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from threading import RLock
from types import TracebackType
from typing import Any, Self

import numpy as np
from sqlalchemy import RowMapping

from ddrs.errors import ConfigurationError, InputError, StoreError, StoreMismatchError
from ddrs.memory.audit import AuditReport, audit
from ddrs.memory.entries import Entry, resolution_of
from ddrs.memory.index import Index
from ddrs.memory.points import Point, as_array, point
from ddrs.memory.regions import Region, Resolution, decide, deepest_cover
from ddrs.memory.store.store import Store
from ddrs.memory.store.tables import Transaction
from ddrs.memory.store.urls import parse_url
from ddrs.memory.view import View, neighbours, rows_at_once, sketches
from ddrs.noise.distributions import Norm
from ddrs.proof.certificate import ABSTAIN

__all__ = ["Memory"]

MAX_PREDICTION = 2**31 - 1  # the largest INTEGER of every database
TOGETHER = 64  # candidates that share a scan of the index


class Memory:
    """Regions that are already answered, so that answers given later never contradict them.

    A sigma that is chosen per input differs inside the ball that was certified for an input, so
    certificates made one by one do not hold together. This memory makes them (Alfarra et al., UAI
    2022, section 3.5): balls of different classes never overlap, and an input inside a stored ball
    gets that ball's class. Decisions are exact; radii are rounded down. An answer leaves only after
    it is durable in the store, and is never withdrawn: nothing is evicted.

    The answers depend on the order of the inputs, and whoever may write can claim a region first:
    let only trusted callers write.

    Several processes may open one file, and several threads may share one object. After a fork the
    child must open its own.

    Args:
        url: `memory://` (this object alone), `sqlite:///file.db` (created if it is missing) or
            `postgresql://user@host/database` (which must exist; the tables are created).
        norm: `"l2"` or `"l1"`, the norm of the radii; a store keeps the one it was made with. None
            takes that of the store, which must be there already.
        timeout: seconds to wait while another process writes, and for a server to come back.
        read_only: answer from the stored regions and store nothing. An input that no region covers
            gets the class that is claimed, with radius 0 and the outcome `unrecorded`.

    Raises:
        ConfigurationError: a URL, norm or timeout that can never work.
        MissingDependencyError: a PostgreSQL URL without psycopg.
        StoreError: the store cannot be opened, is damaged, foreign, or from a newer version.
        StoreMismatchError: the store was made with another norm.
    """

    def __init__(
        self,
        url: str,
        norm: Norm | None = "l2",
        *,
        timeout: float = 30.0,
        read_only: bool = False,
    ) -> None:
        if norm not in ("l1", "l2", None):
            raise ConfigurationError(f"unknown norm {norm!r}: use 'l1' or 'l2'")
        if not 0 < timeout < math.inf:
            raise ConfigurationError(f"timeout is {timeout!r}: use a positive number of seconds")
        self._lock = RLock()
        self._store = Store(parse_url(url), timeout, norm, read_only=read_only)
        stored = self._store.run(Transaction.meta).get("norm")
        if stored not in ("l1", "l2") or norm not in (stored, None):
            self.close()
            raise StoreMismatchError(f"the memory was made for {stored}, not for {norm}")
        self._norm: Norm = "l1" if stored == "l1" else "l2"
        self._view = View(self._norm)

    @property
    def norm(self) -> Norm:
        """The norm of the radii."""
        return self._norm

    @property
    def read_only(self) -> bool:
        """Whether nothing is stored."""
        return self._store.read_only

    def resolve(
        self, x: Any, prediction: int, radius: float, *, evidence: str | None = None
    ) -> Resolution:
        """Check a claimed certificate against the stored regions, store and return the answer.

        Args:
            x: one input of any shape, the same for all; floats up to 64 bits or integers.
            prediction: the class claimed at `x`, or `ABSTAIN`.
            radius: the radius claimed; ignored for `ABSTAIN`.
            evidence: stored with the answer and given back with it.

        Returns:
            The answer to give. The same input again gets its stored answer, whatever is claimed.

        Raises:
            InputError: an argument is invalid; nothing is stored.
            StoreError: the answer could not be made durable; nothing is stored.
        """
        return self._resolve([point(as_array(x))], [_claim(prediction, radius)], [evidence])[0]

    def resolve_many(
        self,
        x: Any,
        predictions: Sequence[int],
        radii: Sequence[float],
        *,
        evidence: Sequence[str | None] | None = None,
    ) -> list[Resolution]:
        """As `resolve` for one input after another, in one transaction: all are stored or none.

        Args:
            x: `[batch, *input]`.
            predictions: `batch` classes.
            radii: `batch` radii.
            evidence: `batch` strings or None.

        Raises:
            InputError: an argument is invalid, or the lengths differ; nothing is stored.
            StoreError: the answers could not be made durable; nothing is stored.
        """
        batch = as_array(x)
        notes: list[str | None] = [None] * len(predictions)
        if evidence is not None:
            notes = list(evidence)
        lengths = (batch.shape[0] if batch.ndim else 0, len(predictions), len(radii), len(notes))
        if len(set(lengths)) != 1:
            raise InputError(
                "inputs, predictions, radii and evidence must be equally many, not "
                "{}, {}, {} and {}".format(*lengths)
            )
        claims = [_claim(p, r) for p, r in zip(predictions, radii, strict=True)]
        return self._resolve([point(row) for row in batch], claims, notes)

    def recall(self, x: Any) -> Resolution | None:
        """The stored answer of exactly this input, evidence included, or None."""
        wanted = point(as_array(x))

        def work(transaction: Transaction) -> Resolution | None:
            self._view.catch_up(transaction)
            self._view.check_shape(wanted)
            return self._stored(transaction, [wanted]).get(wanted.digest)

        with self._lock:
            return self._store.run(work)

    def lookup(self, x: Any) -> Region | None:
        """The stored region that answers `x`, or None.

        Of the balls that cover `x`, the one that leaves most radius around it, the earliest on
        ties; otherwise the entry of `x` itself, whose radius is then 0.
        """
        wanted = point(as_array(x))

        def work(transaction: Transaction) -> Region | None:
            self._view.catch_up(transaction)
            self._view.check_shape(wanted)
            near = self._view.index.near(sketches([wanted]), np.zeros(1))[0]
            cover = deepest_cover(self._view.neighbours(transaction, near, wanted, 0.0))
            if cover is not None:
                number = cover.position + 1
            else:
                row = transaction.find([wanted.digest]).get(wanted.digest)
                if row is None:
                    return None
                number = row["id"]
            entry = self._view.entry(next(transaction.get([number], 1))[0])
            return Region(entry.point.x, entry.resolution.prediction, entry.resolution.radius)

        with self._lock:
            return self._store.run(work)

    def bind(self, model_digest: str, noise: str) -> None:
        """Tie a fresh memory to one model and noise; check one that is tied already.

        Raises:
            StoreMismatchError: the memory belongs to another model or noise, or has entries of
                nobody knows which.
        """
        asked = {"model_digest": model_digest, "noise": noise}

        def work(transaction: Transaction) -> None:
            meta = transaction.meta()
            bound = {key: meta[key] for key in asked if key in meta}
            if not bound and (self.read_only or transaction.head().count):
                raise StoreMismatchError(
                    "the memory has entries that are not tied to a model: start a new memory"
                )
            if not bound:
                transaction.set_meta(**asked)
            elif bound != asked:
                different = " and ".join(key for key in asked if bound.get(key) != asked[key])
                raise StoreMismatchError(
                    f"the memory was made with another {different.replace('_digest', '')}: "
                    "start a new memory"
                )

        with self._lock:
            self._store.run(work, write=not self.read_only)

    def about(self) -> dict[str, str]:
        """What the store says of itself: norm, shape, model digest and noise, where it has them."""
        with self._lock:
            return self._store.run(Transaction.meta)

    def entries(self) -> Iterator[Entry]:
        """Every stored answer with its input and the claim it was made from, in order of entry.

        A few are held at a time. Answers that are stored meanwhile are not among them.

        Raises:
            StoreError: an entry is damaged; `audit` says which and how.
        """
        with self._lock:
            count = self._store.run(self._view.catch_up).count
        some = rows_at_once(math.prod(self._view.shape or ()))
        for low in range(1, count + 1, some):
            numbers = range(low, min(low + some, count + 1))
            with self._lock:
                rows = self._store.run(partial(_some_rows, numbers=numbers))
            for row in sorted(rows, key=operator.itemgetter("id")):
                yield self._view.entry(row)

    def audit(self, examine: Callable[[Entry], Iterable[str]] | None = None) -> AuditReport:
        """Check the store afresh: every input, every pair of balls, every decision, the chain.

        Args:
            examine: what else is wrong with an entry, one sentence each; the core cannot judge the
                evidence that is stored with it.

        Raises:
            StoreError: the store cannot be read at all.
        """
        with self._lock:
            return self._store.run(lambda transaction: audit(transaction, examine))

    def close(self) -> None:
        """Close the store; the memory cannot be used any more."""
        with self._lock:
            self._store.close()

    def __len__(self) -> int:
        """Number of stored answers."""
        with self._lock:
            return self._store.run(Transaction.head).count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _resolve(
        self,
        points: list[Point],
        claims: list[tuple[int, float]],
        evidence: list[str | None],
    ) -> list[Resolution]:
        for note in evidence:
            if note is not None and not isinstance(note, str):
                raise InputError(f"evidence must be a string, not {type(note).__name__}")
        with self._lock:
            if self.read_only:
                return self._store.run(lambda t: self._answer(t, points, claims, evidence))
            return self._store.run(lambda t: self._insert(t, points, claims, evidence), write=True)

    def _insert(
        self,
        transaction: Transaction,
        points: list[Point],
        claims: list[tuple[int, float]],
        evidence: list[str | None],
    ) -> list[Resolution]:
        """Decide and insert in order, inside a transaction that sees every entry.

        The view keeps to what is committed: the new entries have an index of their own.
        """
        head = self._view.catch_up(transaction)
        for p in points:
            self._view.check_shape(p)
        answers = self._stored(transaction, points)
        results: list[Resolution | None] = [answers.get(p.digest) for p in points]
        unanswered = [i for i, result in enumerate(results) if result is None]
        new, new_index = list[Entry](), Index()
        new_sketches = []
        for low in range(0, len(unanswered), TOGETHER):
            rows = unanswered[low : low + TOGETHER]
            marks = sketches([points[i] for i in rows])
            radii = np.array([claims[i][1] for i in rows])
            near = self._view.index.near(marks, radii)
            for k, i in enumerate(rows):
                p, (prediction, radius) = points[i], claims[i]
                if p.digest in answers:  # the same input came twice in this batch
                    results[i] = answers[p.digest]
                    continue
                around = self._view.neighbours(transaction, near[k], p, radius)
                recent = new_index.near(marks[k : k + 1], radii[k : k + 1])[0].tolist()
                around += neighbours([new[j] for j in recent], p.values, radius, self._norm)
                results[i] = decided = decide(prediction, radius, around)
                if decided.prediction == ABSTAIN:
                    continue
                results[i] = answers[p.digest] = replace(decided, evidence=evidence[i])
                number = head.count + len(new) + 1
                new.append(Entry(number, p, answers[p.digest], prediction, radius))
                new_index.add(marks[k : k + 1], np.array([decided.radius]))
                new_sketches.append(marks[k])
        if new and not head.count:
            transaction.set_meta(shape=json.dumps(new[0].point.x.shape))
        transaction.append(new, np.array(new_sketches, np.float32), head)
        return [result for result in results if result is not None]

    def _answer(
        self,
        transaction: Transaction,
        points: list[Point],
        claims: list[tuple[int, float]],
        evidence: list[str | None],
    ) -> list[Resolution]:
        """What the stored regions answer; a claim outside all of them is repeated, not kept."""
        self._view.catch_up(transaction)
        for p in points:
            self._view.check_shape(p)
        stored = self._stored(transaction, points)
        results = []
        for p, (prediction, _), note in zip(points, claims, evidence, strict=True):
            if p.digest in stored:
                results.append(stored[p.digest])
                continue
            near = self._view.index.near(sketches([p]), np.zeros(1))[0]
            covered = decide(ABSTAIN, 0.0, self._view.neighbours(transaction, near, p, 0.0))
            if covered.prediction != ABSTAIN:
                covered = replace(covered, evidence=note)
            elif prediction != ABSTAIN:
                covered = Resolution(prediction, 0.0, "unrecorded", note)
            results.append(covered)
        return results

    def _stored(self, transaction: Transaction, points: list[Point]) -> dict[str, Resolution]:
        """The stored answers of those of the points that have one, by digest."""
        found = transaction.find([p.digest for p in points])
        try:
            return {digest: resolution_of(row) for digest, row in found.items()}
        except InputError as error:
            raise StoreError(
                f"an answer in the memory is damaged ({error}): audit it and restore it from a copy"
            ) from error


def _some_rows(transaction: Transaction, numbers: Sequence[int]) -> Sequence[RowMapping]:
    return next(transaction.get(numbers, len(numbers)))


def _claim(prediction: Any, radius: Any) -> tuple[int, float]:
    """A claimed class and radius, checked; the radius rounded down to float64."""
    try:
        prediction = operator.index(prediction)
    except TypeError:
        raise InputError(f"the prediction {prediction!r} must be an integer") from None
    if not ABSTAIN <= prediction <= MAX_PREDICTION:
        raise InputError(f"the prediction {prediction} must be a class, or {ABSTAIN} to abstain")
    if prediction == ABSTAIN:
        return ABSTAIN, 0.0
    try:
        value = float(radius) if math.isfinite(radius) else math.nan
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not value >= 0:
        raise InputError(f"the radius {radius!r} must be a finite number >= 0")
    return prediction, math.nextafter(value, 0.0) if value > radius else abs(value)

"""`Memory`: the stored regions of one smoothed classifier, behind one lock and one store."""

import json
import math
import operator
import os
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from threading import RLock
from types import TracebackType
from typing import Any, Self

import numpy as np
from sqlalchemy import Row

from ddrs.certificate import ABSTAIN
from ddrs.errors import ConfigurationError, InputError, StoreError, StoreMismatchError
from ddrs.memory.audit import AuditReport, Violation, audit
from ddrs.memory.entries import Entry, from_row, resolution_of
from ddrs.memory.geometry import Norm
from ddrs.memory.index import Index
from ddrs.memory.points import Point, as_array, point
from ddrs.memory.regions import Region, Resolution, decide, deepest_cover
from ddrs.memory.store import Store, Transaction, parse_url

__all__ = ["Memory"]

MAX_PREDICTION = 2**31 - 1  # the largest INTEGER of every database


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
        url: `memory://` (this object alone) or `sqlite:///file.db` (created if it is missing).
        norm: `"l2"` or `"l1"`, the norm of the radii; a store keeps the one it was made with. None
            takes that of the store, which must be there already.
        timeout: seconds to wait while another process writes.

    Raises:
        ConfigurationError: a URL, norm or timeout that can never work.
        StoreError: the file cannot be opened, is damaged, foreign, or from a newer version.
        StoreMismatchError: the store was made with another norm.
    """

    def __init__(self, url: str, norm: Norm | None = "l2", *, timeout: float = 30.0) -> None:
        if norm not in ("l1", "l2", None):
            raise ConfigurationError(f"unknown norm {norm!r}: use 'l1' or 'l2'")
        if not 0 < timeout < math.inf:
            raise ConfigurationError(f"timeout is {timeout!r}: use a positive number of seconds")
        path = parse_url(url)
        if norm is None and (path is None or not os.path.exists(path)):
            raise StoreError(f"there is no memory at {url}: check the path")
        self._lock = RLock()
        self._shape: tuple[int, ...] = ()
        self._index: Index | None = None  # of the stored entries that this process has seen
        self._store = Store(path, timeout, norm)
        with self._store.transaction() as transaction:
            stored = transaction.meta().get("norm")
        if stored not in ("l1", "l2") or norm not in (stored, None):
            self.close()
            raise StoreMismatchError(f"the memory was made for {stored}, not for {norm}")
        self._norm: Norm = "l1" if stored == "l1" else "l2"

    @property
    def norm(self) -> Norm:
        """The norm of the radii."""
        return self._norm

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
        with self._lock, self._store.transaction() as transaction:
            self._catch_up(transaction)
            self._check_shape(wanted)
            row = transaction.find(wanted.digest)
            return None if row is None else _resolution(row)

    def lookup(self, x: Any) -> Region | None:
        """The stored region that answers `x`, or None.

        Of the balls that cover `x`, the one that leaves most radius around it, the earliest on
        ties; otherwise the entry of `x` itself, whose radius is then 0.
        """
        wanted = point(as_array(x))
        with self._lock, self._store.transaction() as transaction:
            self._catch_up(transaction)
            self._check_shape(wanted)
            if self._index is None:
                return None
            cover = deepest_cover(self._index.near(wanted.values[None], np.zeros(1))[0])
            row = transaction.get(cover.position + 1) if cover else transaction.find(wanted.digest)
            if row is None:
                return None
            entry = self._entry(row)
            return Region(entry.point.x, entry.resolution.prediction, entry.resolution.radius)

    def bind(self, model_digest: str, noise: str) -> None:
        """Tie a fresh memory to one model and noise; check one that is tied already.

        Raises:
            StoreMismatchError: the memory belongs to another model or noise, or has entries of
                nobody knows which.
        """
        asked = {"model_digest": model_digest, "noise": noise}
        with self._lock, self._store.transaction(write=True) as transaction:
            meta = transaction.meta()
            bound = {key: meta[key] for key in asked if key in meta}
            if not bound and transaction.count():
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

    def entries(self) -> list[Entry]:
        """Every stored answer with its input and the claim it was made from, in order of entry.

        Raises:
            StoreError: an entry is damaged; `audit` says which and how.
        """
        with self._lock, self._store.transaction() as transaction:
            self._catch_up(transaction)
            return [self._entry(row) for row in transaction.rows()]

    def audit(self) -> AuditReport:
        """Check the store afresh: every input, every pair of balls, every decision.

        Raises:
            StoreError: the store cannot be read at all.
        """
        with self._lock, self._store.transaction() as transaction:
            entries = transaction.count()
            try:
                shape = _shape(transaction.meta())
            except StoreError as error:
                return AuditReport((Violation("meta", (), str(error)),), entries)
            if shape is None and entries:
                message = "the input shape is not recorded: the store was altered"
                return AuditReport((Violation("meta", (), message),), entries)
            return audit(transaction.rows(), self._norm, shape or ())

    def close(self) -> None:
        """Close the store; the memory cannot be used any more."""
        with self._lock:
            self._store.close()

    def __len__(self) -> int:
        """Number of stored answers."""
        with self._lock, self._store.transaction() as transaction:
            return transaction.count()

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
            seen: int | None = None
            try:
                with self._store.transaction(write=True) as transaction:
                    self._catch_up(transaction)
                    seen = 0 if self._index is None else len(self._index)
                    return self._insert(transaction, points, claims, evidence)
            except BaseException:
                # What was rolled back must leave the index too. `seen` is None when the failure
                # came before: then the index holds committed rows only.
                if seen == 0:
                    self._index = None
                elif seen is not None and self._index is not None:
                    self._index.truncate(seen)
                raise

    def _insert(
        self,
        transaction: Transaction,
        points: list[Point],
        claims: list[tuple[int, float]],
        evidence: list[str | None],
    ) -> list[Resolution]:
        """Decide and insert in order, inside the transaction that has seen every entry."""
        if not points:
            return []
        for p in points:
            self._check_shape(p)
        rows = {p.digest: transaction.find(p.digest) for p in points}
        answers = {digest: _resolution(row) for digest, row in rows.items() if row is not None}
        unanswered = [i for i, p in enumerate(points) if p.digest not in answers]
        index = self._index or Index(len(points[0].values), self._norm)
        nearby = index.along(
            [points[i].values for i in unanswered], [claims[i][1] for i in unanswered]
        )
        results = {i: answers[p.digest] for i, p in enumerate(points) if p.digest in answers}
        for i, neighbours in zip(unanswered, nearby, strict=True):
            digest = points[i].digest
            if digest in answers:  # the same input came twice in this batch
                results[i] = answers[digest]
                continue
            results[i] = decide(*claims[i], neighbours)
            if results[i].prediction == ABSTAIN:
                continue
            results[i] = answers[digest] = replace(results[i], evidence=evidence[i])
            if self._index is None:
                transaction.set_meta(shape=json.dumps(points[i].x.shape))
                self._index, self._shape = index, points[i].x.shape
            transaction.append(Entry(len(index) + 1, points[i], answers[digest], *claims[i]))
            index.add(points[i].values, answers[digest].prediction, answers[digest].radius)
        return [results[i] for i in range(len(points))]

    def _catch_up(self, transaction: Transaction) -> None:
        """Read the entries that were added since this process last looked."""
        if self._index is None:
            shape = _shape(transaction.meta())
            if shape is None:
                return
            self._index, self._shape = Index(prod(shape), self._norm), shape
        for row in transaction.rows(after=len(self._index)):
            if row.id != len(self._index) + 1:
                raise StoreError(
                    f"entry {len(self._index) + 1} of the memory is missing: the store was "
                    "altered; audit it and restore it from a copy"
                )
            entry = self._entry(row)
            stored = entry.resolution
            self._index.add(entry.point.values, stored.prediction, stored.radius)

    def _check_shape(self, p: Point) -> None:
        if self._index is not None and p.x.shape != self._shape:
            raise InputError(
                f"the input has shape {p.x.shape}, the inputs in the memory have {self._shape}"
            )

    def _entry(self, row: Row[Any]) -> Entry:
        try:
            return from_row(row, self._shape)
        except InputError as error:
            raise _damaged(row, error) from error


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


def _shape(meta: dict[str, str]) -> tuple[int, ...] | None:
    """The shape recorded in the store, or None before the first entry."""
    if "shape" not in meta:
        return None
    try:
        return tuple(operator.index(length) for length in json.loads(meta["shape"]))
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"the recorded input shape {meta['shape']!r} is unreadable: the store was altered"
        ) from error


def _resolution(row: Row[Any]) -> Resolution:
    try:
        return resolution_of(row)
    except InputError as error:
        raise _damaged(row, error) from error


def _damaged(row: Row[Any], error: InputError) -> StoreError:
    return StoreError(
        f"entry {row.id} of the memory is damaged ({error}): audit it and restore it from a copy"
    )

"""`Memory`: the stored regions of one smoothed classifier, behind one lock and one store."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from threading import RLock
from types import TracebackType
from typing import Any, Self

from sqlalchemy import RowMapping

from ddrs.errors import ConfigurationError, InputError, StoreError, StoreMismatchError
from ddrs.memory import resolving
from ddrs.memory.abstentions import Abstention
from ddrs.memory.audit import AuditReport, audit
from ddrs.memory.claims import Claim, as_point, as_points
from ddrs.memory.entries import Entry
from ddrs.memory.geometry import parse_norm
from ddrs.memory.regions import Region, Resolution
from ddrs.memory.store.store import Store
from ddrs.memory.store.tables import ROWS_PER_QUERY, Head, Transaction
from ddrs.memory.store.urls import parse_url
from ddrs.memory.view import View, rows_per_query
from ddrs.noise.distributions import Norm

__all__ = ["Memory"]


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

    Example:
        The second ball would overlap the first one, of another class, and is trimmed:

        >>> import ddrs
        >>> memory = ddrs.Memory("memory://")
        >>> memory.resolve([0.0, 0.0], prediction=1, radius=1.0)
        Resolution(prediction=1, radius=1.0, outcome='own', evidence=None)
        >>> memory.resolve([1.5, 0.0], prediction=2, radius=1.0)
        Resolution(prediction=2, radius=0.5, outcome='trimmed', evidence=None)
        >>> memory.lookup([0.5, 0.0]).prediction
        1
        >>> memory.close()

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
        if norm is not None:
            parse_norm(norm)
        if not 0 < timeout < math.inf:
            raise ConfigurationError(f"timeout is {timeout!r}: use a positive number of seconds")
        self._lock = RLock()
        self._store = Store(parse_url(url), timeout, norm, read_only=read_only)
        stored = self._store.run(Transaction.meta).get("norm")
        try:
            self._view = View(parse_norm(stored))
        except ConfigurationError:
            self.close()
            raise StoreMismatchError(f"the memory was made for {stored}, not for {norm}") from None
        if norm not in (stored, None):
            self.close()
            raise StoreMismatchError(f"the memory was made for {stored}, not for {norm}")

    @property
    def norm(self) -> Norm:
        """The norm of the radii."""
        return self._view.norm

    @property
    def read_only(self) -> bool:
        """Whether nothing is stored."""
        return self._store.read_only

    def resolve(
        self,
        x: Any,
        prediction: int,
        radius: float,
        *,
        evidence: str | None = None,
        alpha: float | None = None,
        asked: float | None = None,
    ) -> Resolution:
        """Check a claimed certificate against the stored regions, store and return the answer.

        Args:
            x: one input of any shape, the same for all; floats up to 64 bits or integers. A
                `ddrs.inputs.Point` is taken as it is, and not hashed again.
            prediction: the class claimed at `x`, or `ABSTAIN`.
            radius: the radius claimed; ignored for `ABSTAIN`.
            evidence: stored with the answer and given back with it.
            alpha: probability with which this claim may be wrong. Then tries are counted: if it
                abstains, that is remembered with its evidence and given back to whoever would spend
                more at this input than is left of `asked`. The same evidence is the same try.
            asked: probability with which all tries at this input together may be wrong; `alpha` by
                default.

        Returns:
            The answer to give. The same input again gets its stored answer, whatever is claimed.

        Raises:
            InputError: an argument is invalid; nothing is stored.
            StoreError: the answer could not be made durable; nothing is stored.
        """
        return self._resolve([Claim.of(as_point(x), prediction, radius, evidence, alpha, asked)])[0]

    def resolve_many(
        self,
        x: Any,
        predictions: Sequence[int],
        radii: Sequence[float],
        *,
        evidence: Sequence[str | None] | None = None,
        alphas: Sequence[float | None] | None = None,
        asked: float | None = None,
    ) -> list[Resolution]:
        """As `resolve` for one input after another, in one transaction: all are stored or none.

        Args:
            x: `[batch, *input]`, or a sequence of `batch` `ddrs.inputs.Point`s.
            predictions: `batch` classes.
            radii: `batch` radii.
            evidence: `batch` strings or None.
            alphas: `batch` probabilities or None.
            asked: one for all of them.

        Raises:
            InputError: an argument is invalid, or the lengths differ; nothing is stored.
            StoreError: the answers could not be made durable; nothing is stored.
        """
        points = as_points(x)
        notes = [None] * len(points) if evidence is None else list(evidence)
        shares = [None] * len(points) if alphas is None else list(alphas)
        lengths = (len(points), len(predictions), len(radii), len(notes), len(shares))
        if len(set(lengths)) != 1:
            raise InputError(
                "inputs, predictions, radii, evidence and alphas must be equally many, not "
                "{}, {}, {}, {} and {}".format(*lengths)
            )
        claims = zip(points, predictions, radii, notes, shares, strict=True)
        return self._resolve([Claim.of(*claim, asked) for claim in claims])

    def recall(self, x: Any) -> Resolution | None:
        """The stored answer of exactly this input, evidence included, or None.

        Args:
            x: one input, as for `resolve`.

        Raises:
            InputError: it is invalid, or has another shape than the inputs that are stored.
            StoreError: the store cannot be read.
        """
        point = as_point(x)
        with self._lock:
            return self._store.run(lambda t: resolving.recall(t, self._view, point))

    def tried(self, digests: Sequence[str]) -> dict[str, list[Abstention]]:
        """The abstentions that are remembered of the inputs with these digests, in order.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._lock:
            return self._store.run(lambda t: resolving.tried(t, self._view, digests))

    def lookup(self, x: Any) -> Region | None:
        """The stored region that answers `x`, or None.

        Of the balls that cover `x`, the one that leaves most radius around it, the earliest on
        ties; otherwise the entry of `x` itself, whose radius is then 0.

        Args:
            x: one input, as for `resolve`.

        Raises:
            InputError: it is invalid, or has another shape than the inputs that are stored.
            StoreError: the store cannot be read.
        """
        point = as_point(x)
        with self._lock:
            return self._store.run(lambda t: resolving.lookup(t, self._view, point))

    def bind(self, model_digest: str, noise: str, *, told: str | None = None) -> None:
        """Tie a fresh memory to one model and noise; check one that is tied already.

        Args:
            model_digest: SHA-256 of the model.
            noise: name of the noise.
            told: the digest that earlier versions had for the model.

        Raises:
            StoreMismatchError: the memory belongs to another model or noise, or has entries
                although it is tied to none.
        """
        wanted = {"model_digest": model_digest, "noise": noise}

        def work(transaction: Transaction) -> None:
            head = self._view.check(transaction)
            meta = transaction.meta()
            bound = {key: meta[key] for key in wanted if key in meta}
            if not bound and (self.read_only or head.count or self._view.known_abstention.count):
                raise StoreMismatchError(
                    "the memory has entries that are not tied to a model: start a new memory"
                )
            if not bound:
                transaction.set_meta(**wanted)
            elif bound != wanted:
                if bound == {**wanted, "model_digest": told}:
                    raise StoreMismatchError(
                        "the memory was made by an earlier version, whose digest does not tell "
                        "this model from others: start a new memory"
                    )
                different = " and ".join(key for key in wanted if bound.get(key) != wanted[key])
                raise StoreMismatchError(
                    f"the memory was made with another {different.replace('_digest', '')}: "
                    "start a new memory"
                )

        with self._lock:
            self._store.run(work, write=not self.read_only)
            self._view.know_facts(wanted)

    def about(self) -> dict[str, str]:
        """What the store says of itself: norm, shape, model digest and noise, where it has them."""
        with self._lock:
            return self._store.run(self._about)

    def entries(self) -> Iterator[Entry]:
        """Every stored answer with its input and the claim it was made from, in order of entry.

        A few are held at a time. Answers that are stored meanwhile are not among them.

        Raises:
            StoreError: an entry is damaged; `audit` says which and how.
        """
        with self._lock:
            count = self._store.run(self._view.catch_up).count
        step = rows_per_query(math.prod(self._view.shape or ()))
        for low in range(1, count + 1, step):
            numbers = range(low, min(low + step, count + 1))
            with self._lock:
                rows = self._store.run(partial(self._rows, numbers=numbers))
            for row in sorted(rows, key=operator.itemgetter("id")):
                yield self._view.entry(row)

    def abstentions(self) -> Iterator[Abstention]:
        """Every abstention that is remembered, in order of entry; a few are held at a time.

        Raises:
            StoreError: one is damaged; `audit` says which and how.
        """
        last = 0
        while True:
            with self._lock:
                found = self._store.run(partial(self._abstentions, after=last))
            if not found:
                return
            yield from found
            last = found[-1].id

    def remember(self, abstentions: Sequence[Abstention]) -> None:
        """Store abstentions of another memory; an import does so.

        Raises:
            StoreError: they do not follow on those that are stored; nothing is stored.
        """

        def work(transaction: Transaction) -> Head:
            self._view.check(transaction)
            before = self._view.known_abstention
            if abstentions and abstentions[0].id != before.count + 1:
                raise StoreError("another process wrote to the memory meanwhile: import again")
            return transaction.remember(abstentions, before)

        with self._lock:
            self._view.known_abstention = self._store.run(work, write=True)

    def audit(
        self, examine: Callable[[Entry | Abstention], Iterable[str]] | None = None
    ) -> AuditReport:
        """Check the store afresh: every input, every pair of balls, every decision, the chain.

        A store that no longer has the last entry that this object knew is not sound either.

        Args:
            examine: what else is wrong with an entry or an abstention, one sentence each; the core
                cannot judge the evidence that is stored with it.

        Raises:
            StoreError: the store cannot be read at all, or holds more than a memory's own tables.
        """
        with self._lock:
            return self._store.run(lambda t: self._audit(t, examine))

    def close(self) -> None:
        """Close the store; the memory cannot be used any more."""
        with self._lock:
            self._store.close()

    def __len__(self) -> int:
        """Number of stored answers; abstentions are not among them."""
        with self._lock:
            return self._store.run(self._view.check).count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _resolve(self, claims: Sequence[Claim]) -> list[Resolution]:
        with self._lock:
            if self.read_only:
                return self._store.run(lambda t: resolving.answer(t, self._view, claims))
            answers, last, last_abstention = self._store.run(
                lambda t: resolving.insert(t, self._view, claims), write=True
            )
            self._view.known, self._view.known_abstention = last, last_abstention
            return answers

    def _audit(
        self,
        transaction: Transaction,
        examine: Callable[[Entry | Abstention], Iterable[str]] | None,
    ) -> AuditReport:
        self._store.check_schema(transaction)
        return audit(transaction, examine, self._view.known, self._view.known_abstention)

    def _about(self, transaction: Transaction) -> dict[str, str]:
        self._view.check(transaction)
        return transaction.meta()

    def _abstentions(self, transaction: Transaction, after: int) -> list[Abstention]:
        self._view.check(transaction)
        rows = transaction.abstention_rows(after, ROWS_PER_QUERY)
        return [transaction.abstention(row) for row in rows]

    def _rows(self, transaction: Transaction, numbers: Sequence[int]) -> Sequence[RowMapping]:
        self._view.check(transaction)
        return next(transaction.get(numbers, len(numbers)))

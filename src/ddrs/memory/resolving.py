"""Claims and questions answered from the stored entries, inside one transaction.

`insert` decides and stores, and needs the only write lock from its first read on; the others only
read.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddrs.errors import InputError, StoreError
from ddrs.inputs import Point
from ddrs.memory.abstentions import Abstention, new_try, permitted
from ddrs.memory.claims import Claim
from ddrs.memory.entries import Entry, resolution_of
from ddrs.memory.index import Index
from ddrs.memory.regions import Neighbour, Region, Resolution, decide, deepest_cover
from ddrs.memory.sketch import Sketch
from ddrs.memory.store.tables import Head, Transaction
from ddrs.memory.view import View, neighbours, sketches
from ddrs.proof.certificate import ABSTAIN

__all__ = ["answer", "insert", "lookup", "recall", "tried"]

INPUTS_PER_SCAN = 64  # that share one scan of the index


def insert(
    transaction: Transaction, view: View, claims: Sequence[Claim]
) -> tuple[list[Resolution], Head, Head]:
    """Decide the claims in order and store the new answers, all of them or none.

    A try that abstains is remembered. One that takes more of alpha than earlier tries left is
    answered as one that abstained (`abstentions.permitted`).

    The view keeps to what is committed: the new entries have an index of their own.

    Returns:
        The answers, and the last entry and the last abstention, which the view knows once this is
        committed.

    Raises:
        InputError: an input has another shape than those that are stored.
        StoreError: the store is damaged.
    """
    head = view.catch_up(transaction)
    answers = _stored(transaction, view, [claim.point for claim in claims])
    results: list[Resolution | None] = [answers.get(claim.point.digest) for claim in claims]
    unanswered = [i for i, result in enumerate(results) if result is None]
    tried = transaction.tried([claims[i].point.digest for i in unanswered])
    abstained = list[Abstention]()
    new, new_index = list[Entry](), Index()
    new_sketches = list[Sketch]()
    for low in range(0, len(unanswered), INPUTS_PER_SCAN):
        rows = unanswered[low : low + INPUTS_PER_SCAN]
        scanned = sketches([claims[i].point for i in rows])
        radii = np.array([claims[i].radius for i in rows])
        near = view.index.near(scanned, radii)
        for k, i in enumerate(rows):
            claim, point = claims[i], claims[i].point
            if point.digest in answers:  # the same input came twice in this batch
                results[i] = answers[point.digest]
                continue
            around = view.neighbours(transaction, near[k], point, claim.radius)
            recent = new_index.near(scanned[k : k + 1], radii[k : k + 1])[0].tolist()
            around += neighbours([new[j] for j in recent], point.values, claim.radius, view.norm)
            tries = tried.setdefault(point.digest, [])
            claim = permitted(claim, tries)
            results[i] = decided = decide(claim.prediction, claim.radius, around)
            if decided.prediction == ABSTAIN:
                number = view.known_abstention.count + len(abstained) + 1
                if (new_one := new_try(claim, tries, number)) is not None:
                    tries.append(new_one)
                    abstained.append(new_one)
                results[i] = _with_its_try(decided, claim)
                continue
            results[i] = answers[point.digest] = replace(decided, evidence=claim.evidence)
            number = head.count + len(new) + 1
            new.append(Entry(number, point, answers[point.digest], claim.prediction, claim.radius))
            new_index.add(scanned[k : k + 1], np.array([decided.radius]))
            new_sketches.append(scanned[k])
    if view.shape is None and (new or abstained):
        # Of abstentions too: the same input in another shape is no other input.
        transaction.set_meta(shape=json.dumps(claims[unanswered[0]].point.x.shape))
    head = transaction.append(new, np.array(new_sketches, np.float32), head)
    last = transaction.remember(abstained, view.known_abstention)
    return [result for result in results if result is not None], head, last


def answer(transaction: Transaction, view: View, claims: Sequence[Claim]) -> list[Resolution]:
    """What the stored regions answer; a claim outside all of them is repeated, not kept.

    Raises:
        InputError: an input has another shape than those that are stored.
        StoreError: the store is damaged.
    """
    view.catch_up(transaction)
    stored = _stored(transaction, view, [claim.point for claim in claims])
    tried = transaction.tried([claim.point.digest for claim in claims])
    results = []
    for claim in claims:
        claim = permitted(claim, tried.get(claim.point.digest, []))
        if claim.point.digest in stored:
            results.append(stored[claim.point.digest])
            continue
        answered = decide(ABSTAIN, 0.0, _around(transaction, view, claim.point))
        if answered.prediction != ABSTAIN:
            answered = replace(answered, evidence=claim.evidence)
        elif claim.prediction != ABSTAIN:
            answered = Resolution(claim.prediction, 0.0, "unrecorded", claim.evidence)
        else:
            answered = _with_its_try(answered, claim)
        results.append(answered)
    return results


def recall(transaction: Transaction, view: View, point: Point) -> Resolution | None:
    """The stored answer of exactly this input, or None.

    Raises:
        InputError: it has another shape than the inputs that are stored.
        StoreError: the store is damaged.
    """
    view.catch_up(transaction)
    return _stored(transaction, view, [point]).get(point.digest)


def tried(
    transaction: Transaction, view: View, digests: Sequence[str]
) -> dict[str, list[Abstention]]:
    """The abstentions at these inputs, by digest and in order.

    Raises:
        StoreError: the store is damaged.
    """
    view.check(transaction)
    return transaction.tried(digests)


def lookup(transaction: Transaction, view: View, point: Point) -> Region | None:
    """The stored region that answers this input, or None.

    Raises:
        InputError: it has another shape than the inputs that are stored.
        StoreError: the store is damaged.
    """
    view.catch_up(transaction)
    view.check_shape(point)
    cover = deepest_cover(_around(transaction, view, point))
    if cover is not None:
        number = cover.position + 1
    else:
        row = transaction.find([point.digest]).get(point.digest)
        if row is None:
            return None
        number = row["id"]
    entry = view.entry(next(transaction.get([number], 1))[0])
    return Region(entry.point.x, entry.resolution.prediction, entry.resolution.radius)


def _with_its_try(abstained: Resolution, claim: Claim) -> Resolution:
    """An abstention with its evidence, where tries are counted."""
    return abstained if claim.alpha is None else replace(abstained, evidence=claim.evidence)


def _around(transaction: Transaction, view: View, point: Point) -> list[Neighbour]:
    """At least the entries whose open ball contains the input."""
    near = view.index.near(sketches([point]), np.zeros(1))[0]
    return view.neighbours(transaction, near, point, 0.0)


def _stored(transaction: Transaction, view: View, points: Sequence[Point]) -> dict[str, Resolution]:
    """The stored answers of those of the inputs that have one, by digest."""
    for point in points:
        view.check_shape(point)
    found = transaction.find([point.digest for point in points])
    try:
        return {digest: resolution_of(row) for digest, row in found.items()}
    except InputError as error:
        raise StoreError(
            f"an answer in the memory is damaged ({error}): audit it and restore it from a copy"
        ) from error

"""Any sequence of calls, crashes and power cuts, beside a reference that never crashes.

After every step the store holds exactly the answers that were given, and the audit is clean.
`HYPOTHESIS_PROFILE=long` (in `make stress`) tries many more sequences.
"""

import itertools
import math
import tempfile
from contextlib import contextmanager
from pathlib import Path

import mpmath
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event

from ddrs.memory.memory import Memory
from ddrs.proof.certificate import ABSTAIN
from support.memory_reference import DIGITS, Reference, check, gap

# Two kinds of inputs that often touch, cover and repeat each other: shape, values, radii.
LATTICE = ((2,), np.arange(7) / 4, [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 1 / 3, math.nextafter(0.5, 1)])
PIXELS = np.array([0, 1, 2, 128, 253, 254, 255], np.float32) / np.float32(255)
IMAGE = ((1, 2, 3), PIXELS, [0.0, 1 / 255, float(PIXELS[1]), 2 / 255, 0.5, 0.7, 1.0, 1.5])

slots = st.integers(0, 1)
places = st.lists(st.integers(0, 6), min_size=6, max_size=6)
claims = st.tuples(places, st.integers(ABSTAIN, 2), st.integers(0, 7))
batches = st.lists(claims, max_size=6)
moments = st.integers(0, 8)  # statements of a call; the last ones are beyond its commit


class CrashError(BaseException):
    """As abrupt as an exception can be."""


@contextmanager
def crash_at(memory, moment, before=lambda: None):
    """Raise before this statement of the memory's next transactions; a commit counts as one."""
    engine = memory._store._db.engine
    numbers = itertools.count()

    def act(*arguments):
        if next(numbers) == moment:
            before()
            raise CrashError

    for name in ("before_cursor_execute", "commit"):
        event.listen(engine, name, act)
    try:
        yield
    finally:
        for name in ("before_cursor_execute", "commit"):
            event.remove(engine, name, act)


class Lifecycle(RuleBasedStateMachine):
    """Two objects on one store, and what they have answered so far."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.copies = itertools.count()
        self.memories = [None, None]
        self.given = []  # (x, resolution) in order
        self.number = itertools.count()

    def fresh_url(self):
        raise NotImplementedError

    @initialize(norm=st.sampled_from(["l1", "l2"]), kind=st.sampled_from([LATTICE, IMAGE]))
    def begin(self, norm, kind):
        self.shape, self.values, self.radii = kind
        self.norm = norm
        self.reference = Reference(norm)
        self.url = self.fresh_url()
        self.open(0)

    def open(self, slot):
        if self.memories[slot] is None:
            self.memories[slot] = Memory(self.url, self.norm)
        return self.memories[slot]

    def input(self, place):
        return self.values[place[: math.prod(self.shape)]].reshape(self.shape)

    def arguments(self, batch):
        x = np.array([self.input(place) for place, _, _ in batch]).reshape(-1, *self.shape)
        notes = [f"call {next(self.number)}" for _ in batch]
        return (x, [c for _, c, _ in batch], [self.radii[r] for _, _, r in batch]), notes

    def note(self, arguments, notes, answers):
        """Check answers against the reference, in order, and count them as given."""
        assert len(answers) == len(notes)
        for x, claimed, radius, note, answer in zip(*arguments, notes, answers, strict=True):
            known = self.answer(x)
            if known is not None:
                assert answer == known
                continue
            check(answer, self.reference.expect(x.ravel(), claimed, radius))
            self.reference.record(x.ravel(), answer)
            if answer.prediction != ABSTAIN:
                assert answer.evidence == note
                self.given.append((x, answer))

    def answer(self, x):
        """What was given for this input."""
        return next((a for other, a in self.given if np.array_equal(x, other)), None)

    @rule(slot=slots, claim=claims)
    def resolve(self, slot, claim):
        (x, (prediction,), (radius,)), notes = self.arguments([claim])
        answer = self.open(slot).resolve(x[0], prediction, radius, evidence=notes[0])
        self.note((x, [prediction], [radius]), notes, [answer])

    @rule(slot=slots, batch=batches)
    def resolve_many(self, slot, batch):
        arguments, notes = self.arguments(batch)
        self.note(arguments, notes, self.open(slot).resolve_many(*arguments, evidence=notes))

    @rule(slot=slots, place=places)
    def recall(self, slot, place):
        x = self.input(place)
        if self.given:
            assert self.open(slot).recall(x) == self.answer(x)

    @rule(slot=slots, place=places)
    def lookup(self, slot, place):
        x = self.input(place)
        entries = self.reference.entries
        with mpmath.workdps(DIGITS):
            room = [mpmath.mpf(r) - gap(x.ravel(), e, self.norm) for e, _, r in entries]
        found = self.open(slot).lookup(x)
        known = self.answer(x)
        if room and max(room) > 0:
            centre, prediction, radius = entries[room.index(max(room))]  # the earliest on ties
            assert np.array_equal(found.x.ravel(), centre)
            assert (found.prediction, found.radius) == (prediction, radius)
        elif known is not None:
            assert (found.prediction, found.radius) == (known.prediction, 0.0)
        else:
            assert found is None

    @rule(slot=slots)
    def close(self, slot):
        self.open(slot).close()
        self.memories[slot] = None

    @rule(slot=slots, batch=batches, moment=moments, gone=st.booleans())
    def crash(self, slot, batch, moment, gone):
        """In the middle of a call; then the object is gone, or goes on."""
        memory = self.open(slot)
        arguments, notes = self.arguments(batch)
        try:
            with crash_at(memory, moment):
                answers = memory.resolve_many(*arguments, evidence=notes)
        except CrashError:
            pass
        else:
            self.note(arguments, notes, answers)
        if gone:
            self.memories[slot] = None

    @invariant()
    def what_was_given_is_there_and_nothing_else(self):
        memory = self.open(0 if self.memories[0] is not None else 1)
        report = memory.audit()
        assert report.ok, report.violations
        entries = list(memory.entries())
        assert [entry.id for entry in entries] == list(range(1, len(self.given) + 1))
        assert len(memory) == report.entries == len(self.given)
        for entry, (x, answer) in zip(entries, self.given, strict=True):
            assert entry.resolution == answer
            assert entry.point.x.dtype == x.dtype
            assert np.array_equal(entry.point.x, x)

    def teardown(self):
        for memory in self.memories:
            if memory is not None:
                memory.close()
        self.folder.cleanup()


class FileLifecycle(Lifecycle):
    """With what can happen to a file: a power cut leaves a copy of it and of its log, no more."""

    def fresh_url(self):
        self.path = Path(self.folder.name) / f"{next(self.copies)}.db"
        return f"sqlite:///{self.path}"

    def files(self):
        """The bytes of the file and of its write-ahead log."""
        log = Path(f"{self.path}-wal")
        return self.path.read_bytes(), log.read_bytes() if log.exists() else b""

    def go_on_from(self, file, log):
        self.memories = [None, None]
        self.url = self.fresh_url()
        self.path.write_bytes(file)
        Path(f"{self.path}-wal").write_bytes(log)

    @rule(slot=slots, mode=st.sampled_from(["PASSIVE", "FULL", "RESTART", "TRUNCATE"]))
    def checkpoint(self, slot, mode):
        with self.open(slot)._store._db.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA wal_checkpoint({mode})")

    @rule(slot=slots, batch=batches, moment=moments)
    def power_cut(self, slot, batch, moment):
        """At a statement, or right after the answers were given."""
        memory = self.open(slot)
        arguments, notes = self.arguments(batch)
        left = []
        try:
            with crash_at(memory, moment, before=lambda: left.append(self.files())):
                answers = memory.resolve_many(*arguments, evidence=notes)
        except CrashError:
            pass
        else:
            self.note(arguments, notes, answers)
            left.append(self.files())
        self.go_on_from(*left[0])

    @rule(slot=slots, batch=batches, part=st.floats(0, 1))
    def power_cut_in_the_commit(self, slot, batch, part):
        """The log was written up to some byte: the call is there as a whole, or not at all."""
        memory = self.open(slot)
        arguments, notes = self.arguments(batch)
        file, before = self.files()
        answers = memory.resolve_many(*arguments, evidence=notes)
        _, after = self.files()
        pairs = enumerate(zip(before, after, strict=False))
        same = next((i for i, (old, new) in pairs if old != new), min(len(before), len(after)))
        cut = same + round(part * (len(after) - same))
        self.go_on_from(file, after[:cut] + before[cut:])
        if len(self.open(0)) > len(self.given):
            self.note(arguments, notes, answers)


def run(machine, share):
    examples = max(1, settings.default.max_examples // share)
    options = settings(max_examples=examples, stateful_step_count=30)
    run_state_machine_as_test(machine, settings=options)


def test_no_life_of_a_file_loses_or_invents_an_answer():
    run(FileLifecycle, share=5)


def test_no_life_of_a_database_loses_or_invents_an_answer(postgres):
    class DatabaseLifecycle(Lifecycle):
        def fresh_url(self):
            return postgres.database()

    run(DatabaseLifecycle, share=20)

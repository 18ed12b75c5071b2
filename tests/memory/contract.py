"""What every store must do. A store's own test class supplies `url` and inherits the rest."""

import math
import threading
from abc import ABC, abstractmethod

import numpy as np
import pytest

from ddrs.errors import InputError, StoreError, StoreMismatchError
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.proof.certificate import ABSTAIN
from ddrs.proof.tries import alpha_left


def conflicting(count, seed, dimension=2):
    """Balls on a lattice that overlap a lot: x `[count, d]`, classes, radii."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 100, (count, dimension)) / 64
    return x, rng.integers(ABSTAIN, 4, count).tolist(), (rng.random(count) / 8).tolist()


HERE = [0.0, 1.0]


def attempt(memory, prediction, evidence, alpha=0.05, asked=None):
    """A try at one input."""
    return memory.resolve(HERE, prediction, 0.5, evidence=evidence, alpha=alpha, asked=asked)


class MemoryContract(ABC):
    """One memory per test, made by `url`."""

    @abstractmethod
    def url(self, folder):
        """The URL of a fresh store; `folder` is empty and lives as long as the test."""

    @pytest.fixture
    def memory(self, tmp_path):
        with Memory(self.url(tmp_path)) as memory:
            yield memory

    def test_fresh_is_empty(self, memory):
        assert len(memory) == 0
        assert memory.norm == "l2"
        assert memory.lookup([0.0]) is None
        assert memory.recall([0.0]) is None
        assert memory.audit().ok
        assert memory.audit().entries == 0
        assert memory.resolve_many(np.empty((0, 3)), [], []) == []

    def test_answers_are_stored_exactly(self, memory):
        radius = 1 / 3
        assert memory.resolve([[0.1], [0.2]], 7, radius) == Resolution(7, radius, "own")
        assert memory.recall([[0.1], [0.2]]) == Resolution(7, radius, "own")
        region = memory.lookup([[0.1], [0.2]])
        assert region.x.tolist() == [[0.1], [0.2]]
        assert (region.prediction, region.radius) == (7, radius)

    def test_the_same_input_again_returns_its_stored_answer_whatever_is_claimed(self, memory):
        first = memory.resolve([0.0, 1.0], 3, 0.5, evidence='{"n": 1}')
        assert first.evidence == '{"n": 1}'
        for prediction, radius in [(3, 0.5), (4, 9.0), (ABSTAIN, 0.0)]:
            assert memory.resolve([-0.0, 1.0], prediction, radius, evidence="other") == first
        assert memory.resolve(np.array([0, 1]), 4, 9.0) == first  # equal values, another dtype
        assert memory.recall([0.0, 1.0]) == first
        assert len(memory) == 1

    def test_abstentions_outside_every_ball_store_nothing(self, memory):
        abstained = Resolution(ABSTAIN, 0.0, "abstained")
        assert memory.resolve([5.0], ABSTAIN, float("nan"), evidence="e") == abstained
        assert len(memory) == 0
        assert memory.recall([5.0]) is None
        assert memory.resolve([[5.0]], 1, 2.0).outcome == "own"  # nor do they fix the shape

    def test_abstentions_inside_a_ball_inherit_it(self, memory):
        memory.resolve([0.0], 1, 2.0)
        answer = memory.resolve([0.5], ABSTAIN, 0.0, evidence="e")
        assert answer == Resolution(1, 1.5, "inherited", "e")
        assert memory.recall([0.5]) == answer

    def test_on_the_rim_the_candidate_keeps_its_class_and_is_never_covered_later(self, memory):
        memory.resolve([0.0], 1, 2.0)
        assert memory.resolve([2.0], 2, 1.0) == Resolution(2, 0.0, "trimmed")
        assert memory.resolve([3.0], 1, 5.0) == Resolution(1, 1.0, "trimmed")
        assert memory.lookup([2.0]).prediction == 2
        assert memory.lookup([2.0]).radius == 0.0
        assert memory.audit().ok

    def test_lookup_gives_the_ball_with_most_room_and_the_earliest_on_ties(self, memory):
        memory.resolve([0.0], 1, 2.0)
        memory.resolve([3.0], 1, 2.0)
        memory.resolve([9.0], 1, 8.0)
        assert memory.lookup([1.5]).x.tolist() == [0.0]
        assert memory.lookup([1.75]).x.tolist() == [3.0]
        assert memory.lookup([1.0]).x.tolist() == [0.0]
        assert memory.lookup([3.0]).x.tolist() == [3.0]  # 2 and 2 are a tie
        assert memory.lookup([4.0]).x.tolist() == [9.0]
        assert memory.lookup([17.0]) is None  # balls are open

    def test_resolve_many_is_one_by_one(self, memory):
        x, predictions, radii = conflicting(300, seed=2)
        evidence = [str(i) if i % 3 else None for i in range(300)]
        with Memory("memory://") as other:
            single = [
                other.resolve(*args, evidence=note)
                for *args, note in zip(x, predictions, radii, evidence, strict=True)
            ]
            assert len({answer.outcome for answer in single}) == 4
            assert (
                memory.resolve_many(x[:7], predictions[:7], radii[:7], evidence=evidence[:7])
                == (single[:7])
            )
            rest = memory.resolve_many(x[7:], predictions[7:], radii[7:], evidence=evidence[7:])
            assert rest == single[7:]
            assert len(memory) == len(other)
        assert memory.audit().ok

    def test_an_abstention_and_then_a_claim_for_the_same_input_in_one_batch(self, memory):
        answers = memory.resolve_many([[1.0], [1.0], [1.0]], [ABSTAIN, 2, 3], [0.0, 1.0, 5.0])
        own = Resolution(2, 1.0, "own")
        assert answers == [Resolution(ABSTAIN, 0.0, "abstained"), own, own]
        assert len(memory) == 1

    @pytest.mark.parametrize(
        ("x", "prediction", "radius", "message"),
        [
            ([float("nan"), 0.0], 1, 1.0, "NaN"),
            ([float("inf"), 0.0], 1, 1.0, "infinite"),
            ([0.0, 1.0, 2.0], 1, 1.0, "shape"),
            (0.0, 1, 1.0, "shape"),
            ([], 1, 1.0, "no values"),
            (["a", "b"], 1, 1.0, "convert"),
            ([True, False], 1, 1.0, "convert"),
            ([2**60, 0], 1, 1.0, "2\\^53"),
            ([[0.0], [0.0, 1.0]], 1, 1.0, "array"),
            ([0.0, 1.0], -2, 1.0, "class"),
            ([0.0, 1.0], 2**40, 1.0, "class"),
            ([0.0, 1.0], 1.0, 1.0, "integer"),
            ([0.0, 1.0], "1", 1.0, "integer"),
            ([0.0, 1.0], 1, -0.5, "radius"),
            ([0.0, 1.0], 1, float("nan"), "radius"),
            ([0.0, 1.0], 1, float("inf"), "radius"),
            ([0.0, 1.0], 1, "1", "radius"),
            ([0.0, 1.0], 1, None, "radius"),
        ],
    )
    def test_bad_input_is_one_error_and_loses_nothing(self, memory, x, prediction, radius, message):
        memory.resolve([9.0, 9.0], 1, 1.0, evidence="kept")
        with pytest.raises(InputError, match=message):
            memory.resolve(x, prediction, radius)
        assert len(memory) == 1
        assert memory.recall([9.0, 9.0]) == Resolution(1, 1.0, "own", "kept")
        assert memory.resolve([0.0, 0.0], 2, 1.0).outcome == "own"

    def test_a_bad_row_of_a_batch_stores_none_of_it(self, memory):
        for x, predictions, radii, evidence in [
            ([[0.0], [np.nan]], [1, 1], [1.0, 1.0], None),
            ([[0.0], [1.0]], [1, -7], [1.0, 1.0], None),
            ([[0.0], [1.0]], [1, 1], [1.0, -1.0], None),
            ([[0.0], [1.0]], [1], [1.0, 1.0], None),
            ([[0.0], [1.0]], [1, 1], [1.0], None),
            ([[0.0], [1.0]], [1, 1], [1.0, 1.0], ["a"]),
            ([[0.0], [1.0]], [1, 1], [1.0, 1.0], ["a", 1]),
            (0.0, [1], [1.0], None),
        ]:
            with pytest.raises(InputError):
                memory.resolve_many(x, predictions, radii, evidence=evidence)
        assert len(memory) == 0
        assert memory.resolve([[1.0, 2.0]], 1, 1.0).outcome == "own"  # the shape is still free

    def test_wrong_shapes_are_refused_by_reads_too(self, memory):
        memory.resolve([1.0, 2.0], 1, 1.0)
        for read in (memory.recall, memory.lookup):
            with pytest.raises(InputError, match="shape"):
                read([1.0])

    def test_extreme_magnitudes_stay_exact(self, memory):
        memory.resolve([1e300, 0.0], 1, 1e299)
        assert memory.resolve([1e300, 1.5e299], 2, 1e300).outcome == "trimmed"
        memory.resolve([0.0, 0.0], 3, 5e-324)
        assert memory.resolve([5e-324, 0.0], 4, 1.0) == Resolution(4, 0.0, "trimmed")
        assert memory.resolve([1e-200, 0.0], 4, 1.0).radius == math.nextafter(1e-200, 0.0)
        assert memory.audit().ok

    def test_entries_hold_the_answers_and_the_claims_in_order(self, memory):
        memory.resolve([0.0, 0.0], 1, 2.0, evidence="first")
        memory.resolve([3.0, 0.0], 2, 5.0)
        memory.resolve([0.5, 0.0], ABSTAIN, 7.0)
        first, second, third = memory.entries()
        assert [entry.id for entry in (first, second, third)] == [1, 2, 3]
        assert first.resolution == Resolution(1, 2.0, "own", "first")
        assert second.resolution == Resolution(2, 1.0, "trimmed")
        assert (second.claimed_prediction, second.claimed_radius) == (2, 5.0)
        assert third.resolution == Resolution(1, 1.5, "inherited")
        assert (third.claimed_prediction, third.claimed_radius) == (ABSTAIN, 0.0)
        assert third.point.x.tolist() == [0.5, 0.0]

    def test_bind_ties_a_fresh_memory_to_one_model_and_noise(self, memory):
        memory.bind("m1", "gaussian")
        memory.resolve([0.0], 1, 1.0)
        memory.bind("m1", "gaussian")
        with pytest.raises(StoreMismatchError, match="another model:"):
            memory.bind("m2", "gaussian")
        with pytest.raises(StoreMismatchError, match="another noise:"):
            memory.bind("m1", "uniform")
        assert memory.recall([0.0]) == Resolution(1, 1.0, "own")

    def test_bind_refuses_entries_that_are_tied_to_no_model(self, memory):
        memory.resolve([0.0], 1, 1.0)
        with pytest.raises(StoreMismatchError, match="not tied"):
            memory.bind("m1", "gaussian")
        assert len(memory) == 1

    def test_an_interrupted_batch_leaves_nothing_behind(self, memory, monkeypatch):
        memory.resolve([0.0], 1, 0.5)
        x, predictions, radii = [[1.0], [2.0], [3.0]], [1, 2, 3], [0.25, 0.25, 0.25]
        with monkeypatch.context() as patch:
            from ddrs.memory.store.tables import Transaction

            original = Transaction.append

            def interrupted(transaction, *arguments):
                original(transaction, *arguments)
                raise KeyboardInterrupt

            patch.setattr(Transaction, "append", interrupted)
            with pytest.raises(KeyboardInterrupt):
                memory.resolve_many(x, predictions, radii)
        assert len(memory) == 1
        assert memory.lookup([1.0]) is None
        # Had the rolled back ball stayed in the process, this one would be trimmed.
        assert memory.resolve([1.25], 5, 0.5).outcome == "own"
        assert memory.audit().ok

    def test_a_try_that_abstains_is_remembered_and_spends_its_alpha(self, memory):
        first = attempt(memory, ABSTAIN, "a")
        assert first == Resolution(ABSTAIN, 0.0, "abstained", "a")
        assert attempt(memory, ABSTAIN, "a") == first  # the same try
        assert attempt(memory, 3, "b") == first  # another one, with nothing left
        assert attempt(memory, 3, "b", 0.01) == first
        assert len(memory) == 0
        assert memory.recall(HERE) is None
        (kept,) = memory.abstentions()
        assert (kept.id, kept.alpha, kept.spent, kept.evidence) == (1, 0.05, 0.05, "a")
        assert memory.tried([kept.input_digest, "other"]) == {kept.input_digest: [kept]}
        assert memory.resolve([9.0, 9.0], 3, 1.0, evidence="b", alpha=0.05).outcome == "own"
        assert memory.audit().ok

    def test_who_asks_for_more_gets_what_is_left(self, memory):
        attempt(memory, ABSTAIN, "a")
        left = alpha_left(0.08, 0.05)
        more = attempt(memory, 3, "b", left * 1.001, 0.08)
        assert more == Resolution(ABSTAIN, 0.0, "abstained", "a")
        assert attempt(memory, ABSTAIN, "c", left, 0.08).evidence == "c"
        for asked, evidence in [(0.01, "a"), (0.05, "a"), (0.06, "c"), (0.08, "c")]:
            assert attempt(memory, 3, "d", asked).evidence == evidence
        assert [(a.alpha, a.spent) for a in memory.abstentions()] == [(0.05, 0.05), (left, 0.08)]
        assert attempt(memory, 3, "e", 0.02, 0.10).outcome == "own"
        assert memory.audit().ok

    def test_a_region_answers_an_input_that_abstained_before(self, memory):
        attempt(memory, ABSTAIN, "a")
        memory.resolve([0.0, 0.5], 1, 2.0)
        covered = Resolution(1, 1.5, "inherited", "a")
        assert attempt(memory, 3, "b") == covered  # its own claim does not count any more
        assert memory.recall(HERE) == covered
        assert list(memory.entries())[1].claimed_prediction == ABSTAIN
        assert memory.audit().ok

    def test_an_input_that_comes_twice_in_a_batch_is_tried_once(self, memory):
        answers = memory.resolve_many(
            [HERE, HERE, HERE], [ABSTAIN, 3, ABSTAIN], [0.0, 1.0, 0.0],
            evidence=["a", "b", "a"], alphas=[0.05, 0.05, 0.05], asked=0.05,
        )  # fmt: skip
        assert answers == [Resolution(ABSTAIN, 0.0, "abstained", "a")] * 3
        assert len(list(memory.abstentions())) == 1

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"alpha": 0.0}, "alpha must be strictly between"),
            ({"alpha": "x"}, "alpha must be strictly between"),
            ({"alpha": 0.1, "asked": 1.0}, "asked must be strictly between"),
            ({"alpha": 0.1, "evidence": None}, "needs evidence"),
        ],
    )
    def test_a_try_that_cannot_be_counted_is_refused(self, memory, settings, message):
        with pytest.raises(InputError, match=message):
            memory.resolve([5.0], ABSTAIN, 0.0, **{"evidence": "a", **settings})
        assert list(memory.abstentions()) == []

    def test_an_interrupted_batch_remembers_no_try(self, memory, monkeypatch):
        with monkeypatch.context() as patch:
            from ddrs.memory.store.tables import Transaction

            original = Transaction.remember

            def interrupted(transaction, *arguments):
                original(transaction, *arguments)
                raise KeyboardInterrupt

            patch.setattr(Transaction, "remember", interrupted)
            with pytest.raises(KeyboardInterrupt):
                attempt(memory, ABSTAIN, "a")
        assert list(memory.abstentions()) == []
        assert attempt(memory, 3, "b").outcome == "own"

    def test_threads_that_try_one_input_at_once_get_one_answer(self, memory):
        barrier, answers = threading.Barrier(8), [None] * 8

        def work(k):  # half of them would certify
            barrier.wait()
            answers[k] = attempt(memory, 3 if k % 2 else ABSTAIN, f"try {k}")

        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert None not in answers
        assert len(list(memory.abstentions())) <= 1
        # Those that abstained before one certified all gave the first of these abstentions.
        assert len(set(answers)) <= 2
        assert len({answer.evidence for answer in answers if answer.outcome == "own"}) <= 1
        abstained = {answer.evidence for answer in answers if answer.outcome == "abstained"}
        assert abstained == {each.evidence for each in memory.abstentions()}
        assert not abstained or len(memory) == 0
        assert memory.audit().ok

    def test_threads_take_turns(self, memory):
        x, predictions, radii = conflicting(200, seed=3)
        answers = {}

        def work(offset):
            for i in range(offset, 200, 8):
                answers[i] = memory.resolve(x[i], predictions[i], radii[i])

        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 200
        assert memory.audit().ok
        for i, answer in answers.items():
            if answer.prediction != ABSTAIN:
                assert memory.recall(x[i]) == answer


class SharedMemoryContract(MemoryContract):
    """For stores that outlive the object or that several objects can open."""

    def test_reopened_gives_the_same(self, tmp_path):
        url = self.url(tmp_path)
        x, predictions, radii = conflicting(120, seed=4)
        with Memory(url, "l1") as memory:
            memory.bind("m", "uniform")
            before = memory.resolve_many(x[:100], predictions[:100], radii[:100])
            count = len(memory)
        with Memory(url, "l1") as memory, Memory("memory://", "l1") as other:
            memory.bind("m", "uniform")
            assert len(memory) == count
            assert memory.audit().entries == count
            for row, answer in zip(x[:100], before, strict=True):
                if answer.prediction != ABSTAIN:
                    assert memory.recall(row) == answer
            other.resolve_many(x[:100], predictions[:100], radii[:100])
            after = memory.resolve_many(x[100:], predictions[100:], radii[100:])
            assert after == other.resolve_many(x[100:], predictions[100:], radii[100:])

    def test_another_norm_is_refused_and_the_data_stay(self, tmp_path):
        url = self.url(tmp_path)
        with Memory(url, "l1") as memory:
            memory.resolve([0.0], 1, 1.0)
        with pytest.raises(StoreMismatchError, match="l1"):
            Memory(url, "l2")
        with Memory(url, "l1") as memory:
            assert memory.recall([0.0]) == Resolution(1, 1.0, "own")

    def test_without_a_norm_it_takes_the_one_of_the_store(self, tmp_path):
        url = self.url(tmp_path)
        with pytest.raises(StoreError, match="no memory"):
            Memory(url, None)
        with Memory(url, "l1") as memory:
            memory.resolve([0.0], 1, 1.0)
        with Memory(url, None) as memory:
            assert memory.norm == "l1"
            assert memory.audit().ok

    def test_shape_and_binding_hold_for_the_next_one(self, tmp_path):
        url = self.url(tmp_path)
        with Memory(url) as memory:
            memory.bind("m1", "gaussian")
            memory.resolve(np.zeros((2, 3), np.float32), 1, 1.0)
        with Memory(url) as memory:
            with pytest.raises(InputError, match="shape"):
                memory.resolve(np.ones(6), 1, 1.0)
            with pytest.raises(StoreMismatchError, match="model and noise"):
                memory.bind("m2", "uniform")
            assert memory.lookup(np.full((2, 3), 0.1)).x.dtype == np.float32

    def test_what_one_spent_is_gone_for_the_other_and_after_it_is_reopened(self, tmp_path):
        url = self.url(tmp_path)
        with Memory(url) as one, Memory(url) as two:
            first = attempt(one, ABSTAIN, "a")
            assert attempt(two, 3, "b") == first
            second = attempt(two, ABSTAIN, "c", 0.009, 0.06)
            assert second.evidence == "c"
            assert attempt(one, 3, "d", 0.06) == second
        with Memory(url) as memory:
            assert attempt(memory, 3, "e", 0.06) == second
            assert len(list(memory.abstentions())) == 2
        with Memory(url, read_only=True) as memory:
            assert attempt(memory, 3, "f", 0.06) == second
            assert attempt(memory, 3, "f", 0.01, 0.08).outcome == "unrecorded"
            assert attempt(memory, ABSTAIN, "g", 0.01, 0.08).evidence == "g"
            assert len(list(memory.abstentions())) == 2  # a reader leaves no trace

    def test_one_sees_at_once_what_the_other_stored(self, tmp_path):
        url = self.url(tmp_path)
        with Memory(url) as one, Memory(url) as two:
            one.resolve([0.0], 1, 1.0)
            assert two.resolve([0.5], 2, 1.0) == Resolution(1, 0.5, "inherited")
            assert two.resolve([3.0], 2, 5.0) == Resolution(2, 2.0, "trimmed")
            assert one.lookup([2.0]).prediction == 2
            assert one.recall([0.5]) == Resolution(1, 0.5, "inherited")
            assert one.resolve([1.5], 3, 1.0) == Resolution(2, 0.5, "inherited")
            assert len(one) == len(two) == 4
            assert two.audit().ok

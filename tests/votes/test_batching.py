from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddrs.votes.batching import Backlog, BatchSize


@given(st.lists(st.integers(0, 50), max_size=12), st.lists(st.integers(1, 40), min_size=1))
def test_a_backlog_gives_every_request_in_order_in_full_batches(sizes, capacities):
    backlog, given_out, full = Backlog(sizes), [], []
    while backlog.rows:
        capacity = capacities[len(full) % len(capacities)]
        segments = backlog.take(capacity)
        assert all(rows > 0 for _, rows in segments)
        given_out += [index for index, rows in segments for _ in range(rows)]
        full.append(sum(rows for _, rows in segments) == capacity)
        assert backlog.rows == sum(sizes) - len(given_out)
    assert given_out == [index for index, size in enumerate(sizes) for _ in range(size)]
    assert all(full[:-1])
    assert backlog.take(5) == []


def settle(search, seconds_of, limit=1000):
    """Feed a search with times that `seconds_of(rows)` gives for a batch; the sizes it tried."""
    tried = []
    for _ in range(limit):
        if search.batches is None:
            return tried
        tried.append(search.rows)
        search.record(search.batches, search.batches * seconds_of(search.rows))
    raise AssertionError("the search did not end")


@pytest.mark.parametrize("best", [4, 16, 128, 1024])
def test_the_fastest_size_is_found_where_speed_has_one_peak(best):
    search = BatchSize((3, 32, 32))
    # the time of one row is least at `best` and grows by a third with every doubling away from it
    tried = settle(search, lambda rows: 1e-5 * rows * (4 / 3) ** _steps(rows, best))
    assert search.rows == best
    assert len(set(tried)) <= _steps(128, best) + 3


def _steps(rows, best):
    return abs(rows.bit_length() - best.bit_length())


def test_the_first_batch_of_a_size_is_not_judged_by():
    search, seen = BatchSize((3, 32, 32)), set()

    def seconds(rows):
        cold = rows not in seen
        seen.add(rows)
        return 0.05 if cold and rows == 128 else 1e-5 * rows + 1e-6 * abs(rows - 128)

    settle(search, seconds)
    assert search.rows == 128


@pytest.mark.parametrize("each", [0.001, 0.02, 0.2, 5.0, 1000.0])
def test_a_search_ends_in_time_however_slow_the_network(each):
    search, spent = BatchSize((3, 224, 224)), 0.0
    first = search.rows
    while search.batches is not None:
        spent += search.batches * each * search.rows
        search.record(search.batches, search.batches * each * search.rows)
    assert spent <= max(2.0, each * first)  # no less than one batch can be timed


def test_batches_too_few_to_judge_by_change_nothing():
    search = BatchSize((3, 32, 32))
    search.record(1, 0.01)
    rows, batches = search.rows, search.batches
    assert batches > 1
    search.record(batches - 1, 10.0)
    assert (search.rows, search.batches) == (rows, batches)


def test_the_first_batch_shrinks_as_inputs_grow():
    shapes = [(4,), (3, 32, 32), (3, 64, 64), (3, 224, 224), (3, 1000, 1000)]
    rows = [BatchSize(shape).rows for shape in shapes]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > rows[2] > rows[-1] >= 1
    assert all(
        row * 3 * side**2 * 4 < 2**24 for row, side in zip(rows[1:4], (32, 64, 224), strict=True)
    )


def test_no_batch_is_larger_than_its_noise_may_be():
    for shape in [(3, 224, 224), (3, 32, 32), (64,)]:
        search = BatchSize(shape)
        tried = settle(search, lambda rows: 1e-5)  # the larger the better
        assert max(tried) * prod(shape) * 4 <= 2**24
        assert max(tried) <= 2048

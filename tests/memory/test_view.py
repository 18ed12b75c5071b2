import numpy as np
import pytest
from sqlalchemy import create_engine, delete, text, update

from ddrs.errors import InputError, StoreError
from ddrs.inputs import Point
from ddrs.memory.entries import Entry
from ddrs.memory.regions import Resolution
from ddrs.memory.sketch import sketch
from ddrs.memory.store.tables import Head, Transaction, head, inputs, regions
from ddrs.memory.view import View, neighbours, read_shape, rows_per_query, sketches


@pytest.fixture
def transaction():
    with create_engine("sqlite://").begin() as connection:
        transaction = Transaction(connection)
        transaction.create("l2")
        transaction.set_meta(shape="[2]")
        yield transaction


def entry(number, x, prediction, radius):
    claim = Resolution(prediction, radius, "own")
    return Entry(number, Point.of(x), claim, prediction, radius)


def add(transaction, *balls):
    """Append balls (x, class, radius) at the end."""
    before = transaction.head()
    made = [entry(before.count + i, *ball) for i, ball in enumerate(balls, start=1)]
    return transaction.append(made, sketches([e.point for e in made]), before)


def test_it_learns_what_was_added_since_it_last_looked(transaction, monkeypatch):
    view = View("l2")
    assert view.catch_up(transaction) == Head(0, "")
    assert (view.shape, len(view.index)) == (None, 0)
    add(transaction, ([0.0, 0.0], 1, 1.0), ([4.0, 0.0], 2, 1.0))
    view.catch_up(transaction)
    assert (view.shape, len(view.index)) == ((2,), 2)
    after = add(transaction, ([9.0, 0.0], 3, 0.5))
    asked = []
    original = Transaction.index_rows
    monkeypatch.setattr(
        Transaction, "index_rows", lambda t, after: (asked.append(after), original(t, after))[1]
    )
    assert view.catch_up(transaction) == after
    assert view.catch_up(transaction) == after
    assert asked == [2]  # only the new one was read, and only once
    near = view.index.near(sketch(np.array([[9.2, 0.0]])), np.zeros(1))
    assert near[0].tolist() == [2]


def test_neighbours_are_those_that_can_decide(transaction):
    view = View("l2")
    add(
        transaction,
        ([0.0, 0.0], 1, 1.0),
        ([0.5, 0.0], 1, 1.0),  # of class 1 the one that counts
        ([4.0, 0.0], 2, 1.0),
        ([90.0, 0.0], 3, 0.5),  # too far
    )
    view.catch_up(transaction)
    asking = Point.of([1.0, 0.0])
    found = view.neighbours(transaction, np.arange(4), asking, 2.5)
    assert [(n.position, n.prediction, n.radius) for n in found] == [(1, 1, 1.0), (2, 2, 1.0)]
    assert [n.distance.floor for n in found] == [2**1073, 3 * 2**1074]
    assert view.neighbours(transaction, np.arange(0), asking, 2.5) == []


def test_neighbours_read_in_pieces_are_the_same(transaction, monkeypatch):
    rng = np.random.default_rng(0)
    balls = [(rng.random(2), int(rng.integers(3)), rng.random() / 8) for _ in range(60)]
    add(transaction, *balls)
    view = View("l2")
    view.catch_up(transaction)
    asking = Point.of([0.5, 0.5])
    whole = view.neighbours(transaction, np.arange(60), asking, 0.3)
    monkeypatch.setattr("ddrs.memory.view.VALUES_IN_MEMORY", 14)  # 7 inputs at once
    pieces = view.neighbours(transaction, np.arange(60), asking, 0.3)
    assert {n.position for n in pieces} == {n.position for n in whole}
    assert len(whole) >= 3


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_neighbours_of_a_lattice_are_exactly_those_that_meet(norm):
    side = [[i / 4, j / 4] for i in range(9) for j in range(9)]
    made = [entry(n, x, 0, 0.5) for n, x in enumerate(side, start=1)]
    x = np.array([1.0, 1.0])
    apart = np.abs(np.array(side) - x)
    distance = apart.sum(axis=1) if norm == "l1" else np.sqrt((apart**2).sum(axis=1))
    found = {n.position for n in neighbours(made, x, 0.25, norm) if not n.distance.at_least(0.75)}
    assert found == set(np.flatnonzero(distance < 0.75).tolist())
    assert neighbours([], x, 0.25, norm) == []


def test_another_shape_is_refused_once_there_is_one(transaction):
    view = View("l2")
    view.check_shape(Point.of([[1.0, 2.0]]))
    add(transaction, ([0.0, 0.0], 1, 1.0))
    view.catch_up(transaction)
    view.check_shape(Point.of([5.0, 6.0]))
    with pytest.raises(InputError, match=r"\(1, 2\).*\(2,\)"):
        view.check_shape(Point.of([[1.0, 2.0]]))


def test_a_store_that_became_smaller_is_refused(transaction):
    view = View("l2")
    add(transaction, ([0.0, 0.0], 1, 1.0), ([4.0, 0.0], 2, 1.0))
    view.catch_up(transaction)
    transaction.connection.execute(update(head).values(entries=1))
    with pytest.raises(StoreError, match="had 2 entries and now has 1"):
        view.catch_up(transaction)
    assert len(view.index) == 2


def test_another_last_entry_is_refused_for_good(transaction):
    view = View("l2")
    add(transaction, ([0.0, 0.0], 1, 1.0), ([4.0, 0.0], 2, 1.0))
    after = view.catch_up(transaction)
    assert view.known == after
    add(transaction, ([9.0, 0.0], 3, 0.5))
    other = text("UPDATE regions SET chain = :chain WHERE id = 2")
    transaction.connection.execute(other, {"chain": "0" * 64})
    for look in (view.check, view.catch_up):
        with pytest.raises(StoreError, match=r"entry 2 .* no longer the one .* older or another"):
            look(transaction)
    transaction.connection.execute(other, {"chain": after.chain})
    with pytest.raises(StoreError, match=r"entry 2 .* no longer the one"):
        view.check(transaction)
    assert len(view.index) == 2


def test_what_this_process_stored_is_known_before_it_is_learned(transaction):
    view = View("l2")
    view.catch_up(transaction)
    view.known = add(transaction, ([0.0, 0.0], 1, 1.0), ([4.0, 0.0], 2, 1.0))
    assert view.check(transaction) == view.known
    assert len(view.index) == 0
    transaction.connection.execute(text("UPDATE regions SET chain = 'other' WHERE id = 2"))
    with pytest.raises(StoreError, match="entry 2 of the memory is no longer the one"):
        view.catch_up(transaction)
    assert len(view.index) == 0


def test_a_head_that_is_not_the_last_entry_is_not_built_upon(transaction):
    add(transaction, ([0.0, 0.0], 1, 1.0), ([4.0, 0.0], 2, 1.0))
    transaction.connection.execute(update(head).values(chain="another"))
    view = View("l2")
    for _ in range(2):
        with pytest.raises(StoreError, match="entry 2 is not the one that the memory ended with"):
            view.catch_up(transaction)


def test_facts_that_changed_before_the_first_entry_are_refused(transaction):
    view = View("l2")
    view.know_facts({"model_digest": "m"})
    with pytest.raises(StoreError, match="made for another model before"):
        view.check(transaction)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_missing_row_is_named(transaction, number):
    add(transaction, *[([float(i), 0.0], 1, 0.1) for i in range(3)])
    transaction.connection.execute(delete(regions).where(regions.c.id == number))
    with pytest.raises(StoreError, match=f"entry {number} of the memory is missing"):
        View("l2").catch_up(transaction)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sketch": b"short"}, "sketch of entry 2"),
        ({"radius": -1.0}, "radius of entry 2"),
        ({"radius": "wide"}, "radius of entry 2"),
        ({"id": 7}, "entry 2 of the memory is missing"),
    ],
)
def test_a_damaged_row_is_not_learned(transaction, values, message):
    add(transaction, ([0.0, 0.0], 1, 1.0), ([4.0, 0.0], 2, 1.0))
    assignment = ", ".join(f"{column} = :{column}" for column in values)
    transaction.connection.execute(text(f"UPDATE regions SET {assignment} WHERE id = 2"), values)
    view = View("l2")
    for _ in range(2):  # a second look does not skip it
        with pytest.raises(StoreError, match=message):
            view.catch_up(transaction)


def test_a_damaged_entry_is_not_decided_upon(transaction):
    add(transaction, ([0.0, 0.0], 1, 1.0), ([4.0, 0.0], 2, 1.0))
    view = View("l2")
    view.catch_up(transaction)
    asking = Point.of([0.5, 0.0])
    transaction.connection.execute(update(inputs).where(inputs.c.id == 1).values(x=b"\x00\x01"))
    with pytest.raises(StoreError, match=r"entry 1 .* damaged"):
        view.neighbours(transaction, np.array([0]), asking, 0.1)


def test_an_entry_deleted_since_it_was_learned_is_not_passed_over(transaction):
    add(transaction, ([0.0, 0.0], 1, 1.0), ([4.0, 0.0], 2, 1.0))
    view = View("l2")
    view.catch_up(transaction)
    transaction.connection.execute(delete(regions).where(regions.c.id == 1))
    asking = Point.of([0.5, 0.0])
    with pytest.raises(StoreError, match="1 of the entries near the input are missing"):
        view.neighbours(transaction, np.array([0, 1]), asking, 9.0)


def test_sketches_of_points_are_those_of_their_shape():
    x = np.random.default_rng(1).random((5, 3, 8, 8)).astype(np.float32)
    made = sketches([Point.of(row) for row in x])
    assert np.array_equal(made, sketch(x.astype(np.float64)))


def test_what_is_held_at_once_is_bounded():
    assert [rows_per_query(d) for d in (1, 3072, 8192, 150_528, 10**7)] == [256, 256, 256, 13, 1]


@pytest.mark.parametrize(
    ("recorded", "shape"), [("[]", ()), ("[2]", (2,)), ("[3, 32, 32]", (3, 32, 32))]
)
def test_a_recorded_shape_is_read(recorded, shape):
    assert read_shape({"shape": recorded}) == shape


@pytest.mark.parametrize(
    "facts",
    [{}] + [{"shape": s} for s in ["", "2", "[2.0]", "[0]", "[-1, -2]", '["2"]', "{}]", "null"]],
)
def test_an_unreadable_shape_is_one_error(facts):
    with pytest.raises(StoreError, match="shape"):
        read_shape(facts)

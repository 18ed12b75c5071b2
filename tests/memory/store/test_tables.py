import numpy as np
import pytest
from sqlalchemy import create_engine, delete, insert, inspect, update
from sqlalchemy.exc import IntegrityError

from ddrs.errors import StoreError
from ddrs.inputs import Point
from ddrs.memory.chain import genesis, link
from ddrs.memory.entries import Entry, from_row
from ddrs.memory.regions import Resolution
from ddrs.memory.sketch import SKETCH_SIZE
from ddrs.memory.store.tables import (
    SCHEMA_VERSION,
    Head,
    Transaction,
    head,
    inputs,
    regions,
)


@pytest.fixture
def transaction():
    with create_engine("sqlite://").begin() as connection:
        transaction = Transaction(connection)
        transaction.create("l2")
        yield transaction


def entries(first, last):
    """Entries `first`, ..., `last`, each of another input, and their sketches."""
    numbers = range(first, last + 1)
    made = [
        Entry(n, Point.of([n / 7, -n]), Resolution(n, n / 3, "own", f"e{n}"), n, n / 2)
        for n in numbers
    ]
    return made, np.outer(list(numbers), np.ones(SKETCH_SIZE)).astype(np.float32)


def test_a_fresh_store_says_what_it_is_and_holds_nothing(transaction):
    names = inspect(transaction.connection).get_table_names()
    assert set(names) == {"regions", "inputs", "abstentions", "head", "meta"}
    assert transaction.meta() == {"schema_version": str(SCHEMA_VERSION), "norm": "l2"}
    assert transaction.head() == Head(0, "")
    assert transaction.stored() == 0
    assert list(transaction.rows(7)) == []
    assert transaction.find(["d"]) == {}


def test_what_is_appended_is_read_back_exactly_and_chained(transaction):
    made, sketches = entries(1, 5)
    first = transaction.append(made[:2], sketches[:2], transaction.head())
    assert transaction.append(made[2:], sketches[2:], first) == transaction.head()
    rows = [row for some in transaction.rows(2) for row in some]
    chain = genesis(transaction.meta())
    for row, entry, sketch in zip(rows, made, sketches, strict=True):
        chain = link(chain, row)
        assert row["chain"] == chain
        assert row["sketch"] == sketch.astype("<f4").tobytes()
        again = from_row(row, (2,))
        assert (again.id, again.resolution) == (entry.id, entry.resolution)
        assert again.claimed_radius == entry.claimed_radius
        assert again.point.values.tolist() == entry.point.values.tolist()
    assert transaction.head() == Head(5, chain)
    assert transaction.stored() == 5


def test_the_chain_begins_with_the_facts_at_the_first_entry(transaction):
    transaction.set_meta(model_digest="m", noise="gaussian")
    made, sketches = entries(1, 1)
    start = genesis({"norm": "l2", "model_digest": "m", "noise": "gaussian"})
    after = transaction.append(made, sketches, transaction.head())
    assert after.chain == link(start, next(transaction.rows(1))[0])


def test_appending_nothing_changes_nothing(transaction):
    made, sketches = entries(1, 3)
    before = transaction.append(made, sketches, transaction.head())
    assert transaction.append([], np.empty((0, SKETCH_SIZE), np.float32), before) == before
    assert transaction.head() == before


def test_rows_come_in_order_some_at_a_time(transaction):
    transaction.append(*entries(1, 10), transaction.head())
    assert [[row["id"] for row in some] for some in transaction.rows(4)] == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10],
    ]
    seen = [row for some in transaction.index_rows(after=7) for row in some]
    assert [(row["id"], row["radius"]) for row in seen] == [(8, 8 / 3), (9, 3.0), (10, 10 / 3)]
    assert set(seen[0].keys()) == {
        "id",
        "radius",
        "sketch",
        "chain",
    }  # inputs and evidence stay there


def test_any_number_of_rows_is_found_by_id_and_by_digest(transaction):
    made, sketches = entries(1, 600)  # more than one statement names
    transaction.append(made, sketches, transaction.head())
    parts = list(transaction.get(range(1, 601, 2), 128))
    assert [len(part) for part in parts] == [128, 128, 44]
    assert {row["id"] for part in parts for row in part} == set(range(1, 601, 2))
    assert list(transaction.get([], 8)) == []
    wanted = [entry.point.digest for entry in made]
    found = transaction.find([*wanted, "unknown"])
    assert [found[digest]["id"] for digest in wanted] == list(range(1, 601))
    assert len(found) == 600


def test_an_input_that_is_missing_reads_as_null(transaction):
    transaction.append(*entries(1, 2), transaction.head())
    transaction.connection.execute(delete(inputs).where(inputs.c.id == 1))
    first, second = next(transaction.rows(2))
    assert (first["id"], first["x"], first["dtype"]) == (1, None, None)
    assert second["x"] is not None


def test_an_id_or_an_input_cannot_be_taken_twice(transaction):
    made, sketches = entries(1, 2)
    transaction.append(made, sketches, transaction.head())
    with pytest.raises(IntegrityError):
        transaction.append(made[1:], sketches[1:], Head(1, "c"))
    same = Entry(3, made[0].point, made[0].resolution, 1, 1.0)
    with pytest.raises(IntegrityError):
        transaction.append([same], sketches[:1], transaction.head())


def test_a_recorded_fact_is_not_overwritten(transaction):
    with pytest.raises(IntegrityError):
        transaction.set_meta(norm="l1")
    assert transaction.meta()["norm"] == "l2"


@pytest.mark.parametrize(
    "statement",
    [
        delete(head),
        delete(head).where(head.c.id == 2),
        insert(head).values(id=3, entries=0, chain=""),
        update(head).values(entries="three"),
        update(head).values(chain=b"\x00"),
    ],
)
def test_a_head_that_was_altered_is_one_error(transaction, statement):
    transaction.connection.execute(statement)
    with pytest.raises(StoreError, match="how many entries"):
        transaction.head()


def test_the_number_of_rows_is_counted_and_not_taken_from_the_head(transaction):
    transaction.append(*entries(1, 3), transaction.head())
    transaction.connection.execute(delete(regions).where(regions.c.id == 2))
    assert transaction.stored() == 2
    assert transaction.head().count == 3

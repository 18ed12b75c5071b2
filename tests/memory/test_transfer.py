import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.errors import StoreError, StoreMismatchError
from ddrs.memory.memory import Memory
from ddrs.memory.transfer import (
    METADATA_KEY,
    chained,
    chained_abstentions,
    export_entries,
    import_entries,
    last_of,
    open_export,
)
from ddrs.memory.view import read_shape


def fill(memory, count=60, seed=3):
    """Claims so close together that many are trimmed or inherited, in more than one dtype."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        x = rng.normal(size=(2, 2))
        x = np.rint(8 * x) / 8 if number % 3 else x
        memory.resolve(
            x.astype([np.float32, np.float64, np.float16][number % 3]),
            int(rng.integers(-1, 3)),
            float(rng.uniform(0, 1.5)),
            evidence=None if number % 2 else f"votes {number}",
        )
    for number in range(5):  # two inputs that abstain
        memory.resolve(
            np.full((2, 2), 40.0 + number % 2),
            -1,
            0.0,
            evidence=f"try {seed} {number}",
            alpha=0.001,
            asked=0.002 * (number + 1),
        )


@pytest.fixture
def memory():
    with Memory("memory://") as made:
        made.bind("model", "gaussian")
        fill(made)
        assert {entry.resolution.outcome for entry in made.entries()} == {
            "own", "trimmed", "inherited",
        }  # fmt: skip
        yield made


@pytest.fixture
def file(memory, tmp_path):
    export_entries(memory, tmp_path / "m.parquet")
    return tmp_path / "m.parquet"


def content(memory):
    """Everything that a memory holds, and its head."""
    return [*chained_abstentions(memory)] + [
        (e.id, e.point.digest, e.point.x.dtype, e.resolution, e.claimed_prediction,
         e.claimed_radius, chain)
        for e, chain in chained(memory)
    ]  # fmt: skip


def rewrite(file, change, about=None):
    """Change rows of an export, and what it says of itself."""
    table = pq.read_table(file)
    rows = table.to_pylist()
    change(rows)
    facts = json.loads(pq.read_metadata(file).metadata[b"ddrs_memory"]) | (about or {})
    schema = table.schema.with_metadata({"ddrs_memory": json.dumps(facts)})
    pq.write_table(pa.Table.from_pylist(rows, schema), file)


def test_what_is_exported_is_imported(memory, file, tmp_path):
    with Memory(f"sqlite:///{tmp_path}/new.db") as new:
        told = []
        import_entries(open_export(file), new, told.append)
        assert sum(told) == 2 * len(memory)
        assert content(new) == content(memory)
        assert new.about() == memory.about()
        assert new.audit().ok
        for entry in memory.entries():
            assert new.recall(entry.point.x) == entry.resolution


def test_the_file_says_what_it_is(memory, file):
    export = open_export(file)
    assert export.head == memory._store.run(lambda t: t.head())
    about = memory.about()
    assert export.about == {key: about[key] for key in ("norm", "shape", "model_digest", "noise")}
    rows = pq.read_table(file).to_pylist()
    first = next(memory.entries())
    tries = list(chained_abstentions(memory))
    assert len(tries) == 5
    assert export.abstentions == last_of(tries) == memory._view.known_abstention
    assert len(rows) == len(memory) + len(tries)
    assert [row["evidence"] for row in rows[-5:]] == [one.evidence for one, _ in tries]
    assert rows[0]["claimed_radius"] == first.claimed_radius
    assert rows[0]["dtype"] == first.point.x.dtype.str
    assert rows[0]["x"] == first.point.x.tobytes()


def test_an_import_that_was_stopped_resumes(memory, file, tmp_path):
    url, told = f"sqlite:///{tmp_path}/new.db", []

    def stop(more):
        told.append(more)
        if sum(told) > 1.5 * len(memory):  # the first half is the trial
            raise KeyboardInterrupt

    with Memory(url) as new:
        with pytest.raises(KeyboardInterrupt):
            import_entries(open_export(file), new, stop)
        assert 0 < len(new) < len(memory)
    with Memory(url) as new:
        import_entries(open_export(file), new)
        assert content(new) == content(memory)


@pytest.mark.parametrize("count", [1, 61])
def test_a_memory_with_other_entries_is_refused_and_kept(memory, file, tmp_path, count):
    with Memory(f"sqlite:///{tmp_path}/other.db") as other:
        other.bind("model", "gaussian")
        fill(other, count, seed=4)
        before = content(other)
        with pytest.raises(StoreError, match="import it into a new memory"):
            import_entries(open_export(file), other)
        assert content(other) == before
    memory.resolve(np.full((2, 2), 50.0), 1, 1.0)  # more than the file has
    before = content(memory)
    with pytest.raises(StoreError, match="import it into a new memory"):
        import_entries(open_export(file), memory)
    assert content(memory) == before


def at(outcome, /, **changes):
    def change(rows):
        row = next(row for row in rows if row["outcome"] == outcome)
        row.update({key: value(row[key]) for key, value in changes.items()})

    return change


ALTERED = [
    (at("own", radius=lambda r: r * 1.5), r"entry \d+ was exported with"),
    (at("trimmed", radius=lambda r: np.nextafter(r, 9)), r"entry \d+ was exported with"),
    (at("inherited", outcome=lambda o: "own"), r"entry \d+ was exported with"),
    (at("own", prediction=lambda p: p + 1), r"entry \d+ was exported with"),
    (at("own", claimed_radius=lambda r: r / 2), r"entry \d+ was exported with"),
    (at("own", evidence=lambda e: "other votes"), "are not the"),
    (at("trimmed", claimed_radius=lambda r: r * 2), "are not the"),
    (at("own", x=lambda x: x[::-1]), "damaged at entry"),
    (at("own", x=lambda x: x[1:]), "damaged at entry"),
    (at("own", dtype=lambda d: "nonsense"), "damaged at entry"),
    (at("own", radius=lambda r: None), "damaged at entry"),
    (at("own", id=lambda i: 77), "damaged at entry"),
    (lambda rows: rows.pop(), "are not the"),
    (lambda rows: rows.pop(5), "damaged at entry 6"),
    (lambda rows: rows.reverse(), "damaged at entry 1 "),
]


@pytest.mark.parametrize(("change", "message"), ALTERED)
def test_an_altered_file_is_refused_and_nothing_is_stored(file, tmp_path, change, message):
    rewrite(file, change)
    with Memory(f"sqlite:///{tmp_path}/new.db") as new:
        with pytest.raises(StoreError, match=message) as caught:
            import_entries(open_export(file), new)
        assert len(str(caught.value).splitlines()) == 1
        assert content(new) == []
        assert "model_digest" not in new.about()  # it can still become any memory


@pytest.mark.parametrize(
    "about",
    [
        {"model_digest": "another"},
        {"noise": "uniform"},
        {"shape": "[4]"},
        {"shape": "[5]"},
        {"shape": "nonsense"},
        {"count": 3},
        {"chain": "0" * 64},
        {"count": float("inf")},
        {"model_digest": "\ud800"},
    ],
)
def test_a_file_that_says_something_else_of_itself_is_refused(file, tmp_path, about):
    rewrite(file, lambda rows: None, about)
    with Memory(f"sqlite:///{tmp_path}/new.db") as new:
        with pytest.raises(StoreError):
            import_entries(open_export(file), new)
        assert len(new) == 0


def test_a_memory_of_another_model_or_norm_is_refused(file, tmp_path):
    with Memory(f"sqlite:///{tmp_path}/new.db") as new:
        new.bind("another", "gaussian")
        with pytest.raises(StoreMismatchError, match="another model"):
            import_entries(open_export(file), new)
        assert len(new) == 0
    with (
        Memory(f"sqlite:///{tmp_path}/l1.db", "l1") as new,
        pytest.raises(StoreMismatchError, match="made for l2"),
    ):
        import_entries(open_export(file), new)


def test_somebody_who_writes_meanwhile_is_noticed(file, tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    count = open_export(file).head.count
    done = []

    def interfere(more):
        done.append(more)
        if count <= sum(done) < count + more:  # the trial is over
            with Memory(url) as other:
                other.bind("model", "gaussian")
                other.resolve(np.full((2, 2), 50.0), 1, 1.0)

    with Memory(url) as new, pytest.raises(StoreError, match="another process wrote"):
        import_entries(open_export(file), new, interfere)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(), "the 4 abstentions of .* are not the 5"),
        (lambda rows: rows.pop(-3), "damaged at abstention 3"),
        (lambda rows: rows[-1].update(evidence="x"), "the 5 abstentions of .* are not"),
        (lambda rows: rows[-1].update(alpha=7.0), "damaged at abstention 5"),
        (lambda rows: rows[-1].update(alpha=None), "the 4 abstentions of"),
        (lambda rows: rows.append(dict(rows[-1], id=6)), "the 6 abstentions of .* are not the 5"),
    ],
)
def test_altered_abstentions_are_refused(file, tmp_path, change, message):
    rewrite(file, change)
    with Memory(f"sqlite:///{tmp_path}/new.db") as new:
        with pytest.raises(StoreError, match=message):
            import_entries(open_export(file), new)
        assert content(new) == []


def test_a_memory_with_other_abstentions_is_refused_and_one_with_the_first_resumes(
    memory, file, tmp_path
):
    first = list(memory.abstentions())[:2]
    with Memory(f"sqlite:///{tmp_path}/new.db") as new:
        new.bind("model", "gaussian")
        new.remember(first)
        import_entries(open_export(file), new)
        assert content(new) == content(memory)
        assert new.audit().ok
    with Memory(f"sqlite:///{tmp_path}/other.db") as other:
        other.resolve(np.zeros((2, 2)), -1, 0.0, evidence="x", alpha=0.01)
        with pytest.raises(StoreError, match="into a new memory"):
            import_entries(open_export(file), other)
        assert len(other) == 0


def test_an_export_from_before_there_were_abstentions_is_imported(memory, file):
    table = pq.read_table(file).slice(0, len(memory)).drop_columns(["alpha", "spent"])
    facts = json.loads(pq.read_metadata(file).metadata[b"ddrs_memory"])
    facts = {k: v for k, v in facts.items() if not k.startswith("abstentions")}
    pq.write_table(table.replace_schema_metadata({"ddrs_memory": json.dumps(facts)}), file)
    with Memory("memory://") as new:
        import_entries(open_export(file), new)
        assert content(new) == content(memory)[5:]


def test_an_empty_memory_goes_there_and_back(tmp_path):
    with Memory("memory://", "l1") as empty:
        export_entries(empty, tmp_path / "m.parquet")
    export = open_export(tmp_path / "m.parquet")
    assert (export.norm, export.head.count, export.head.chain) == ("l1", 0, "")
    with Memory("memory://", "l1") as new:
        import_entries(export, new)
        assert len(new) == 0


def test_a_file_that_is_there_is_not_overwritten(memory, tmp_path):
    (tmp_path / "m.parquet").write_text("mine")
    with pytest.raises(StoreError, match="there already"):
        export_entries(memory, tmp_path / "m.parquet")
    assert (tmp_path / "m.parquet").read_text() == "mine"


def test_an_export_that_fails_leaves_no_file(memory, tmp_path):
    def fail(more):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_entries(memory, tmp_path / "m.parquet", fail)
    with pytest.raises(StoreError, match="cannot write"):
        export_entries(memory, tmp_path / "gone" / "m.parquet")
    assert not list(tmp_path.glob("*.parquet*"))


@pytest.mark.parametrize("name", ["missing.parquet", "text.parquet", "other.parquet", "folder"])
def test_what_is_no_export_is_refused(file, tmp_path, name):
    (tmp_path / "text.parquet").write_text("text")
    (tmp_path / "folder").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(StoreError, match="no export of a memory"):
        open_export(tmp_path / name)


def test_a_file_that_was_cut_or_damaged_is_refused(file, tmp_path):
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="no export of a memory"):
        open_export(file)
    file.write_bytes(whole[:200] + bytes(100) + whole[300:])
    with Memory(f"sqlite:///{tmp_path}/new.db") as new:
        with pytest.raises(StoreError):
            import_entries(open_export(file), new)
        assert len(new) == 0


def test_from_a_file_to_a_server_and_back(memory, file, tmp_path, postgres):
    url = postgres.database()
    with Memory(url) as new:
        import_entries(open_export(file), new)
        assert content(new) == content(memory)
    with Memory(url, norm=None, read_only=True) as new:
        export_entries(new, tmp_path / "again.parquet")
    assert pq.read_table(tmp_path / "again.parquet") == pq.read_table(file)
    assert open_export(tmp_path / "again.parquet").head == open_export(file).head


def test_few_entries_are_held_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("ddrs.memory.view.VALUES_IN_MEMORY", 10)
    with Memory("memory://") as memory:
        for number in range(7):
            memory.resolve(np.full(4, 10.0 * number), 0, 1.0)
        sizes = []
        export_entries(memory, Path(tmp_path / "m.parquet"), sizes.append)
        assert sizes == [2, 2, 2, 1]
        with Memory("memory://") as new:
            sizes.clear()
            import_entries(open_export(tmp_path / "m.parquet"), new, sizes.append)
            assert sizes == 2 * [2, 2, 2, 1]


def test_lists_in_lists_are_refused(file):
    with pq.ParquetFile(str(file)) as opened:
        table = opened.read()
    with pq.ParquetWriter(str(file), table.schema) as writer:
        writer.add_key_value_metadata({METADATA_KEY: "[" * 200_000})
    with pytest.raises(StoreError, match="no export of a memory"):
        open_export(file)
    with pytest.raises(StoreError, match="input shape"):
        read_shape({"shape": "[" * 200_000})

"""A memory as a parquet file, and back: every claim is made again, so the file is not trusted.

Abstentions come after the entries, in rows of their own, and with a count and chain of their own.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ddrs.errors import InputError, StoreError, StoreMismatchError
from ddrs.files import cannot_write, check_file, replacing
from ddrs.memory.abstentions import Abstention, abstention_of, abstention_row
from ddrs.memory.chain import CHAINED_ABSTENTION, FACTS, genesis, link
from ddrs.memory.entries import Entry, from_row, input_row, region_row
from ddrs.memory.geometry import parse_norm
from ddrs.memory.memory import Memory
from ddrs.memory.store.tables import ROWS_PER_QUERY, Head
from ddrs.memory.store.urls import file_url
from ddrs.memory.view import read_shape, rows_per_query
from ddrs.noise.distributions import Norm
from ddrs.proof.certificate import ABSTAIN

__all__ = [
    "Export",
    "chained",
    "chained_abstentions",
    "export_entries",
    "fill",
    "import_entries",
    "last_of",
    "open_export",
    "rehearse",
]

OnEntries = Callable[[int], object]  # is told how many more entries are done
Chained = tuple[Entry, str]
ChainedAbstention = tuple[Abstention, str]

COLUMNS = pa.schema(
    [
        ("id", pa.int64()),
        ("input_digest", pa.string()),
        ("dtype", pa.string()),
        ("encoding", pa.string()),
        ("x", pa.binary()),
        ("prediction", pa.int64()),
        ("radius", pa.float64()),
        ("outcome", pa.string()),
        ("claimed_prediction", pa.int64()),
        ("claimed_radius", pa.float64()),
        ("evidence", pa.string()),
        ("alpha", pa.float64()),
        ("spent", pa.float64()),
    ]
)
EARLY_COLUMNS = pa.schema(list(COLUMNS)[:-2])  # of exports that have no abstentions
_MEANWHILE = "another process wrote to the memory meanwhile: import into a new memory"
# Its value: `FACTS`, `count` and `chain`, and those of the abstentions, as JSON.
METADATA_KEY = "ddrs_memory"


@dataclass(frozen=True, slots=True)
class Export:
    """What a file of `export_entries` says of itself.

    Attributes:
        path: the file.
        about: norm, and where the memory has them shape, model digest and noise.
        head: how many entries it holds, and the end of their chain.
        abstentions: how many abstentions it holds, and the end of their chain.
    """

    path: Path
    about: dict[str, str]
    head: Head
    abstentions: Head

    @property
    def norm(self) -> Norm:
        """The norm of the radii."""
        return parse_norm(self.about["norm"])


def chained(memory: Memory) -> Iterator[Chained]:
    """The entries of a memory, each with the chain up to it, made afresh from what they hold.

    Raises:
        StoreError: an entry is damaged.
    """
    chain = ""
    for entry in memory.entries():
        chain = link(chain or genesis(memory.about()), region_row(entry))
        yield entry, chain


def chained_abstentions(memory: Memory) -> Iterator[ChainedAbstention]:
    """The abstentions of a memory, each with the chain up to it, made afresh.

    Raises:
        StoreError: one is damaged.
    """
    return _chained(memory.abstentions(), memory.norm)


def last_of(found: Iterable[ChainedAbstention]) -> Head:
    """How many abstentions there are, and the end of their chain."""
    last = Head(0, "")
    for abstention, chain in found:
        last = Head(abstention.id, chain)
    return last


def export_entries(
    memory: Memory, path: str | Path, on_entries: OnEntries = lambda more: None
) -> Export:
    """Write every entry to a new parquet file, which is there whole or not at all.

    A few entries are held at a time.

    Args:
        memory: may be read-only.
        path: the file; it must not be there yet.
        on_entries: is told of progress.

    Raises:
        StoreError: the file is there already or cannot be written, or an entry is damaged.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise StoreError(f"{path} is there already and is not overwritten: choose another file")
    try:
        with replacing(path) as partial:
            export = _write(memory, partial, on_entries)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(cannot_write("export", path, error)) from error
    return replace(export, path=path)


def open_export(path: str | Path) -> Export:
    """What a file of `export_entries` says of itself.

    Raises:
        StoreError: it is missing, damaged, or something else.
    """
    path = Path(path)
    try:
        check_file(path)
        with pq.ParquetFile(str(path), pre_buffer=False) as file:
            found, columns = file.metadata.metadata or {}, file.schema_arrow
        facts = json.loads(found[METADATA_KEY.encode()])
        about = {key: str(facts[key]) for key in FACTS if key in facts}
        head = Head(int(facts["count"]), str(facts["chain"]))
        last = Head(int(facts.get("abstentions", 0)), str(facts.get("abstentions_chain", "")))
        expected = COLUMNS if "abstentions" in facts else EARLY_COLUMNS
        if not columns.remove_metadata().equals(expected):
            raise ValueError("it has other columns")
        "".join(about.values()).encode()  # half of a surrogate pair, which no store takes
        parse_norm(about.get("norm"))
    except (
        *(pa.ArrowException, OSError, KeyError, TypeError, ValueError),
        *(OverflowError, RecursionError),  # a count beyond all integers, or lists in lists
    ) as error:
        raise StoreError(f"{path} is no export of a memory, or is damaged: {error}") from error
    return Export(path, about, head, last)


def import_entries(
    export: Export, memory: Memory, on_entries: OnEntries = lambda more: None
) -> None:
    """Make every claim of an export again, in order, in an empty memory.

    The export is first replayed into a temporary memory. If an answer or the chain differs from
    what the file says, the import stops and `memory` stays as it was. An import that was
    interrupted can be repeated: it resumes after the entries that `memory` already holds.

    Args:
        export: as `open_export` gives it.
        memory: an empty one, or one with the first entries of this export and no others. An
            entry of another origin would change the answers that follow.
        on_entries: is told of progress: every entry counts twice.

    Raises:
        StoreError: the memory has other entries, the file is damaged or was altered, or the
            memory cannot be written.
        StoreMismatchError: the memory belongs to another model, noise or norm.
    """
    _check_goes_on(export, memory)
    rehearse(export, on_entries)
    _replay(export, memory, _MEANWHILE, on_entries)


def rehearse(export: Export, on_entries: OnEntries = lambda more: None) -> None:
    """Make every claim of an export in a temporary memory: the first half of `import_entries`.

    It is by itself for who would not make a memory before the export has proved sound.

    Raises:
        StoreError: the file is damaged or was altered.
    """
    altered = f"{export.path} was altered: export the memory again"
    with (
        TemporaryDirectory(prefix="ddrs-") as folder,
        Memory(file_url(Path(folder) / "trial.db"), export.norm) as trial,
    ):
        _replay(export, trial, altered, on_entries)


def fill(export: Export, memory: Memory, on_entries: OnEntries = lambda more: None) -> None:
    """Make every claim of an export that was rehearsed: the other half of `import_entries`.

    Raises:
        StoreError, StoreMismatchError: as `import_entries`.
    """
    _check_goes_on(export, memory)
    _replay(export, memory, _MEANWHILE, on_entries)


def _check_goes_on(export: Export, memory: Memory) -> None:
    """Refuse a memory that is not empty and does not begin as the export does."""
    if memory.norm != export.norm:
        raise StoreMismatchError(
            f"{export.path} was made for {export.norm}, the memory for {memory.norm}: "
            "import it into a new memory"
        )
    last = deque(chained(memory), maxlen=1)
    abstained = last_of(chained_abstentions(memory)).chain
    if (last and all(chain != last[0][1] for _, chain in _read(export))) or (
        abstained and all(chain != abstained for _, chain in _read_abstentions(export))
    ):
        raise StoreError(
            f"the memory has answers that {export.path} does not have: import it into a new "
            "memory, because answers depend on what was stored before"
        )


def _write(memory: Memory, path: Path, on_entries: OnEntries) -> Export:
    head, last = Head(0, ""), Head(0, "")
    with pq.ParquetWriter(str(path), COLUMNS, compression="zstd") as writer:
        for group in _groups(chained(memory)):
            rows = [region_row(one) | input_row(one) for one, _ in group]
            writer.write_table(pa.Table.from_pylist(rows, COLUMNS))
            entry, chain = group[-1]
            head = Head(entry.id, chain)
            on_entries(len(group))
        abstentions = chained_abstentions(memory)
        while some := list(islice(abstentions, ROWS_PER_QUERY)):
            rows = [
                abstention_row(one) | {"prediction": ABSTAIN, "outcome": "abstained"}
                for one, _ in some
            ]
            writer.write_table(pa.Table.from_pylist(rows, COLUMNS))
            last = last_of(some)
        facts = memory.about()
        about = {key: facts[key] for key in FACTS if key in facts}
        stated = {**about, "count": head.count, "chain": head.chain}
        stated |= {"abstentions": last.count, "abstentions_chain": last.chain}
        writer.add_key_value_metadata({METADATA_KEY: json.dumps(stated)})
    return Export(path, about, head, last)


def _read(export: Export) -> Iterator[Chained]:
    """The entries of a file, each with the chain up to it.

    Raises:
        StoreError: one is damaged, or they are not those that the file says it holds.
    """
    number, chain = 0, ""
    shape = read_shape(export.about) if export.head.count else ()
    try:
        for row in _rows(export, rows_per_query(prod(shape)), COLUMNS.names):
            if number == export.head.count and row.get("alpha") is not None:
                break  # only abstentions follow
            number += 1
            if row["id"] != number:
                raise InputError(f"its id is {row['id']}")
            chain = link(chain or genesis(export.about), row)
            yield from_row(row, shape), chain
    except (InputError, pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{export.path} is damaged at entry {number} ({error}): export the memory again"
        ) from error
    _check_all(export.path, "entries", Head(number, chain), export.head)


def _read_abstentions(export: Export) -> Iterator[ChainedAbstention]:
    """The abstentions of a file, each with the chain up to it.

    Raises:
        StoreError: one is damaged, or they are not those that the file says it holds.
    """
    last = Head(0, "")
    rows = _rows(export, ROWS_PER_QUERY, CHAINED_ABSTENTION)
    found = (abstention_of(row) for row in rows if row.get("alpha") is not None)
    try:
        for abstention, chain in _chained(found, export.norm):
            if abstention.id != last.count + 1:
                raise InputError(f"its id is {abstention.id}")
            last = Head(abstention.id, chain)
            yield abstention, chain
    except (InputError, pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{export.path} is damaged at abstention {last.count + 1} ({error}): export the memory "
            "again"
        ) from error
    _check_all(export.path, "abstentions", last, export.abstentions)


def _rows(export: Export, at_once: int, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file with those of these columns that it has."""
    with pq.ParquetFile(str(export.path), pre_buffer=False) as file:
        columns = [name for name in names if name in file.schema_arrow.names]
        for batch in file.iter_batches(at_once, columns=columns, use_threads=False):
            yield from batch.to_pylist()


def _check_all(path: Path, what: str, found: Head, stated: Head) -> None:
    if found != stated:
        raise StoreError(
            f"the {found.count} {what} of {path} are not the {stated.count} that were exported: "
            "export the memory again"
        )


def _chained(abstentions: Iterable[Abstention], norm: Norm) -> Iterator[ChainedAbstention]:
    chain = genesis({"norm": norm})
    for abstention in abstentions:
        chain = link(chain, abstention_row(abstention), CHAINED_ABSTENTION)
        yield abstention, chain


def _replay(export: Export, memory: Memory, otherwise: str, on_entries: OnEntries) -> None:
    about = export.about
    if "model_digest" in about and "noise" in about:
        memory.bind(about["model_digest"], about["noise"])
    for group in _groups(_read(export)):
        entries = [entry for entry, _ in group]
        answers = memory.resolve_many(
            [entry.point for entry in entries],
            [entry.claimed_prediction for entry in entries],
            [entry.claimed_radius for entry in entries],
            evidence=[entry.resolution.evidence for entry in entries],
        )
        for entry, answer in zip(entries, answers, strict=True):
            if answer != entry.resolution:
                exported = entry.resolution
                raise StoreError(
                    f"entry {entry.id} was exported with class {exported.prediction} and radius "
                    f"{exported.radius} ({exported.outcome}), but its claim gives class "
                    f"{answer.prediction} and radius {answer.radius} ({answer.outcome}): "
                    f"{otherwise}"
                )
        on_entries(len(entries))
    if len(memory) != export.head.count:
        raise StoreError(
            f"{len(memory)} entries were made of the {export.head.count} exported: {otherwise}"
        )
    stored = last_of(chained_abstentions(memory)).count
    rest = islice(_read_abstentions(export), stored, None)
    while some := [abstention for abstention, _ in islice(rest, ROWS_PER_QUERY)]:
        memory.remember(some)
    if last_of(chained_abstentions(memory)) != export.abstentions:
        raise StoreError(f"the abstentions are not those exported: {otherwise}")


def _groups(entries: Iterable[Chained]) -> Iterator[list[Chained]]:
    """The entries in groups that fit in memory, each of one dtype."""
    group: list[Chained] = []
    for entry, chain in entries:
        x = entry.point.x
        full = len(group) == rows_per_query(x.size)
        if group and (full or x.dtype != group[0][0].point.x.dtype):
            yield group
            group = []
        group.append((entry, chain))
    if group:
        yield group

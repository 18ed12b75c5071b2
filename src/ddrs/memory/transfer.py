"""A memory as a parquet file, and back: every claim is made again, so the file is not trusted."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from ddrs.errors import InputError, StoreError, StoreMismatchError
from ddrs.files import cannot_write, check_file, replacing
from ddrs.memory.chain import FACTS, genesis, link
from ddrs.memory.entries import Entry, from_row, input_row, region_row
from ddrs.memory.geometry import parse_norm
from ddrs.memory.memory import Memory
from ddrs.memory.store.tables import Head
from ddrs.memory.view import read_shape, rows_per_query
from ddrs.noise.distributions import Norm

__all__ = [
    "Export",
    "chained",
    "export_entries",
    "fill",
    "import_entries",
    "open_export",
    "rehearse",
]

OnEntries = Callable[[int], object]  # is told how many more entries are done
Chained = tuple[Entry, str]

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
    ]
)
_MEANWHILE = "another process wrote to the memory meanwhile: import into a new memory"
METADATA_KEY = "ddrs_memory"  # its value: `FACTS`, `count` and `chain` as JSON


@dataclass(frozen=True, slots=True)
class Export:
    """What a file of `export_entries` says of itself.

    Attributes:
        path: the file.
        about: norm, and where the memory has them shape, model digest and noise.
        head: how many entries it holds, and the end of their chain.
    """

    path: Path
    about: dict[str, str]
    head: Head

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
            about, head = _write(memory, partial, on_entries)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(cannot_write("export", path, error)) from error
    return Export(path, about, head)


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
        if not columns.remove_metadata().equals(COLUMNS):
            raise ValueError("it has other columns")
        parse_norm(about.get("norm"))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is no export of a memory, or is damaged: {error}") from error
    return Export(path, about, head)


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
        Memory(f"sqlite:///{folder}/trial.db", export.norm) as trial,
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
    if last and all(chain != last[0][1] for _, chain in _read(export)):
        raise StoreError(
            f"the memory has entries that {export.path} does not have: import it into a new "
            "memory, because answers depend on what was stored before"
        )


def _write(memory: Memory, path: Path, on_entries: OnEntries) -> tuple[dict[str, str], Head]:
    head = Head(0, "")
    with pq.ParquetWriter(str(path), COLUMNS, compression="zstd") as writer:
        for group in _groups(chained(memory)):
            rows = [region_row(entry) | input_row(entry) for entry, _ in group]
            writer.write_table(pa.Table.from_pylist(rows, COLUMNS))
            last, chain = group[-1]
            head = Head(last.id, chain)
            on_entries(len(group))
        facts = memory.about()
        about = {key: facts[key] for key in FACTS if key in facts}
        stated = {**about, "count": head.count, "chain": head.chain}
        writer.add_key_value_metadata({METADATA_KEY: json.dumps(stated)})
    return about, head


def _read(export: Export) -> Iterator[Chained]:
    """The entries of a file, each with the chain up to it.

    Raises:
        StoreError: one is damaged, or they are not those that the file says it holds.
    """
    number, chain = 0, ""
    shape = read_shape(export.about) if export.head.count else ()
    try:
        with pq.ParquetFile(str(export.path), pre_buffer=False) as file:
            for batch in file.iter_batches(rows_per_query(prod(shape)), use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    if row["id"] != number:
                        raise InputError(f"its id is {row['id']}")
                    chain = link(chain or genesis(export.about), row)
                    yield from_row(row, shape), chain
    except (InputError, pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{export.path} is damaged at entry {number} ({error}): export the memory again"
        ) from error
    if Head(number, chain) != export.head:
        raise StoreError(
            f"the {number} entries of {export.path} are not the {export.head.count} that were "
            "exported: export the memory again"
        )


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

"""Memories, their exports and logs that were damaged or made up: one line, nothing lost or false.

DDRS_ALTERED is the number of altered files of all kinds, from DDRS_ALTERED_FROM on.
"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddrs.engines.local.certify import certify_run
from ddrs.finished.audit import audit_memory
from ddrs.jobs.certify import CertifyJob
from ddrs.memory.memory import Memory
from ddrs.memory.transfer import export_entries
from ddrs.runs.logs import write_log
from ddrs.runs.table import read_rows
from support import toy
from support.altering import alter_export, alter_log, alter_store, called

ALTERED = int(os.environ.get("DDRS_ALTERED", "150"))
BARS = ("read ", "export ", "import ")
FIRST = int(os.environ.get("DDRS_ALTERED_FROM", "0"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a memory, its export, and a log."""
    folder = tmp_path_factory.mktemp("made")
    data = toy.write_inputs(folder / "data.npz", 6)
    job = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=0.5, n=60, alpha=0.01, seed=1
    )
    certify_run(job, folder / "run", quiet=True)
    with Memory(f"sqlite:///{folder / 'run' / 'memory.db'}", norm=None, read_only=True) as memory:
        export_entries(memory, folder / "export.parquet")
    shutil.copy(folder / "run" / "memory.db", folder / "memory.db")
    write_log(read_rows(folder / "run"), folder / "log.tsv")
    return folder


def altered(made: Path, folder: Path, name: str) -> Iterator[tuple[int, Path]]:
    """Copies of one file, one after the other in the same place, each for a third of the seeds."""
    kinds = ["memory.db", "export.parquet", "log.tsv"]
    for seed in range(FIRST + kinds.index(name), FIRST + ALTERED, len(kinds)):
        shutil.rmtree(folder / "altered", ignore_errors=True)
        (folder / "altered").mkdir()
        yield seed, shutil.copy(made / name, folder / "altered" / name)


def checked(what: object, *words: str) -> tuple[object, str]:
    """Exit code and output of a command; beside its bar it says one line of an error."""
    code, out, err = called(*words)
    assert code in (0, 1, 2), (what, words, repr(code))
    lines = [line for line in err.splitlines() if not line.startswith(BARS)]
    assert len(lines) == (code != 0 and not out), (what, words, err)
    assert all(line.startswith("error: ") for line in lines), (what, words, err)
    return code, out


def test_an_altered_memory_is_read_or_refused_and_stays_as_it_was(
    made: Path, tmp_path: Path
) -> None:
    for seed, path in altered(made, tmp_path, "memory.db"):
        what = seed, alter_store(path, random.Random(seed))
        before = path.read_bytes()
        url = f"sqlite:///{path}"
        checked(what, "audit", url)
        checked(what, "memory", "stats", url)
        checked(what, "memory", "export", url, "--out", str(path.with_suffix(".out")))
        shutil.copytree(made / "run", path.parent / "run")
        shutil.copy(path, path.parent / "run" / "memory.db")
        checked(what, "audit", str(path.parent / "run"))
        assert path.read_bytes() == before, what


def test_an_altered_export_gives_a_sound_memory_or_none(made: Path, tmp_path: Path) -> None:
    for seed, path in altered(made, tmp_path, "export.parquet"):
        what = seed, alter_export(path, random.Random(seed))
        store = path.with_name("new.db")
        code, _ = checked(what, "memory", "import", str(path), "--memory", f"sqlite:///{store}")
        assert (code == 0) == store.exists(), what
        if code == 0:
            with Memory(f"sqlite:///{store}", norm=None, read_only=True) as memory:
                assert memory.audit().ok, what


def test_an_altered_log_is_read_or_refused_in_one_line(made: Path, tmp_path: Path) -> None:
    for seed, path in altered(made, tmp_path, "log.tsv"):
        what = seed, alter_log(path, random.Random(seed))
        code, out = checked(what, "table", str(path), "--format", "json")
        if code == 0:
            assert "NaN" not in out, what
            assert "Infinity" not in out, what
            (row,) = json.loads(out)
            assert row["acr"] >= 0, what
            assert all(0 <= share <= 1 for share in row["certified_accuracy"].values()), what


def test_what_was_not_altered_is_sound(made: Path) -> None:
    assert audit_memory(f"sqlite:///{made / 'memory.db'}").ok

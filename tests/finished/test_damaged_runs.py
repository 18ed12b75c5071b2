"""Runs that were damaged or made up: one line and no traceback, whatever their files hold.

DDRS_ALTERED is the number of altered runs; `make stress` tries many more.
"""

import contextlib
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.cli.commands import main
from ddrs.engines.local.certify import certify_run
from ddrs.jobs.certify import CertifyJob
from support import toy

ALTERED = int(os.environ.get("DDRS_ALTERED", "300"))
SHOWN_EVERY = 10  # a page takes as long as dozens of audits

TABLE = "certificates.parquet"
VALUES: list[Any] = [
    None, True, False, "", "x", "l7", "nan", "\x1b[31m", "[bold]", "\n", [], {}, [1, 2], [[]],
    {"a": 1}, 0, 1, -1, -5, 2, 7, 6, 10**6, 10**11, 2**62, 2**63, 10**30, 10**400, 0.5, -0.5, 1.5,
    1e308, 1e-320, float("nan"), float("inf"), -float("inf"), "a" * 10_000, b"\xff\x00", 1 + 2**31,
]  # fmt: skip

Alter = Callable[[Path, random.Random], object]


@pytest.fixture(scope="module", autouse=True)
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    data = toy.write_inputs(folder / "data.npz", 6)
    shared: dict[str, Any] = {"sigma": 0.5, "n": 60, "seed": 1}
    for policy in ("fixed", "search"):
        job = CertifyJob(data, "py:support.toy:linear", policy=policy, **shared)
        certify_run(job, folder / policy, quiet=True)
    return folder


def alter_json(path: Path, rng: random.Random) -> object:
    """Change one value, key or piece of text."""
    text = path.read_text()
    kind = rng.randrange(10)
    if kind == 0:
        where = rng.randrange(len(text))
        junk = rng.choice(["", "}", "9" * 400, "[" * 100_000, "\x00", ",", '"', "NaN", "-", "e999"])
        path.write_text(text[:where] + junk + text[where + rng.randrange(3) :])
        return junk[:20]
    if kind == 1:
        whole = rng.choice([b"", b"\xff\xfe", b"[" * 200_000, b"null", b"3", b"[]", b"{}", b'"x"'])
        path.write_bytes(whole)
        return whole[:20]
    found = json.loads(text)
    holder: Any = found
    while True:
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.7:
            holder = holder[key]
        else:
            break
    value = rng.choice([value for value in VALUES if not isinstance(value, bytes)])
    if kind == 2:
        del holder[key]
    elif kind == 3 and isinstance(holder, dict):
        holder[rng.choice(["kind", "further", "x"])] = value
    else:
        holder[key] = value
    path.write_text(json.dumps(found))
    return key, value


def alter_table(path: Path, rng: random.Random) -> object:
    """Change cells, rows or columns."""
    table = pq.read_table(path)
    kind, name = rng.randrange(8), rng.choice(table.column_names)
    rows = table.to_pylist()
    value = rng.choice(VALUES)
    if kind == 0:
        path.write_bytes(path.read_bytes()[: rng.randrange(2000)])
        return "cut"
    if kind == 1:
        pq.write_table(table.drop_columns([name]), path)
        return "dropped", name
    if kind == 2:
        pq.write_table(table.append_column(name, table[name]), path)
        return "doubled", name
    if kind == 3:
        rows = rng.choice([[], rows[:-1], rows * 3, rows[::-1], [*rows, rows[0]]])
        pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
        return "rows", len(rows)
    every = kind == 4
    for row in rows if every else [rng.choice(rows)]:
        row[name] = value
    try:
        pq.write_table(pa.Table.from_pylist(rows, table.schema if kind == 5 else None), path)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # no file can hold that
        text = pa.array([str(value)] * len(rows))
        pq.write_table(table.set_column(table.column_names.index(name), name, text), path)
    return name, value


ALTERATIONS: dict[str, Alter] = {
    "config.json": alter_json,
    "summary.json": alter_json,
    TABLE: alter_table,
}


def called(*words: str) -> tuple[object, str, str]:
    """Exit code, or another exception, and what the command wrote."""
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as exit_:
            code = exit_.code
        except BaseException as error:
            code = error
    return code, out.getvalue(), err.getvalue()


def altered(folder: Path, number: int) -> Iterator[tuple[Path, object]]:
    """Altered copies of the runs, one after the other in the same place."""
    for seed in range(number):
        rng = random.Random(seed)
        run = folder / "altered"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(folder / rng.choice(["fixed", "search"]), run)
        name = rng.choice(list(ALTERATIONS))
        yield run, (seed, name, ALTERATIONS[name](run / name, rng))


def test_every_alteration_is_read_or_refused_in_one_line(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    for number, (run, what) in enumerate(altered(finished, ALTERED)):
        calls = [("table", str(run), "--format", "json"), ("audit", str(run))]
        if number % SHOWN_EVERY == 0:
            calls.append(("report", str(run), "--out", "page.html"))
        for words in calls:
            code, out, err = called(*words)
            assert code in (0, 1, 2), (what, words, repr(code))
            if err:
                assert len(err.splitlines()) == 1, (what, words, err)
            if words[0] == "table" and code == 0:
                assert "NaN" not in out, (what, out)
                assert "Infinity" not in out, (what, out)
                check_figures(json.loads(out)[0], what)


def check_figures(row: dict[str, Any], what: object) -> None:
    """What a table may say, whatever it was made of."""
    assert row["norm"] in ("l1", "l2", None), what
    assert row["acr"] >= 0, what
    assert row["votes"] is None or row["votes"] >= 0, what
    assert row["seconds"] is None or row["seconds"] >= 0, what
    assert row["alpha"] is None or 0 < row["alpha"] < 1, what
    assert row["n"] is None or row["n"] >= 1, what
    shares = [row["clean_accuracy"], *row["certified_accuracy"].values()]
    assert all(share is None or 0 <= share <= 1 for share in shares), what

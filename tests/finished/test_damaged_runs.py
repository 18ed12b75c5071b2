"""Runs that were damaged or made up: one line and no traceback, whatever their files hold.

DDRS_ALTERED is the number of altered runs, from DDRS_ALTERED_FROM on; `make stress` tries many.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ddrs.engines.local.certify import certify_run
from ddrs.jobs.certify import CertifyJob
from support import toy
from support.altering import alter_json, alter_table, called

ALTERED = int(os.environ.get("DDRS_ALTERED", "300"))
FIRST = int(os.environ.get("DDRS_ALTERED_FROM", "0"))
SHOWN_EVERY = 10  # a page takes as long as dozens of audits

TABLE = "certificates.parquet"
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


ALTERATIONS: dict[str, Alter] = {
    "config.json": alter_json,
    "summary.json": alter_json,
    TABLE: alter_table,
}


def altered(folder: Path, number: int) -> Iterator[tuple[Path, object]]:
    """Altered copies of the runs, one after the other in the same place."""
    for seed in range(FIRST, FIRST + number):
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
